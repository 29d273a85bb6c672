"""From a decoded record to events in Segment's form."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as Map
from typing import Any, Final

import msgspec

from segops.core.errors import RejectedEvent
from segops.core.values import format_instant, kind, lookup
from segops.sources.conversions import CONVERSIONS
from segops.sources.model import Conditions, Expression, Fields, Mapping, Source

#: The reason of a record that a mapping cannot be applied to.
UNMAPPED: Final = "unmapped"
_SHOWN: Final = 40
#: Where in an event an identifier of a type is; all other types are external ids.
_OWN_FIELDS: Final = {"user_id": "userId", "anonymous_id": "anonymousId"}

_encoder = msgspec.json.Encoder(decimal_format="number")


class Decoded(msgspec.Struct, frozen=True):
    """A decoded record: its value as plain values, its metadata, and its position.

    ``meta`` holds what paths with ``$`` name: ``$key``, ``$timestamp``, ``$headers``, and of a Debezium
    record ``$op``, ``$before``, ``$after``, ``$source``, ``$ts_ms``. Only such a record has an ``operation``.
    """

    origin: str
    timestamp_ms: int
    value: Map[str, Any]
    meta: Map[str, Any] = {}
    operation: str | None = None
    #: The time of the change in the database, or that of the record.
    time_ms: int | None = None
    #: What message ids begin with instead of position and timestamp.
    message_id: str | None = None


def events_of(source: Source, record: Decoded) -> Iterator[bytes]:
    """Yield the events that a record becomes, as JSON; none if no mapping applies to it.

    The message id, unless the mapping names one, is the record's position and timestamp, so that a repetition
    has the same id. Raises RejectedEvent, naming the mapping's path, the record's path and the reason.
    """
    if not _holds(source.where, record):
        return
    for number, mapping in enumerate(source.mappings):
        applies = record.operation is None or record.operation in mapping.operations
        if applies and _holds(mapping.when, record):
            yield _encoded(_event(mapping, record, number))


def _holds(conditions: Conditions, record: Decoded) -> bool:
    now_ms = record.timestamp_ms
    return all(predicate.holds(_found(path, record), now_ms) for path, predicate in conditions)


def _found(path: tuple[str, ...], record: Decoded) -> Any:
    if path and path[0].startswith("$"):
        return lookup(record.meta, path)
    return lookup(record.value, path)


def _encoded(event: dict[str, Any]) -> bytes:
    try:
        return _encoder.encode(event)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise RejectedEvent(UNMAPPED, f"the event cannot be written as JSON: {error}") from None


def _event(mapping: Mapping, record: Decoded, number: int) -> dict[str, Any]:
    event: dict[str, Any] = {"type": mapping.type}
    if mapping.event is not None:
        event["event"] = _value(mapping.event, record)
    time_ms = record.timestamp_ms if record.time_ms is None else record.time_ms
    found = {name: value for name, each in mapping.fields if (value := _value(each, record)) is not None}
    event["messageId"] = _default_id(record, number)
    event["timestamp"] = format_instant(time_ms)
    event |= found
    _identify(event, mapping.identifiers, record)
    for name, written in (("properties", mapping.properties), ("traits", mapping.traits)):
        if written:
            event[name] = _object(name, written, record)
    return event


def _default_id(record: Decoded, number: int) -> str:
    """Return the record's position; with the timestamp it is unique in a topic that is recreated, too."""
    suffix = f"#{number}" if number else ""
    return f"{record.message_id or f'{record.origin}@{record.timestamp_ms}'}{suffix}"


def _identify(event: dict[str, Any], identifiers: Fields, record: Decoded) -> None:
    context: dict[str, Any] = {}
    for name, expression in identifiers:
        value = _value(expression, record)
        if value is None:
            continue
        if name in _OWN_FIELDS:
            event.setdefault(_OWN_FIELDS[name], value)
        elif name == "email":
            context["traits"] = {"email": value}
        elif name == "device_id":
            context["device"] = {"id": value}
        else:
            entry = {"type": name, "id": value, "collection": "users"}
            context.setdefault("externalIds", []).append(entry)
    if context:
        event["context"] = context


def _object(name: str, written: Fields | Expression, record: Decoded) -> dict[str, Any]:
    if isinstance(written, Expression):
        found = _value(written, record)
        if found is not None and not isinstance(found, dict):
            raise _unmapped(written, "an object", found)
        return found or {}
    values = ((key, _value(each, record)) for key, each in written)
    return {key: value for key, value in values if value is not None}


def _value(expression: Expression, record: Decoded) -> Any:
    if expression.is_constant:
        return expression.constant
    found = _found(expression.path, record)
    if found is None or expression.conversion is None:
        return found
    try:
        return CONVERSIONS[expression.conversion](found)
    except ValueError as error:
        raise _unmapped(expression, str(error), found) from None


def _unmapped(expression: Expression, expected: str, found: Any) -> RejectedEvent:
    path = ".".join(expression.path) or "*"
    got = f"{found!r:.{_SHOWN}}" if kind(found) in ("string", "number", "boolean") else f"a {kind(found)}"
    return RejectedEvent(UNMAPPED, f"{expression.at}: expected {expected} at {path}, got {got}")
