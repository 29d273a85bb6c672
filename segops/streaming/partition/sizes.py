"""The figures of a partition: the sizes and trends of its segments, and its population.

They are taken and published at the cut of a checkpoint, in the same step as the profiles that become durable,
so that a size, the rows of the state topic and the stored profiles are of one moment.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from segops.core.segments import SegmentSet
from segops.schemas.sizes import (
    MINUTE_MS,
    EndedRecord,
    PopulationFigures,
    PopulationRecord,
    Progress,
    RecordKey,
    SegmentState,
    SizeRecord,
    TrendRecord,
)
from segops.stores.base import ProfileStore, Write
from segops.streaming.partition.backfill.backfill import Backfill
from segops.streaming.partition.clock import NO_CLOCK
from segops.streaming.partition.output import Output
from segops.streaming.partition.population import Population
from segops.streaming.partition.profile_cache import ProfileCache
from segops.streaming.partition.start import Start
from segops.streaming.partition.tallies import EndedMinute, Tallies

_HEARTBEAT_S: Final = 60.0
#: Segments without a change that are published at once after a partition was opened.
_SLICE: Final = 500


class SegmentStatus(NamedTuple):
    """What a size says of its segment besides numbers. ``version``: 0 if it is unknown."""

    version: int
    state: SegmentState
    complete_since_ms: int | None = None
    progress: Progress | None = None


class SegmentHistory(NamedTuple):
    """What segments know of the past.

    ``building``: those that wait for it, and their versions; ``progress``: how much of it has been read.
    ``complete_since``: those that count no event before an instant (ms) which their windows include.
    """

    building: Mapping[str, int] = MappingProxyType({})
    progress: Progress | None = None
    complete_since: Mapping[str, int] = MappingProxyType({})

    @classmethod
    def of(cls, backfill: Backfill, segments: SegmentSet, now_ms: int) -> SegmentHistory:
        """Return the history of the segments in force."""
        progress = None if backfill.draft else backfill.progress
        return cls(backfill.building(segments), progress, backfill.complete_since(segments, now_ms))


_NO_HISTORY: Final = SegmentHistory()


class Pace:
    """The rate at which the history of a partition is read, since this process began or resumed it."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._began: tuple[float, int] | None = None

    def measure(self, found: Progress | None) -> Progress | None:
        """Return the progress with its rate."""
        if found is None:
            self._began = None
            return None
        now_s = self._monotonic()
        if self._began is None or found.read < self._began[1]:
            self._began = now_s, found.read
        began_s, already = self._began
        rate = (found.read - already) / (now_s - began_s) if now_s > began_s else 0.0
        return msgspec.structs.replace(found, rate=round(rate, 1))


class Cut(NamedTuple):
    """What a checkpoint stores of the figures, and the changelog records that precede its profiles."""

    meta: dict[str, bytes]
    leading: list[Write]


class Figures:
    """Takes the figures of a partition, and publishes those that changed, at most every ``interval_ms``.

    After a start every size is published once, in slices, and then the population: what the topic holds is
    unknown.
    """

    def __init__(
        self,
        store: ProfileStore,
        start: Start,
        output: Output,
        *,
        tallies: Tallies,
        sizes: Mapping[str, int],
        interval_ms: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tallies = tallies
        self._population = Population(store, start.clock.now_ms)
        self._clock = start.clock
        self._output = output
        self._sizes = sizes
        self._partition = (
            start.number,
            start.partitions,
            0 if start.origin is None else start.origin.generation,
        )
        self._interval_s = interval_ms / 1000
        self._monotonic = monotonic
        self._pace = Pace(monotonic)
        self._statuses: dict[str, SegmentStatus] = {}
        self._version: str | None = None
        self._history = _NO_HISTORY
        self._retired: set[str] = set()
        self._unpublished: deque[str] = deque()
        self._published: tuple[int, PopulationFigures] | None = None
        self._published_s = -_HEARTBEAT_S
        self._ended_ms = 0
        self._minute_ms: int | None = None
        self._at_minute: PopulationFigures | None = None

    def population(self) -> PopulationFigures:
        """Return the population as of the last cut."""
        return self._population.figures(self._clock.now_ms)

    def cut(self, profiles: ProfileCache, segments: SegmentSet, history: SegmentHistory = _NO_HISTORY) -> Cut:
        """Take the figures as of now, and publish those that are due; ``profiles.snapshot`` must follow."""
        for former, activity in profiles.take_activities():
            self._population.count(former, activity)
        profiles.carry(self._tallies.cut())
        if (segments.version, history) != (self._version, self._history):
            self._adopt(segments, history)
        if self._clock.now_ms != NO_CLOCK:
            self._publish()
        meta = self._tallies.take() | self._population.take(self._clock.now_ms)
        return Cut(meta, self._tallies.take_leading())

    def _adopt(self, segments: SegmentSet, history: SegmentHistory) -> None:
        former, first, since = self._statuses, self._version is None, history.complete_since
        found = {
            each.key: SegmentStatus(each.version, "paused" if each.paused else "live", since.get(each.key))
            for each in segments.definitions
        }
        progress = self._pace.measure(history.progress)
        for key, version in history.building.items():
            known = found.get(key, SegmentStatus(version, "building"))
            found[key] = known._replace(state="building", progress=progress)
        self._retired = {*former, *self._tallies.segments()} - found.keys()
        for key in self._retired:
            found[key] = SegmentStatus(former[key].version if key in former else 0, "retired")
        if first:
            self._unpublished.extend(sorted(found))
        else:
            self._tallies.changed.update(key for key, each in found.items() if former.get(key) != each)
        self._statuses, self._version, self._history = found, segments.version, history

    def _publish(self) -> None:
        for ended in self._tallies.take_ended():
            self._publish_minute(ended)
        self._publish_ended()
        self._publish_population_minute()
        if self._monotonic() >= self._published_s + self._interval_s:
            self._publish_sizes()

    def _publish_sizes(self) -> None:
        now_s, figures = self._monotonic(), self.population()
        deleted, keys = self._take_idle(), self._take_keys()
        state = self._clock.now_ms, figures
        beats = state != self._published and now_s >= self._published_s + _HEARTBEAT_S
        known = self._published is not None and self._published[1] == figures
        if keys or deleted or beats or not known:
            for key in deleted:
                self._output.delete_size(RecordKey(key, self._partition[2], self._partition[0]))
            for key in keys:
                self._publish_size(key)
            if not self._unpublished:
                self._publish_population(figures)
            self._published, self._published_s = state, now_s

    def _take_idle(self) -> list[str]:
        idle = sorted(key for key in self._retired if self._tallies.is_idle(key))
        for key in idle:
            self._tallies.drop(key)
            self._tallies.changed.discard(key)
            self._retired.discard(key)
            del self._statuses[key]
        return idle

    def _take_keys(self) -> list[str]:
        keys, self._tallies.changed = self._tallies.changed, set()
        keys.update(self._unpublished.popleft() for _ in range(min(_SLICE, len(self._unpublished))))
        for key in keys - self._statuses.keys():  # a member of a retired segment returned from quarantine
            self._statuses[key] = SegmentStatus(0, "retired")
            self._retired.add(key)
        return sorted(keys)

    def _publish_size(self, segment_key: str) -> None:
        number, partitions, generation = self._partition
        status, flow = self._statuses[segment_key], self._tallies.flow(segment_key)
        record = SizeRecord(
            segment_key=segment_key,
            version=status.version,
            partition=number,
            partitions=partitions,
            generation=generation,
            state=status.state,
            members=self._sizes.get(segment_key, 0),
            entered=flow.entered,
            left=flow.left,
            clock_ms=self._clock.now_ms,
            complete_since_ms=status.complete_since_ms,
            progress=status.progress,
        )
        self._output.publish_figures(record)

    def _publish_minute(self, ended: EndedMinute) -> None:
        number, partitions, generation = self._partition
        record = TrendRecord(
            segment_key=ended.segment_key,
            minute_ms=ended.minute_ms,
            partition=number,
            partitions=partitions,
            generation=generation,
            members=ended.members,
            entered=ended.flow.entered,
            left=ended.flow.left,
            clock_ms=self._clock.now_ms,
        )
        self._output.publish_figures(record)

    def _publish_ended(self) -> None:
        """Say which minutes are published, when that has changed."""
        until_ms = self._tallies.ended_ms
        if until_ms > self._ended_ms:
            self._ended_ms = until_ms
            self._output.publish_figures(EndedRecord(*self._partition, until_ms, self._clock.now_ms))

    def _publish_population_minute(self) -> None:
        """Publish the population at the end of the last minute, as of the first cut after it."""
        minute_ms = self._clock.now_ms // MINUTE_MS * MINUTE_MS
        if minute_ms == self._minute_ms:
            return
        figures, former = self.population(), self._at_minute
        if self._minute_ms is not None and figures != former:
            self._publish_population(figures, minute_ms=minute_ms - MINUTE_MS)
        self._minute_ms, self._at_minute = minute_ms, figures

    def _publish_population(self, figures: PopulationFigures, *, minute_ms: int | None = None) -> None:
        number, partitions, generation = self._partition
        clock_ms = self._clock.now_ms
        record = PopulationRecord(number, partitions, generation, clock_ms, figures, minute_ms)
        self._output.publish_figures(record)
