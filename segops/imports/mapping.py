"""From a row to events: mapped, checked as workers will check them, and marked as history.

The mark is the header ``segops-from``, ``import:FILE:LINE``, which profile events keep: what such an event
causes happened before, and is no reason to send a message.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from segops.core.errors import RejectedEvent
from segops.core.values import format_instant
from segops.imports.rows import Row, unreadable_column
from segops.schemas.events import route
from segops.schemas.identifying import IdentityLimits
from segops.schemas.record_keys import record_key
from segops.schemas.records import FROM_HEADER, Headers
from segops.sources.mapping import Decoded, events_of
from segops.sources.model import Source

#: The time of an event whose mapped timestamp is missing; no row has it, since ISO 8601 ends with it.
_NO_TIME_MS: Final = 253_402_300_799_999
_NO_TIME: Final = f'"timestamp":"{format_instant(_NO_TIME_MS)}"'.encode()


class ImportedEvent(NamedTuple):
    """An event of a row: the record that holds it, and its time."""

    key: bytes
    value: bytes
    headers: Headers
    time_ms: int


class RowMapper:
    """Maps the rows of one file. ``name``: what message ids begin with, the same in each import of it."""

    def __init__(self, source: Source, name: str, file: str, limits: IdentityLimits, now_ms: int) -> None:
        self._source = source
        self._name = name
        self._file = file
        self._limits = limits
        self._now_ms = now_ms

    def events(self, row: Row) -> list[ImportedEvent]:
        """Return the events of a row. Raises RejectedEvent, with the reason."""
        if row.problem is not None:
            raise RejectedEvent("unreadable", row.problem)
        record = Decoded(
            f"import:{self._file}:{row.line}",
            self._now_ms,
            row.values,
            time_ms=_NO_TIME_MS,
            message_id=f"{self._name}:{row.line}",
        )
        try:
            return [self._event(value, record.origin) for value in events_of(self._source, record)]
        except RejectedEvent as error:
            column = unreadable_column(row.values)
            if column is not None:
                raise RejectedEvent(
                    "bad_encoding", f"column {column}: not in the encoding of the file: set csv.encoding"
                ) from None
            raise RejectedEvent(error.reason, error.detail.lstrip(".")) from None

    def _event(self, value: bytes, origin: str) -> ImportedEvent:
        if _NO_TIME in value:
            raise RejectedEvent("no_time", "missing timestamp")
        routed = route(value, now_ms=self._now_ms, default_time_ms=None, limits=self._limits)
        if routed.clamped:
            raise RejectedEvent("in_future", "the timestamp is in the future")
        headers = [(FROM_HEADER, origin.encode(errors="replace"))]
        return ImportedEvent(record_key(value) or routed.profile_id.encode(), value, headers, routed.time_ms)
