"""Event lines on their way to Kafka: only JSON objects are sent, optionally with shifted times."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

import msgspec

from segops.core.errors import UserError
from segops.core.values import format_instant, parse_instant
from segops.schemas.repairs import without_surrogates

Slices = AsyncIterator[Sequence[tuple[int, bytes]]]

_TIMES: Final = ("timestamp", "originalTimestamp", "sentAt", "receivedAt")
_SHOWN: Final = 5
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


class NotSent:
    """The numbers of lines that are not JSON objects."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[int] = []

    def note(self, number: int) -> None:
        """Count one such line."""
        self.count += 1
        if self.count <= _SHOWN:
            self._first.append(number)

    def __str__(self) -> str:
        more = ", ..." if self.count > _SHOWN else ""
        lines = "line" if self.count == 1 else "lines"
        return f"{lines} {', '.join(map(str, self._first))}{more}: expected a JSON object"


async def objects(source: object, slices: Slices, not_sent: NotSent) -> AsyncIterator[Sequence[bytes]]:
    """Yield the lines that are JSON objects; note the others in ``not_sent``.

    Raises UserError, before anything is yielded, if the first slice has a line that is not an object: then
    the file is of another kind, such as CSV.
    """
    first = True
    async for lines in slices:
        found = [line for number, line in lines if _is_object(number, line, not_sent)]
        if first and not_sent.count:
            raise UserError(f"{source}: {not_sent}; nothing was sent")
        first = False
        yield found


def _is_object(number: int, line: bytes, not_sent: NotSent) -> bool:
    found = _read(line) is not None
    if not found:
        not_sent.note(number)
    return found


async def latest_ms(source: object, slices: Slices) -> int:
    """Return the latest event time. Raises UserError if no event has one."""
    latest: int | None = None
    async for lines in slices:
        for time_ms in (time_ms for _, line in lines for time_ms in _event_time(line)):
            latest = time_ms if latest is None else max(latest, time_ms)
    if latest is None:
        raise UserError(f"{source}: no event has a readable time to shift")
    return latest


def _event_time(line: bytes) -> Iterator[int]:
    """Yield the event's time, if it has a readable one."""
    times = _times(_fields(line))
    yield from [times[name] for name in _TIMES if name in times][:1]


def shifted(line: bytes, by_ms: int) -> bytes:
    """Return the event with all its times shifted. A line without times is returned unchanged.

    >>> shifted(b'{"a": 1.50, "timestamp": "2026-03-01T10:00:00Z"}', 1_000)
    b'{"a":1.50,"timestamp":"2026-03-01T10:00:01.000Z"}'
    """
    fields = _fields(line)
    times = _times(fields)
    moved = {name: msgspec.Raw(msgspec.json.encode(format_instant(at + by_ms))) for name, at in times.items()}
    return msgspec.json.encode({**fields, **moved}) if moved else line


def _read(line: bytes) -> dict[str, msgspec.Raw] | None:
    try:
        return _object.decode(line)
    except msgspec.ValidationError:
        return None
    except msgspec.DecodeError:  # invalid JSON, or JSON with half of a surrogate pair
        whole = without_surrogates(line)
        return None if whole == line else _read(whole)
    except (UnicodeDecodeError, RecursionError):
        return None


def _fields(line: bytes) -> dict[str, msgspec.Raw]:
    return _read(line) or {}


def _times(fields: dict[str, msgspec.Raw]) -> dict[str, int]:
    times = {name: _instant(fields[name]) for name in _TIMES if name in fields}
    return {name: at for name, at in times.items() if at is not None}


def _instant(written: msgspec.Raw) -> int | None:
    try:
        return parse_instant(msgspec.json.decode(written, type=str))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
