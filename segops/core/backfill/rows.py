"""Rows: what the missing features read of one past event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from segops.core.engine import message_hash
from segops.core.events import Event
from segops.core.features import UNREADABLE, Extract, Feature
from segops.core.features.feature import context_keys
from segops.core.features.orders import OrderStatement
from segops.core.index import compiled, histories, watches
from segops.core.values import lookup

_LEAST, _MOST = -(1 << 63), (1 << 64) - 1


class Row(msgspec.Struct, array_like=True, gc=False):
    """The extract of one event of a profile, 50 to 100 bytes when encoded (``schemas.rows``).

    ``arrival_ms`` orders the events of a profile as they arrived: the Kafka timestamp of the record.
    ``message`` is the engine's 64-bit hash of the message id; ``partition`` and ``offset`` are the position
    of the event in its source topic. ``values``: id of each feature that selects the event -> the value that
    its reducer adds (None for a count, and for a trait that is removed). Ids, not indexes, so that rows stay
    valid when the set of features changes.
    """

    time_ms: int
    arrival_ms: int
    message: int
    partition: int
    offset: int
    values: dict[int, Any]


class Collector:
    """Extracts rows for these features, given by id. Build it once for a set: it compiles the features."""

    def __init__(self, features: Mapping[int, Feature]) -> None:
        indexed = [compiled(key, feature) for key, feature in features.items()]
        summed = {key for key, feature in features.items() if feature.kind == "sum"}
        indexed = [
            msgspec.structs.replace(each, extract=_exactly(each.extract)) if each.id in summed else each
            for each in indexed
        ]
        #: By the name of an event, the features that read it; and those that read events of any other name.
        self.watches, self.watch_of_any = watches(indexed)
        #: By the name of a trait, the features that keep its history.
        self.histories = histories(indexed)
        self.features = features
        #: The parts of an event's context that the features read.
        self.context_keys = context_keys(features.values())

    def row(self, event: Event, *, arrival_ms: int, partition: int, offset: int) -> Row | None:
        """Return the row of an event, or None if no feature selects it.

        A value that is missing or UNREADABLE is left out, as the engine skips it.
        """
        values: dict[int, Any] = {}
        watch = self.watches.get(event.name, self.watch_of_any)
        if watch is not None:
            for feature in watch.matching(event.properties):
                if not feature.where or feature.selects(event, event.time_ms):
                    value = None if feature.extract is None else feature.extract(event)
                    if feature.extract is None or not (value is None or value is UNREADABLE):
                        values[feature.id] = value
        if event.traits and self.histories:
            self._add_traits(values, event.traits)
        if not values:
            return None
        return Row(event.time_ms, arrival_ms, message_hash(event.message_id), partition, offset, values)

    def _add_traits(self, values: dict[int, Any], traits: Mapping[str, Any]) -> None:
        for name in traits:
            for path, feature in self.histories.get(name, ()):
                values[feature.id] = lookup(traits, path)


def _exactly(extract: Extract | None) -> Extract:
    """Return a numeric extractor that returns integers of more than 64 bits as decimals: rows keep them."""
    if extract is None:
        raise TypeError("expected the extractor of a sum, got None")

    def take(event: Event) -> Any:
        value = extract(event)
        if value.__class__ is tuple:
            return _storable(value[0]), value[1]
        return _storable(value)

    return take


def _storable(value: Any) -> Any:
    if value.__class__ is list:
        return [_storable(number) for number in value]
    return Decimal(value) if value.__class__ is int and not _LEAST <= value <= _MOST else value


def reader(feature: Feature) -> Callable[[Any], Any] | None:
    """Return a function from a feature's value in a row, decoded or not, to what its reducer adds.

    None if it adds the value itself.
    """
    if feature.kind == "history":
        return None
    if feature.purchases is not None:
        return _statement
    if feature.sequence is not None:
        return _pair
    if feature.length_ms is not None:
        return None
    if feature.keeps_events:
        return _timed_number if feature.kind == "sum" else _pair
    return _number if feature.kind == "sum" else None


def _statement(value: Any) -> OrderStatement:
    part, order_id, amount, key = value
    return OrderStatement(part, order_id, Decimal(amount), key)


def _pair(value: Any) -> tuple[Any, tuple[Any, ...]]:
    return value[0], tuple(value[1])


def _timed_number(value: Any) -> tuple[Any, tuple[Any, ...]]:
    return _number(value[0]), tuple(value[1])


def _number(value: Any) -> Any:
    if value.__class__ is list:
        return [_number(number) for number in value]
    return Decimal(value) if value.__class__ is str else value
