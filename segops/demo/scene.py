"""What there is to see at one moment of the demo, whoever draws it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from time import monotonic
from typing import Final

from segops.core.events import Change
from segops.core.segments import Definition
from segops.demo.history import History
from segops.demo.progress import Progress

_RATE_OVER_S: Final = 3.0
_LATEST: Final = 40
_DAY_MS: Final = 86_400_000
#: One point of a segment's curve for so much time of the history.
_SAMPLE_MS: Final = 7 * _DAY_MS


class Segment:
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


class Scene:
    """Counts what happens; ``look`` takes over how far the pipeline is."""

    def __init__(self, history: History, definitions: Sequence[Definition]) -> None:
        self.phase = "starting"
        self.total = len(history.moments)
        self.first_ms, self.last_ms = history.first_ms, history.final_ms
        self.sent = self.done = self.lag = 0
        self.clock_ms = 0
        self.changes: Counter[str] = Counter()
        self.segments = {definition.key: Segment(definition) for definition in definitions}
        self.latest: deque[Change] = deque(maxlen=_LATEST)
        #: Seconds from the first event sent to the last one applied.
        self.applied_s = self.ready_s = 0.0
        self._started = monotonic()
        self._speeds: deque[tuple[float, int]] = deque()
        self._sampled_ms = 0

    def note(self, change: Change) -> None:
        """Take in one membership change."""
        self.changes[change.reason] += 1
        self.latest.append(change)
        segment = self.segments.get(change.segment_key)
        if segment is not None:
            segment.note(change)

    def look(self, progress: Progress, sent: int) -> None:
        """Take over how far the feeder and the pipeline are."""
        now, before = monotonic(), self.done
        self.sent, self.done, self.lag, self.clock_ms = sent, progress.events, progress.lag, progress.clock_ms
        if self.done > before:
            self.applied_s = self.elapsed_s - self.ready_s
        self._speeds.append((now, self.done))
        while self._speeds[0][0] < now - _RATE_OVER_S:
            self._speeds.popleft()
        if self.clock_ms >= self._sampled_ms + _SAMPLE_MS:
            self._sampled_ms = self.clock_ms
            for segment in self.segments.values():
                segment.curve.append(segment.size)

    def begin(self) -> None:
        """The worker is ready, and events are about to be sent."""
        self.ready_s = self.elapsed_s

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
