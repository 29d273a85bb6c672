"""What time it is in one partition of profile events.

The engine never reads the wall clock (``segops.wall_clock``). Its time is that of the partition, which only
the records of the partition's log move.
"""

from __future__ import annotations

from typing import Final

from segops.schemas.ticks import Tick

NO_CLOCK: Final = 0
"""The clock of a partition to which nobody has told the time: nothing is due yet."""

_NEVER: Final = -(1 << 62)
_FORMAT: Final = "1"
_METADATA_LIMIT: Final = 4_000  # the broker's default for offset.metadata.max.bytes is 4096


class Watermark:
    """The least of several marks, each of which never goes back; idle ones do not count.

    It is the greatest of all when every one is idle; one that was never heard of holds it back until it is
    known to be idle.
    """

    __slots__ = ("idle", "least", "marks")

    def __init__(self, size: int) -> None:
        self.marks = [_NEVER] * size
        self.idle = [False] * size
        self.least = _NEVER

    def observe(self, number: int, time_ms: int) -> bool:
        """Something of this time passed by; whether ``least`` may have moved."""
        mark = self.marks[number]
        if time_ms > mark:
            self.marks[number] = time_ms
        elif not self.idle[number]:
            return False
        if mark > self.least and not self.idle[number]:
            return False
        self.idle[number] = False
        self.settle()
        return True

    def mark(self, number: int, time_ms: int, *, idle: bool = False) -> None:
        """It is so far, and counts or does not."""
        self.marks[number] = max(time_ms, self.marks[number])
        self.idle[number] = idle
        self.settle()

    def settle(self) -> None:
        """Find the least anew."""
        awake = [mark for mark, idle in zip(self.marks, self.idle, strict=True) if not idle]
        self.least = min(awake) if awake else max(self.marks)

    def dump(self, now_ms: int) -> str:
        """All marks in a short text."""
        pairs = zip(self.marks, self.idle, strict=True)
        return ",".join(
            ("~" if idle else "") + ("" if mark == _NEVER else str(mark - now_ms)) for mark, idle in pairs
        )

    def loaded(self, text: str, now_ms: int) -> Watermark:
        """What ``dump`` wrote; this one, if that was of another number of marks. Raises ValueError."""
        parts = text.split(",")
        found = [int(part.lstrip("~")) + now_ms if part.lstrip("~") else _NEVER for part in parts]
        if len(parts) != len(self.marks):
            return self
        watermark = Watermark(len(parts))
        watermark.marks, watermark.idle = found, [part.startswith("~") for part in parts]
        watermark.settle()
        return watermark


class PartitionClock:
    """The clock of one partition. It never goes back.

    With the wall clock it is what the ticks of the partition's owner said. With the event clock it is the
    least that the sources have reached. With ``processors``, each processor reports how far its own sources
    are (``sources_ms``), behind everything that it sent to other partitions until then. The clock is the
    least of these reports.

    >>> clock = PartitionClock(sources=2, by_events=True)
    >>> clock.observe(0, 5_000)
    >>> clock.now_ms
    0
    >>> clock.mark(1, 3_000, idle=False)
    >>> clock.now_ms
    3000
    >>> clock.mark(1, 3_000, idle=True)
    >>> clock.now_ms
    5000
    >>> clock = PartitionClock(sources=1, processors=2, by_events=True)
    >>> clock.observe(0, 5_000)
    >>> clock.report_watermark(0, 5_000)
    >>> clock.sources_ms, clock.now_ms
    (5000, 0)
    >>> clock.report_watermark(1, 4_000)
    >>> clock.now_ms
    4000
    """

    __slots__ = ("_by_events", "_lanes", "_sources", "now_ms")

    def __init__(self, *, sources: int, by_events: bool, processors: int = 0) -> None:
        self.now_ms = NO_CLOCK
        self._by_events = by_events
        self._sources = Watermark(sources)
        self._lanes = Watermark(processors) if processors else None

    @property
    def sources_ms(self) -> int | None:
        """What the sources have reached; None while that is unknown."""
        return None if self._sources.least == _NEVER else self._sources.least

    def take(self, tick: Tick) -> None:
        """Move by a tick of any kind. IndexError for an unknown source or lane."""
        if tick.clock_ms is not None:
            self.advance(tick.clock_ms)
        elif tick.lane is not None and tick.watermark_ms is not None:
            self.report_watermark(tick.lane, tick.watermark_ms)
        elif tick.source is not None and tick.watermark_ms is not None:
            self.mark(tick.source, tick.watermark_ms, idle=tick.idle)

    def advance(self, clock_ms: int) -> None:
        """A tick of the wall clock."""
        if not self._by_events and clock_ms > self.now_ms:
            self.now_ms = clock_ms

    def observe(self, source: int, time_ms: int) -> None:
        """A record of ``source`` with this event time passed by. IndexError for an unknown source."""
        if self._by_events and self._sources.observe(source, time_ms) and self._lanes is None:
            self._move(self._sources.least)

    def mark(self, source: int, watermark_ms: int, *, idle: bool) -> None:
        """A tick of the event clock: how far ``source`` is, and whether it counts at present."""
        if not self._by_events:
            return
        self._sources.mark(source, watermark_ms, idle=idle)
        if self._lanes is None:
            self._move(self._sources.least)

    def report_watermark(self, processor: int, watermark_ms: int) -> None:
        """A tick of the event clock: how far the sources of partition ``processor`` are."""
        if self._by_events and self._lanes is not None:
            self._lanes.mark(processor, watermark_ms)
            self._move(self._lanes.least)

    def _move(self, least_ms: int) -> None:
        if least_ms > self.now_ms:
            self.now_ms = least_ms

    def dump(self) -> str:
        """All of it in a short line, for the metadata of an offset commit.

        Only the time itself when there are so many sources that a broker might refuse the line.
        """
        parts = [self._sources.dump(self.now_ms)]
        parts += [self._lanes.dump(self.now_ms)] if self._lanes is not None else []
        head = f"{_FORMAT};{self.now_ms};"
        whole = head + ";".join(parts)
        return whole if len(whole) <= _METADATA_LIMIT else head

    def load(self, text: str) -> bool:
        """Become what ``dump`` wrote; False, and unchanged, when it is not readable."""
        try:
            version, now, *parts = text.split(";")
            now_ms = int(now)
            if version != _FORMAT or not parts:
                return False
            sources = self._sources.loaded(parts[0], now_ms) if parts[0] else self._sources
            processors = self._lanes
            if processors is not None and len(parts) > 1:
                processors = processors.loaded(parts[1], now_ms)
        except ValueError:
            return False
        self.now_ms = now_ms
        if self._by_events:
            self._sources, self._lanes = sources, processors
        self._move(self._sources.least if self._lanes is None else self._lanes.least)
        return True
