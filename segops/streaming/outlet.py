"""Where the lanes of a worker put what they find, and how that is counted."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from segops.core.events import Change
from segops.metrics import Metrics
from segops.streaming.clock import wall_ms
from segops.streaming.lane import Counts, Outlet, SegmentLane
from segops.streaming.outputs import ChangePublisher, DeadLetters
from segops.streaming.records import Record
from segops.streaming.resolve import ResolveCounts, SourceLane

log = logging.getLogger(__name__)


class KafkaOutlet(Outlet):
    """The outlet of one partition's lane: the membership topics and the dead letters."""

    def __init__(
        self, partition: int, publisher: ChangePublisher, dead_letters: DeadLetters, metrics: Metrics
    ) -> None:
        super().__init__()
        self._partition = partition
        self._publisher = publisher
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._published: Counter[tuple[str, str, str]] = Counter()

    def emit(self, changes: Sequence[Change], *, arrived_ms: int | None) -> None:
        """Publish changes."""
        now_ms = wall_ms()
        self._publisher.publish(self._partition, changes, now_ms=now_ms)
        for change in changes:
            self._published[change.segment_key, change.action, change.reason] += 1
        if arrived_ms is not None:
            self._metrics.end_to_end.observe(max(0, now_ms - arrived_ms) / 1000)

    def reject(self, record: Record, reason: str, detail: str) -> None:
        """Put a record into the dead letters."""
        log.error("record %s:%d:%d: %s", record.topic, record.partition, record.offset, detail)
        self._dead_letters.put(record, reason, detail)
        self._metrics.dead_letters.labels(reason).inc()

    def export(self) -> None:
        """Bring the counter of changes up to date."""
        for (segment, action, reason), count in self._published.items():
            label = self._metrics.segment(segment)
            self._metrics.membership_changes.labels(label, action, reason).inc(count)
        self._published.clear()


def export_lane(counts: Counts, metrics: Metrics) -> None:
    """Add what a lane counted to the metrics."""
    metrics.events_consumed.labels("segment").inc(counts.records)
    metrics.duplicates.inc(counts.duplicates)
    metrics.late_events.inc(counts.late)
    metrics.values_skipped.inc(counts.skipped_values)
    metrics.timers_fired.inc(counts.timers)
    for lateness_ms in counts.lateness_ms:
        metrics.timer_lateness.observe(lateness_ms / 1000)
    for segment, failures in counts.failures.items():
        metrics.rule_failures.labels(metrics.segment(segment)).inc(failures)
    for problem in counts.broken:
        metrics.rule_failures.labels("internal").inc()
        log.error("a profile could not be judged: %s", problem)


def export_source(counts: ResolveCounts, metrics: Metrics) -> None:
    """Add what a source lane counted to the metrics."""
    metrics.events_consumed.labels("resolve").inc(counts.records)
    metrics.clamped_events.inc(counts.clamped)
    for reason, rejected in counts.rejected.items():
        metrics.events_rejected.labels(reason).inc(rejected)
        metrics.dead_letters.labels(reason).inc(rejected)


def export_counts(lanes: Iterable[SegmentLane], sources: Iterable[SourceLane], metrics: Metrics) -> None:
    """Add what all lanes counted to the metrics, and start their counts anew."""
    for lane in lanes:
        counts, lane.counts = lane.counts, Counts()
        export_lane(counts, metrics)
    for source in sources:
        resolved, source.counts = source.counts, ResolveCounts()
        export_source(resolved, metrics)


class Gauges:
    """Gauges that are brought up to date when somebody looks."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._segments: set[str] = set()

    def export(self, lanes: dict[int, SegmentLane]) -> None:
        """Segment sizes, clocks and cached profiles of these partitions."""
        sizes: Counter[str] = Counter()
        for partition, lane in lanes.items():
            sizes.update(lane.sizes)
            self._metrics.partition_clock.labels(str(partition)).set(lane.clock.now_ms / 1000)
        self._metrics.profiles_cached.set(sum(lane.cached for lane in lanes.values()))
        self._export_sizes(sizes)

    def export_lag(self, behind: Mapping[tuple[str, int], int | None]) -> None:
        """How many records each partition is behind, where its end is known."""
        for (topic, partition), records in behind.items():
            if records is not None:
                self._metrics.consumer_lag.labels(topic, str(partition)).set(records)

    def _export_sizes(self, sizes: Counter[str]) -> None:
        for key in self._segments - set(sizes):
            self._metrics.segment_members.labels(self._metrics.segment(key)).set(0)
        self._segments = set(sizes)
        by_label: Counter[str] = Counter()
        for key, size in sizes.items():
            by_label[self._metrics.segment(key)] += size
        for label, size in by_label.items():
            self._metrics.segment_members.labels(label).set(size)
