"""Extraction of the values that features read from events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from segops.core.areas import contains_any
from segops.core.conversions import CONVERSIONS
from segops.core.events import Event
from segops.core.features.feature import ANY_NAME, Feature, Money
from segops.core.features.orders import ACTIONS, Purchases, action_of, statement_of
from segops.core.features.sequence import Sequence
from segops.core.operators import Predicate
from segops.core.paths import Each, Path, getter, walker
from segops.core.values import distinct_key, kind
from segops.core.windows import Between, SinceLast, period_key

Extract = Callable[[Event], Any]

#: Stands for a value that the aggregate cannot read: the event is skipped and counted.
UNREADABLE: Final = object()
#: Kind -> what one event adds of the values at a path through a list. Sums and distinct values add each.
_OF_EACH: dict[str, Callable[[list[Any]], Any]] = {
    "min": min,
    "max": max,
    "latest": lambda values: values[-1],
    "earliest": lambda values: values[0],
    "most_frequent": lambda values: [value for each in values for value in each],
}


def extractor(feature: Feature) -> Extract | None:
    """Return a function from an event to the feature's value; None for a feature that reads no value.

    The function returns None if the property is missing, UNREADABLE if the aggregate cannot read its type.
    A sum or a number of different values over a path through a list gets the list of its values; the most
    frequent value gets a list of values from every event.

    >>> from segops.core.windows import ALWAYS
    >>> take = extractor(Feature("sum", ("Order Completed",), (), ALWAYS, path=("revenue",)))
    >>> take(Event("Order Completed", 0, "m1", {"revenue": 5})), take(Event("Order Completed", 0, "m2", {}))
    (5, None)
    """
    if feature.purchases is not None:
        return (_action if feature.kind == ACTIONS else _order)(feature, feature.purchases)
    if feature.sequence is not None:
        return _steps(feature.sequence)
    if feature.located is not None:
        return _location(feature)
    if isinstance(feature.window, SinceLast):
        return _since(feature, feature.window)
    if feature.length_ms is not None:
        return None if feature.path is None else _wrapped(feature.path)
    take = _value(feature)
    if feature.keeps_events:
        take = _with_timed(take, feature.timed_where)
    return take


def _location(feature: Feature) -> Extract:
    """Extract a value of no meaning from an event located in the areas, None from any other."""
    areas = feature.located or ()
    found = (0, ()) if isinstance(feature.window, Between) else 0
    if feature.path is not None:
        located = getter(feature.path)

        def take_located(event: Event) -> Any:
            at = located(event)
            return found if at is not None and contains_any(areas, (at[0], at[1])) else None

        return take_located

    def take(event: Event) -> Any:
        return found if event.location is not None and contains_any(areas, event.location) else None

    return take


def _steps(sequence: Sequence) -> Extract:
    """Extract the steps that an event matches, and its compared values; None for an irrelevant event."""
    numbered = [
        (number, None if ANY_NAME in step.names else step.names, [(getter(p), t) for p, t in step.where])
        for number, step in enumerate(sequence.steps)
    ]
    compared = [getter(path) for path in sequence.paths]

    def take(event: Event) -> Any:
        steps = 0
        for number, names, where in numbered:
            if (names is None or event.name in names) and all(
                t.holds(get(event), event.time_ms) for get, t in where
            ):
                steps |= 1 << number
        if not steps and not sequence.strict:
            return None
        return steps, tuple(get(event) for get in compared)

    return take


def _wrapped(path: Path) -> Extract:
    """Extract a value in a tuple: an event of a session counts without one, too."""
    get = getter(path)
    return lambda event: (get(event),)


def _order(_feature: Feature, purchases: Purchases) -> Extract:
    """Extract the statement about an order; UNREADABLE for another currency or a non-numeric amount."""

    def take(event: Event) -> Any:
        try:
            return statement_of(event, purchases.currency)
        except ValueError:
            return UNREADABLE

    return take


def _action(feature: Feature, purchases: Purchases) -> Extract:
    """Extract the statement that an event counts as; UNREADABLE as for an order."""
    amount_of = (lambda _event: None) if feature.path is None else getter(feature.path)

    def take(event: Event) -> Any:
        try:
            return action_of(amount_of(event), event.properties.get("currency"), purchases)
        except ValueError:
            return UNREADABLE

    return take


def _since(feature: Feature, window: SinceLast) -> Extract:
    """Extract the value of a selected event, and whether it is an anchor, its compared value, timed values.

    An event that is both selected and an anchor is the anchor. With ``same``, an event without the value is
    never counted.
    """
    value_of = _value(feature)
    static = [(getter(path), test) for path, test in feature.static_where]
    timed = [(getter(path), test.converted) for path, test in feature.timed_where]
    compared = None if window.same is None else getter(window.same)

    def key_of(event: Event) -> str | None:
        found = None if compared is None else compared(event)
        return None if found is None else distinct_key(found)

    def take(event: Event) -> Any:
        key = key_of(event)
        if event.name in window.names:
            return None, (True, key)
        if key is None and compared is not None:
            return None
        if not all(test.holds(get(event), event.time_ms) for get, test in static):
            return None
        value = None if value_of is None else value_of(event)
        if value is UNREADABLE or (value is None and value_of is not None):
            return value
        return value, (False, key, *[converted(get(event)) for get, converted in timed])

    return take


def _value(feature: Feature) -> Extract | None:
    """Extract the value that the aggregate reads; None for a feature without one."""
    take = _at_path(feature)
    return take if take is None or feature.money is None else _in_currency(take, feature.money)


def _at_path(feature: Feature) -> Extract | None:
    if feature.days is not None:
        days = feature.days
        return lambda event: period_key(days, event.time_ms)
    if feature.path is None:
        return None
    get, read = walker(feature.path), _reading(feature)
    if read is None and len(feature.path) == 1:
        return get

    def take(event: Event) -> Any:
        value = get(event)
        if value is None:
            return None
        if value.__class__ is Each:
            return _of_list(feature.kind, read, value.values)
        return value if read is None else read(value)

    return take


def _in_currency(take: Extract, money: Money) -> Extract:
    """Extract what ``take`` does; UNREADABLE of an event that names another currency."""
    currency_of, accepted = getter(money.path), (None, money.currency)

    def of_currency(event: Event) -> Any:
        value = take(event)
        return value if value is None or currency_of(event) in accepted else UNREADABLE

    return of_currency


def _of_list(kind: str, read: Callable[[Any], Any] | None, values: list[Any]) -> Any:
    if not values:
        return None
    found = values if read is None else [each for each in map(read, values) if each is not UNREADABLE]
    if not found:
        return UNREADABLE
    of_each = _OF_EACH.get(kind)
    return found if of_each is None else of_each(found)


def _reading(feature: Feature) -> Callable[[Any], Any] | None:
    """Return the function from a value that is not missing to what the aggregate reads; None: as it is."""
    read = _READS.get(feature.kind)
    if feature.convert is None:
        return read
    convert = CONVERSIONS[feature.convert]

    def converted(value: Any) -> Any:
        found = convert(value)
        if found is None:
            return UNREADABLE
        return found if read is None else read(found)

    return converted


def _number(value: Any) -> Any:
    return value if kind(value) == "number" else UNREADABLE


#: Kind -> what it reads of a value.
_READS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("sum", "min", "max"), _number),
    "distinct": distinct_key,
    "most_frequent": lambda value: [value],
}


def _with_timed(take: Extract | None, timed: tuple[tuple[Path, Predicate], ...]) -> Extract:
    tests = [(getter(path), test.converted) for path, test in timed]

    def both(event: Event) -> Any:
        value = None if take is None else take(event)
        if value is UNREADABLE or (take is not None and value is None):
            return value
        return value, tuple(converted(get(event)) for get, converted in tests)

    return both
