"""Debezium's envelope: the row before and after a change, the operation and its place in the database."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from segops.core.errors import RejectedEvent
from segops.sources.framing import UNDECODABLE
from segops.sources.model import OPERATIONS

_NAMES: Final = {letter: name for name, letter in OPERATIONS.items()}
#: Operations that change no row: a truncated table, and a message of the database's log.
_ROWLESS: Final = ("t", "m")


class RowChange(NamedTuple):
    """A change of a row. ``row``: after it, or of a deleted one before it; ``time_ms``: in the database."""

    operation: str
    row: dict[str, Any]
    meta: dict[str, Any]
    time_ms: int | None


def unwrap(value: Any) -> RowChange | None:
    """Return the change in a record's value, with or without its schema; None if it changes no row.

    >>> unwrap({"payload": {"op": "c", "after": {"id": 1}, "ts_ms": 5}, "schema": {}})[:2]
    ('create', {'id': 1})

    Raises RejectedEvent if it is no envelope.
    """
    if isinstance(value, dict) and value.keys() == {"schema", "payload"}:
        value = value["payload"]
        if value is None:  # a tombstone with a schema
            return None
    if not isinstance(value, dict) or "op" not in value:
        detail = "expected Debezium's envelope with op, before and after; flattened rows have the format json"
        raise RejectedEvent(UNDECODABLE, detail)
    letter = value["op"]
    if letter in _ROWLESS:
        return None
    row = value.get("before" if letter == "d" else "after")
    if letter not in _NAMES or not isinstance(row, dict):
        raise RejectedEvent(UNDECODABLE, f"expected a row with op c, r, u or d, got op {letter!r:.20}")
    source = value.get("source")
    times = (source.get("ts_ms") if isinstance(source, dict) else None, value.get("ts_ms"))
    time_ms = next((time for time in times if type(time) is int and time > 0), None)
    meta = {f"${name}": value.get(name) for name in ("before", "after", "source", "ts_ms")}
    meta["$op"] = _NAMES[letter]
    return RowChange(_NAMES[letter], row, meta, time_ms)
