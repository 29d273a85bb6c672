"""Extraction of the values that features read from events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from segops.core.events import Event
from segops.core.features.feature import Feature, Path
from segops.core.features.orders import Purchases, statement_of
from segops.core.features.sequence import Sequence
from segops.core.values import distinct_key, kind, lookup
from segops.core.windows import Between

Extract = Callable[[Event], Any]
_Get = Callable[[Mapping[str, Any]], Any]

#: Stands for a value that the aggregate cannot read: the event is skipped and counted.
UNREADABLE: Final = object()
_NUMERIC = frozenset(("sum", "min", "max"))


def extractor(feature: Feature) -> Extract | None:
    """Return a function from an event to the feature's value; None for a feature that reads no value.

    The function returns None if the property is missing, UNREADABLE if the aggregate cannot read its type.

    >>> from segops.core.windows import ALWAYS
    >>> take = extractor(Feature("sum", ("Order Completed",), (), ALWAYS, path=("revenue",)))
    >>> take(Event("Order Completed", 0, "m1", {"revenue": 5})), take(Event("Order Completed", 0, "m2", {}))
    (5, None)
    """
    if feature.purchases is not None:
        return _order(feature.purchases)
    if feature.sequence is not None:
        return _steps(feature.sequence)
    take = _value(feature)
    if isinstance(feature.window, Between) or feature.timed_where:
        take = _with_timed(take, tuple(path for path, _ in feature.timed_where))
    return None if take is None else _of_event(take)


def _of_event(take: _Get) -> Extract:
    return lambda event: take(event.properties)


def _steps(sequence: Sequence) -> Extract:
    """Extract the steps that an event matches, and its compared values; None for an irrelevant event."""
    numbered, paths = list(enumerate(sequence.steps)), sequence.paths

    def take(event: Event) -> Any:
        properties, steps = event.properties, 0
        for number, step in numbered:
            if event.name in step.names and all(
                t.holds(lookup(properties, p), event.time_ms) for p, t in step.where
            ):
                steps |= 1 << number
        if not steps and not sequence.strict:
            return None
        return steps, tuple(lookup(properties, path) for path in paths)

    return take


def _order(purchases: Purchases) -> Extract:
    """Extract the statement about an order; UNREADABLE for another currency or a non-numeric amount."""

    def take(event: Event) -> Any:
        try:
            return statement_of(event, purchases.currency)
        except ValueError:
            return UNREADABLE

    return take


def _value(feature: Feature) -> _Get | None:
    if feature.path is None:
        return None
    get = _getter(feature.path)
    if feature.kind in _NUMERIC:
        return _number(get)
    if feature.kind == "distinct":
        return _distinct(get)
    return get


def _getter(path: Path) -> _Get:
    if len(path) == 1:
        name = path[0]
        return lambda properties: properties.get(name)
    return lambda properties: lookup(properties, path)


def _number(get: _Get) -> _Get:
    def take(properties: Mapping[str, Any]) -> Any:
        value = get(properties)
        return value if value is None or kind(value) == "number" else UNREADABLE

    return take


def _distinct(get: _Get) -> _Get:
    def take(properties: Mapping[str, Any]) -> Any:
        value = get(properties)
        return None if value is None else distinct_key(value)

    return take


def _with_timed(take: _Get | None, paths: tuple[Path, ...]) -> _Get:
    def both(properties: Mapping[str, Any]) -> Any:
        value = None if take is None else take(properties)
        if value is UNREADABLE or (take is not None and value is None):
            return value
        return value, tuple(lookup(properties, path) for path in paths)

    return both
