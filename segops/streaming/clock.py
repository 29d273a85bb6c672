"""What time it is in one partition of profile events.

The wall clock of this machine is read here and nowhere else; what reaches the engine is always the
partition's own clock, which moves by the records of its log only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

NO_CLOCK: Final = 0
"""The clock of a partition to which nobody has told the time: nothing is due yet."""

_NEVER: Final = -(1 << 62)
_FORMAT: Final = "1"
_JUMP_MS: Final = 5_000
_METADATA_LIMIT: Final = 4_000  # the broker's default for offset.metadata.max.bytes is 4096


def wall_ms() -> int:
    """The wall clock in milliseconds UTC."""
    return int(time.time() * 1000)  # noqa: TID251 - the one place that reads it


class Jumps:
    """Notices when the wall clock jumps: when it and the time since the start part."""

    def __init__(
        self, wall: Callable[[], int] = wall_ms, steady_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._steady_s = steady_s
        self._ahead_ms = self._now()

    def _now(self) -> int:
        return self._wall() - int(self._steady_s() * 1000)

    def jumped_ms(self) -> int:
        """By how much it jumped since the last call; 0 when that is less than five seconds."""
        before, self._ahead_ms = self._ahead_ms, self._now()
        jump_ms = self._ahead_ms - before
        return jump_ms if abs(jump_ms) >= _JUMP_MS else 0


class PartitionClock:
    """The clock of one partition. It never goes back.

    With the event clock it is the least watermark over the sources that are not idle, the greatest of
    all when every one is idle; a source that was never heard of holds it back until it is known to be
    idle. With the wall clock it is what the ticks of the partition's owner said.

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
    """

    __slots__ = ("_by_events", "_idle", "_least", "_marks", "now_ms")

    def __init__(self, *, sources: int, by_events: bool) -> None:
        self.now_ms = NO_CLOCK
        self._by_events = by_events
        self._marks = [_NEVER] * sources
        self._idle = [False] * sources
        self._least = _NEVER

    def advance(self, clock_ms: int) -> None:
        """A tick of the wall clock."""
        if not self._by_events and clock_ms > self.now_ms:
            self.now_ms = clock_ms

    def observe(self, source: int, time_ms: int) -> None:
        """A record of ``source`` with this event time passed by. IndexError for an unknown source."""
        if not self._by_events:
            return
        mark = self._marks[source]
        if time_ms > mark:
            self._marks[source] = time_ms
        elif not self._idle[source]:
            return
        if mark <= self._least or self._idle[source]:
            self._idle[source] = False
            self._settle()

    def mark(self, source: int, watermark_ms: int, *, idle: bool) -> None:
        """A tick of the event clock: how far ``source`` is, and whether it counts at present."""
        if not self._by_events:
            return
        if watermark_ms > self._marks[source]:
            self._marks[source] = watermark_ms
        self._idle[source] = idle
        self._settle()

    def _settle(self) -> None:
        awake = [mark for mark, idle in zip(self._marks, self._idle, strict=True) if not idle]
        self._least = min(awake) if awake else max(self._marks)
        if self._least > self.now_ms:
            self.now_ms = self._least

    def dump(self) -> str:
        """All of it in a short line, for the metadata of an offset commit.

        Only the time itself when there are so many sources that a broker might refuse the line.
        """
        whole = f"{_FORMAT};{self.now_ms};{','.join(map(self._dump_source, range(len(self._marks))))}"
        return whole if len(whole) <= _METADATA_LIMIT else f"{_FORMAT};{self.now_ms};"

    def _dump_source(self, source: int) -> str:
        mark, idle = self._marks[source], "~" if self._idle[source] else ""
        return idle if mark == _NEVER else f"{idle}{mark - self.now_ms}"

    def load(self, text: str) -> bool:
        """Become what ``dump`` wrote; False, and unchanged, when it is not readable."""
        try:
            version, now, sources = text.split(";")
            now_ms = int(now)
            parts = sources.split(",") if sources else []
            marks = [int(part.lstrip("~")) + now_ms if part.lstrip("~") else _NEVER for part in parts]
        except ValueError:
            return False
        if version != _FORMAT:
            return False
        self.now_ms = now_ms
        if len(parts) == len(self._marks) and self._by_events:
            self._marks = marks
            self._idle = [part.startswith("~") for part in parts]
            self._settle()
        return True
