"""The clock of one partition of profile events.

The engine never reads the wall clock (``segops.wall_clock``). Its time is the partition's, and only the
records of the partition's log advance it.
"""

from __future__ import annotations

from typing import Final

from segops.schemas.ticks import Tick

NO_CLOCK: Final = 0
"""The clock of a partition that has not received a tick: nothing is due yet."""

_UNKNOWN: Final = -(1 << 62)
_FORMAT: Final = "1"
_METADATA_LIMIT: Final = 4_000  # the broker's default for offset.metadata.max.bytes is 4096


class Watermark:
    """The minimum of several monotonic marks, without the idle ones.

    When all are idle it is their maximum. A mark without a value holds the watermark back until it is idle.
    """

    __slots__ = ("idle", "least", "marks")

    def __init__(self, size: int) -> None:
        self.marks = [_UNKNOWN] * size
        self.idle = [False] * size
        self.least = _UNKNOWN

    def observe(self, number: int, time_ms: int) -> bool:
        """Advance a mark to the time of a record; return whether ``least`` may have moved."""
        mark = self.marks[number]
        if time_ms > mark:
            self.marks[number] = time_ms
        elif not self.idle[number]:
            return False
        if mark > self.least and not self.idle[number]:
            return False
        self.idle[number] = False
        self.recompute()
        return True

    def mark(self, number: int, time_ms: int, *, idle: bool = False) -> None:
        """Advance a mark and set whether it is idle."""
        self.marks[number] = max(time_ms, self.marks[number])
        self.idle[number] = idle
        self.recompute()

    def recompute(self) -> None:
        """Recompute ``least`` from all marks."""
        awake = [mark for mark, idle in zip(self.marks, self.idle, strict=True) if not idle]
        self.least = min(awake) if awake else max(self.marks)

    def dump(self, now_ms: int) -> str:
        """Return all marks as a short text, relative to ``now_ms``."""
        pairs = zip(self.marks, self.idle, strict=True)
        return ",".join(
            ("~" if idle else "") + ("" if mark == _UNKNOWN else str(mark - now_ms)) for mark, idle in pairs
        )

    def restored(self, text: str, now_ms: int) -> Watermark:
        """Return the dumped watermark, or self if its number of marks differs. Raises ValueError."""
        parts = text.split(",")
        found = [int(part.lstrip("~")) + now_ms if part.lstrip("~") else _UNKNOWN for part in parts]
        if len(parts) != len(self.marks):
            return self
        watermark = Watermark(len(parts))
        watermark.marks, watermark.idle = found, [part.startswith("~") for part in parts]
        watermark.recompute()
        return watermark


class PartitionClock:
    """The clock of one partition. It never goes back.

    With the wall clock, the ticks of the partition's owner advance it. With the event clock, it is the
    minimum of the sources' watermarks. With ``processors``, each processor reports the watermark of its own
    sources (``sources_ms``), after everything that it sent to other partitions until then. The clock is the
    minimum of these reports.

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

    __slots__ = ("_by_events", "_processors", "_sources", "now_ms")

    def __init__(self, *, sources: int, by_events: bool, processors: int = 0) -> None:
        self.now_ms = NO_CLOCK
        self._by_events = by_events
        self._sources = Watermark(sources)
        self._processors = Watermark(processors) if processors else None

    @property
    def sources_ms(self) -> int | None:
        """The watermark of the sources; None while it is unknown."""
        return None if self._sources.least == _UNKNOWN else self._sources.least

    def take(self, tick: Tick) -> None:
        """Advance by a tick of any kind. Raises IndexError for an unknown source or processor."""
        if tick.clock_ms is not None:
            self.advance(tick.clock_ms)
        elif tick.processor is not None and tick.watermark_ms is not None:
            self.report_watermark(tick.processor, tick.watermark_ms)
        elif tick.source is not None and tick.watermark_ms is not None:
            self.mark(tick.source, tick.watermark_ms, idle=tick.idle)

    def advance(self, clock_ms: int) -> None:
        """Advance by a tick of the wall clock."""
        if not self._by_events and clock_ms > self.now_ms:
            self.now_ms = clock_ms

    def observe(self, source: int, time_ms: int) -> None:
        """Advance by the event time of a record of ``source``. Raises IndexError for an unknown source."""
        if self._by_events and self._sources.observe(source, time_ms) and self._processors is None:
            self._move(self._sources.least)

    def mark(self, source: int, watermark_ms: int, *, idle: bool) -> None:
        """Advance by a tick of the event clock: the watermark of ``source``, and whether it is idle."""
        if not self._by_events:
            return
        self._sources.mark(source, watermark_ms, idle=idle)
        if self._processors is None:
            self._move(self._sources.least)

    def report_watermark(self, processor: int, watermark_ms: int) -> None:
        """Advance by a tick of the event clock: the watermark of the sources of partition ``processor``."""
        if self._by_events and self._processors is not None:
            self._processors.mark(processor, watermark_ms)
            self._move(self._processors.least)

    def _move(self, least_ms: int) -> None:
        if least_ms > self.now_ms:
            self.now_ms = least_ms

    @property
    def observed(self) -> tuple[list[int], list[bool], int, int, bool, bool]:
        """What ``observe`` works on: marks, idle sources, the least mark, the time; whether it does, and how.

        The last two say whether event times are observed, and whether they move the time.
        """
        of = self._sources
        return of.marks, of.idle, of.least, self.now_ms, self._by_events, self._processors is None

    def set_observed(self, marks: list[int], idle: list[bool], least: int, now_ms: int) -> None:
        """Set what ``observe`` has come to elsewhere."""
        of = self._sources
        of.marks, of.idle, of.least, self.now_ms = marks, idle, least, now_ms

    def dump(self) -> str:
        """Return the state as a short line, for the metadata of an offset commit.

        With so many sources that a broker might refuse the line, it holds the time only.
        """
        parts = [self._sources.dump(self.now_ms)]
        parts += [self._processors.dump(self.now_ms)] if self._processors is not None else []
        head = f"{_FORMAT};{self.now_ms};"
        whole = head + ";".join(parts)
        return whole if len(whole) <= _METADATA_LIMIT else head

    def load(self, text: str) -> bool:
        """Restore the state that ``dump`` wrote. Return False, and change nothing, when it is unreadable."""
        try:
            version, now, *parts = text.split(";")
            now_ms = int(now)
            if version != _FORMAT or not parts:
                return False
            sources = self._sources.restored(parts[0], now_ms) if parts[0] else self._sources
            processors = self._processors
            if processors is not None and len(parts) > 1:
                processors = processors.restored(parts[1], now_ms)
        except ValueError:
            return False
        self.now_ms = now_ms
        if self._by_events:
            self._sources, self._processors = sources, processors
        self._move(self._sources.least if self._processors is None else self._processors.least)
        return True
