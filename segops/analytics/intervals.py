"""Entries and exits per minute and per hour, in bounded memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final, NamedTuple

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
#: How far back minutes and hours are kept.
MINUTES_KEPT_MS: Final = DAY_MS
HOURS_KEPT_MS: Final = 30 * DAY_MS
_FIELDS: Final = 3
_MOST: Final = (1 << 31) - 1


class NetFlow(NamedTuple):
    """Entries and exits of an interval, and the difference of the sizes at its end and at its start.

    ``net`` is ``entered - left``, unless counts were lost with a disk: sizes never are.
    """

    entered: int = 0
    left: int = 0
    net: int = 0

    def __add__(self, other: tuple[object, ...]) -> NetFlow:
        """Return the flow of both intervals together."""
        return NetFlow(*(a + b for a, b in zip(self, other, strict=True)))  # type: ignore[operator]


class Intervals:
    """The flow of each interval of ``width_ms``, for the latest ``retained`` chunks of ``per_chunk`` each.

    A chunk takes 12 bytes per interval, and exists only if something happened in it. Figures beyond 2^31 - 1
    stay at that limit.

    >>> minutes = Intervals(MINUTE_MS, 60, 25)
    >>> minutes.add(5 * MINUTE_MS, NetFlow(3, 1, 2))
    >>> minutes.add(70 * MINUTE_MS, NetFlow(0, 1, -1))
    >>> minutes.total(0, 2 * HOUR_MS), minutes.total(6 * MINUTE_MS, HOUR_MS)
    (NetFlow(entered=3, left=2, net=1), NetFlow(entered=0, left=0, net=0))
    """

    __slots__ = ("_chunks", "_newest", "_per_chunk", "_retained", "width_ms")

    def __init__(self, width_ms: int, per_chunk: int, retained: int) -> None:
        self.width_ms = width_ms
        self._per_chunk = per_chunk
        self._retained = retained
        self._newest: int | None = None
        self._chunks: dict[int, array[int]] = {}

    def add(self, at_ms: int, flow: NetFlow) -> None:
        """Add to the interval that contains ``at_ms``; ignore one that is no longer kept."""
        number, index = divmod(at_ms // self.width_ms, self._per_chunk)
        if self._newest is None or number > self._newest:
            self._newest = number
            for old in [n for n in self._chunks if n <= number - self._retained]:
                del self._chunks[old]
        elif number <= self._newest - self._retained:
            return
        chunk = self._chunks.get(number)
        if chunk is None:
            chunk = self._chunks[number] = array("i", bytes(4 * _FIELDS * self._per_chunk))
        for field, figure in enumerate(flow, _FIELDS * index):
            chunk[field] = max(-_MOST, min(_MOST, chunk[field] + figure))

    def total(self, from_ms: int, to_ms: int) -> NetFlow:
        """Return the flow of the intervals that start in ``from_ms <= start < to_ms``."""
        entered = left = net = 0
        for chunk, first, end in self._slices(-(-from_ms // self.width_ms), -(-to_ms // self.width_ms)):
            part = chunk[_FIELDS * first : _FIELDS * end]
            entered += sum(part[0::_FIELDS])
            left += sum(part[1::_FIELDS])
            net += sum(part[2::_FIELDS])
        return NetFlow(entered, left, net)

    def _slices(self, first: int, end: int) -> Iterator[tuple[array[int], int, int]]:
        """Yield the chunks with intervals ``first`` to ``end`` (excluded), and the bounds within each."""
        size = self._per_chunk
        numbers = range(first // size, (end - 1) // size + 1)
        for number in numbers if len(numbers) < len(self._chunks) else sorted(self._chunks):
            chunk = self._chunks.get(number)
            if chunk is not None and number in numbers:
                yield chunk, max(first - number * size, 0), min(end - number * size, size)


class FlowHistory:
    """The flows of one segment: by minute for 24 hours, by hour for 30 days.

    At most 56 chunks, 37 KB; a segment without changes takes nothing.
    """

    __slots__ = ("_hours", "_minutes")

    def __init__(self) -> None:
        self._minutes = Intervals(MINUTE_MS, 60, MINUTES_KEPT_MS // HOUR_MS + 1)
        self._hours = Intervals(HOUR_MS, 24, HOURS_KEPT_MS // DAY_MS + 1)

    def add(self, minute_ms: int, flow: NetFlow) -> None:
        """Add to the minute, and to its hour."""
        self._minutes.add(minute_ms, flow)
        self._hours.add(minute_ms, flow)

    def total(self, from_ms: int, to_ms: int) -> NetFlow:
        """Return the flow of the minutes that start in ``from_ms <= start < to_ms``.

        Both bounds must be full hours if minutes are no longer kept at ``from_ms``.
        """
        first, last = -(-from_ms // HOUR_MS) * HOUR_MS, to_ms // HOUR_MS * HOUR_MS
        if first >= last:
            return self._minutes.total(from_ms, to_ms)
        found = self._hours.total(first, last)
        for begin_ms, end_ms in ((from_ms, first), (last, to_ms)):
            if begin_ms < end_ms:
                found += self._minutes.total(begin_ms, end_ms)
        return found
