"""The figures that the demo displays, independent of how they are drawn."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from itertools import count
from time import monotonic
from typing import Final

from segops.core.events import Change
from segops.core.segments import Definition
from segops.demo.history import OrderHistory
from segops.demo.progress import Progress

_RATE_OVER_S: Final = 3.0
_LATEST: Final = 40
_DAY_MS: Final = 86_400_000
#: Time of the history per point of a segment's curve.
_SAMPLE_MS: Final = 7 * _DAY_MS


class SegmentRow:
    """A segment: its size now and over time, and its entries and exits up to now."""

    def __init__(self, definition: Definition) -> None:
        self.key = definition.key
        self.name = definition.name
        self.size = 0
        self.peak = 0
        self.entered = 0
        self.exited = 0
        self.curve: list[int] = []

    def note(self, change: Change) -> None:
        """Count one change."""
        self.size += 1 if change.member else -1
        self.peak = max(self.peak, self.size)
        if change.member:
            self.entered += 1
        else:
            self.exited += 1


class DashboardState:
    """Counts changes; ``look`` updates the progress of the pipeline."""

    def __init__(self, history: OrderHistory, definitions: Sequence[Definition]) -> None:
        self.phase = "starting"
        self.total = len(history.events)
        self.sent = self.done = self.lag = 0
        self.clock_ms = 0
        self.changes: Counter[str] = Counter()
        self.segments = {definition.key: SegmentRow(definition) for definition in definitions}
        self.latest: deque[Change] = deque(maxlen=_LATEST)
        #: Seconds from the first event sent to the last one applied, without pauses.
        self.applied_s = self.ready_s = self.pause_s = 0.0
        self._started = monotonic()
        self._speeds: deque[tuple[float, int]] = deque()
        self._next_sample_ms = history.first_ms + _SAMPLE_MS
        self._pending: list[tuple[int, int, Change]] = []
        self._numbers = count()

    def add(self, definitions: Iterable[Definition]) -> None:
        """Also show the segments of these definitions that are new."""
        for definition in definitions:
            self.segments.setdefault(definition.key, SegmentRow(definition))

    def note(self, change: Change) -> None:
        """Queue one membership change until the clock reaches it."""
        self.changes[change.reason] += 1
        heappush(self._pending, (change.occurred_at, next(self._numbers), change))

    def _advance_to(self, clock_ms: int) -> None:
        """Show the changes up to an instant that all partitions have reached.

        One partition may be days ahead of another; in time order, the sizes are right at every date.
        """
        while self._pending and self._pending[0][0] <= clock_ms:
            occurred_ms, _, change = heappop(self._pending)
            self._sample(occurred_ms)
            self.latest.append(change)
            segment = self.segments.get(change.segment_key)
            if segment is not None:
                segment.note(change)
        self._sample(clock_ms)

    def _sample(self, until_ms: int) -> None:
        while self._next_sample_ms <= until_ms:
            self._next_sample_ms += _SAMPLE_MS
            for segment in self.segments.values():
                segment.curve.append(segment.size)

    def look(self, progress: Progress, sent: int) -> None:
        """Update the progress of the feeder and the pipeline."""
        now, before = monotonic(), self.done
        self.sent, self.lag, self.clock_ms = sent, progress.lag, progress.clock_ms
        self.done = min(self.total, progress.events)  # ticks are counted, too
        self._advance_to(self.clock_ms)
        if self.done > before:
            self.applied_s = self.elapsed_s - self.ready_s
        self._speeds.append((now, self.done))
        while self._speeds[0][0] < now - _RATE_OVER_S:
            self._speeds.popleft()

    def begin(self) -> None:
        """Start the timer: the worker is ready, and events are about to be sent."""
        self.ready_s = self.elapsed_s

    def resume(self, paused_s: float) -> None:
        """Leave a pause, which lasted from ``paused_s`` until now, out of the time for events."""
        self.pause_s += self.elapsed_s - paused_s
        self.ready_s += self.elapsed_s - paused_s

    def close(self, changes: Iterable[Change]) -> None:
        """Recount all changes in time order, so that the final figures are exact.

        At the same instant, exits count before entries.
        """
        self._pending.clear()
        for segment in self.segments.values():
            segment.size = segment.peak = segment.entered = segment.exited = 0
        for change in sorted(changes, key=lambda change: (change.occurred_at, change.member)):
            self.segments[change.segment_key].note(change)

    @property
    def events_per_second(self) -> float:
        """Events durably applied per second, over the last few seconds."""
        if len(self._speeds) < 2:
            return 0.0
        (since, before), (now, after) = self._speeds[0], self._speeds[-1]
        return (after - before) / max(now - since, 0.001)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return monotonic() - self._started
