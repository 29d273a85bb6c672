"""What there is to see at one moment of the demo, whoever draws it."""

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
#: One point of a segment's curve for so much time of the history.
_SAMPLE_MS: Final = 7 * _DAY_MS


class SegmentRow:
    """A segment's size, its comings and goings since the last look, and its curve."""

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
    """Counts what happens; ``look`` takes over how far the pipeline is."""

    def __init__(self, history: OrderHistory, definitions: Sequence[Definition]) -> None:
        self.phase = "starting"
        self.total = len(history.moments)
        self.sent = self.done = self.lag = 0
        self.clock_ms = 0
        self.changes: Counter[str] = Counter()
        self.segments = {definition.key: SegmentRow(definition) for definition in definitions}
        self.latest: deque[Change] = deque(maxlen=_LATEST)
        #: Seconds from the first event sent to the last one applied.
        self.applied_s = self.ready_s = 0.0
        self._started = monotonic()
        self._speeds: deque[tuple[float, int]] = deque()
        self._next_sample_ms = history.first_ms + _SAMPLE_MS
        self._coming: list[tuple[int, int, Change]] = []
        self._numbers = count()

    def note(self, change: Change) -> None:
        """Take in one membership change."""
        self.changes[change.reason] += 1
        heappush(self._coming, (change.occurred_at, next(self._numbers), change))

    def _play_to(self, clock_ms: int) -> None:
        """Show the changes up to an instant that all partitions have reached.

        One partition may be days ahead of another; in the order of time the sizes are true at every date.
        """
        while self._coming and self._coming[0][0] <= clock_ms:
            occurred_ms, _, change = heappop(self._coming)
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
        """Take over how far the feeder and the pipeline are."""
        now, before = monotonic(), self.done
        self.sent, self.lag, self.clock_ms = sent, progress.lag, progress.clock_ms
        self.done = min(self.total, progress.events)  # the records that only carry time come on top
        self._play_to(self.clock_ms)
        if self.done > before:
            self.applied_s = self.elapsed_s - self.ready_s
        self._speeds.append((now, self.done))
        while self._speeds[0][0] < now - _RATE_OVER_S:
            self._speeds.popleft()

    def begin(self) -> None:
        """The worker is ready, and events are about to be sent."""
        self.ready_s = self.elapsed_s

    def close(self, changes: Iterable[Change]) -> None:
        """Count once more over all changes in the order of time, so that the final figures are exact.

        Of one instant the exits count first.
        """
        self._coming.clear()
        for segment in self.segments.values():
            segment.size = segment.peak = segment.entered = segment.exited = 0
        for change in sorted(changes, key=lambda change: (change.occurred_at, change.member)):
            self.segments[change.segment_key].note(change)

    @property
    def events_per_second(self) -> float:
        """Events durably applied a second, over the last few seconds."""
        if len(self._speeds) < 2:
            return 0.0
        (since, before), (now, after) = self._speeds[0], self._speeds[-1]
        return (after - before) / max(now - since, 0.001)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return monotonic() - self._started
