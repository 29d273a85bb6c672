"""The Kafka output of a partition, and the export of the processors' counts to metrics."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from segops.config import Settings
from segops.core.events import Change, IndicatorValue
from segops.core.messages import Message, Rows
from segops.core.step import Erased
from segops.kafka.positions import LogPartition
from segops.metrics import Metrics
from segops.observing import observe_all
from segops.schemas.messages import encode_message, name_of
from segops.schemas.records import Headers, Record, partition_of
from segops.schemas.scans import Answer, encode_answer
from segops.schemas.sizes import ACTIVITIES, PopulationFigures, Published, RecordKey
from segops.schemas.ticks import TICK_HEADERS, TYPE_HEADER
from segops.streaming.partition.control import ControlProcessor
from segops.streaming.partition.output import Counts, Output, QuarantineRecord, ResolveCounts
from segops.streaming.partition.resolve import ResolveProcessor
from segops.streaming.partition.segment import SegmentProcessor
from segops.streaming.publishers import (
    BatchProducer,
    ChangePublisher,
    DeadLetters,
    FiguresPublisher,
    IndicatorPublisher,
    MessageSender,
    QuarantinePublisher,
)
from segops.wall_clock import wall_ms

log = logging.getLogger(__name__)


class KafkaOutput(Output):
    """The output of the partition ``origin`` to the topics of ``settings``, through ``outputs``."""

    def __init__(
        self, origin: LogPartition, outputs: BatchProducer, settings: Settings, metrics: Metrics
    ) -> None:
        topics, self._partition = settings.topics, origin[1]
        self._outputs = outputs
        self._scans = (topics.scans, self._partition)
        self._partitions = [(topics.profile_events, number) for number in range(topics.partitions)]
        self._publisher = ChangePublisher(outputs, topics, app_id=settings.worker.app_id)
        self._sender = MessageSender(outputs, topic=topics.profile_events, partitions=topics.partitions)
        self._dead_letters = DeadLetters(
            outputs, partition=(topics.dead_letters, self._partition), origin=origin
        )
        self._quarantine = QuarantinePublisher(
            outputs, topic=topics.quarantine, partitions=topics.partitions, origin=origin
        )
        self._figures = FiguresPublisher(outputs, topics)
        self._indicators = IndicatorPublisher(outputs, (topics.indicators, self._partition))
        self._metrics = metrics
        self._waiting: dict[str, float] = {}
        #: Observed by ``export``, all at once.
        self._latencies_s: list[float] = []
        self._waited_s: list[float] = []
        self._identifiers: list[int] = []
        self._published: Counter[tuple[str, str, str]] = Counter()

    def forward(self, key: bytes, value: bytes | None, *, headers: Headers, timestamp: int) -> None:
        """Append a record to the partition of profile events for ``key``."""
        partitions = self._partitions
        self._outputs.append(
            partitions[partition_of(key, len(partitions))],
            key=key,
            value=value,
            headers=headers,
            timestamp=timestamp,
        )

    def broadcast(self, value: bytes, *, headers: Headers = TICK_HEADERS) -> None:
        """Append a record without a key, by default a tick, to every partition of profile events."""
        for partition in self._partitions:
            self._outputs.append(partition, key=None, value=value, headers=headers)

    def answer(self, answer: Answer) -> None:
        """Publish the answer of this partition to a scan."""
        for key, value, headers in encode_answer(answer):
            self._outputs.append(self._scans, key=key, value=value, headers=headers)

    def move(self, rows: Rows) -> None:
        """Send rows of past events, with the present as their timestamp."""
        key = rows.to.encode()
        place = self._partitions[partition_of(key, len(self._partitions))]
        headers = [(TYPE_HEADER, name_of(rows).encode())]
        self._outputs.append(place, key=key, value=encode_message(rows), headers=headers)

    def emit(self, changes: Sequence[Change], *, arrived_ms: int | None) -> None:
        """Publish changes and measure their latency."""
        now_ms = wall_ms()
        self._publisher.publish(self._partition, changes, now_ms=now_ms)
        for change in changes:
            self._published[change.segment_key, change.action, change.reason] += 1
        if arrived_ms is not None:
            self._latencies_s.append(max(0, now_ms - arrived_ms) / 1000)

    def publish_values(self, values: Sequence[IndicatorValue]) -> None:
        """Publish new values of indicators in order, and count them."""
        self._indicators.publish(values)
        for value in values:
            self._metrics.indicator_values.labels(self._metrics.segment(value.indicator)).inc()

    def delete_values(self, keys: Sequence[bytes]) -> None:
        """Append a tombstone to the indicators topic for each key."""
        self._indicators.delete(keys)

    def reject(self, record: Record, reason: str, detail: str) -> None:
        """Send a record to the dead-letter topic and log it."""
        log.error("record %s:%d:%d: %s", *self._dead_letters.origin, record.offset, detail)
        self.dead_letter(record, reason, detail)

    def dead_letter(self, record: Record, reason: str, detail: str) -> None:
        """Send a copy of a record to the dead-letter topic, with a detail for people."""
        self._dead_letters.put(record, reason, detail)
        self._metrics.dead_letters.labels(reason).inc()

    def send(self, messages: Sequence[Message], *, arrived_ms: int) -> None:
        """Send messages to the partitions of their receivers."""
        for message in messages:
            self._sender.send(message, timestamp=arrived_ms)

    def send_encoded(self, to: str, kind: str, value: bytes, *, arrived_ms: int) -> None:
        """Send an encoded message to the partition of its receiver."""
        self._sender.send_encoded(to, kind, value, timestamp=arrived_ms)

    def erased(self, erased: Sequence[Erased], segments: Collection[str], *, offset: int) -> None:
        """Delete the rows of the state topic, and publish receipts."""
        self._publisher.forget(self._partition, erased, segments, offset=offset, now_ms=wall_ms())

    def delete_rows(self, keys: Sequence[bytes]) -> None:
        """Append a tombstone to the state topic for each key."""
        self._publisher.delete_rows(self._partition, keys)

    def publish_figures(self, record: Published) -> None:
        """Append a record to the topic of sizes or of trends."""
        self._figures.put(self._partition, record)
        self._metrics.figures_published.inc()

    def delete_size(self, key: RecordKey) -> None:
        """Append a tombstone to the topic of sizes."""
        self._figures.delete(self._partition, key)

    def quarantine(self, record: QuarantineRecord) -> None:
        """Publish unreadable bytes and log the fact; the profile id is in the topic only."""
        place = (self._partition, record.offset, record.of)
        log.error("partition %d, offset %d: quarantined %s: %s", *place, record.reason)
        self._quarantine.put(record)
        self._metrics.quarantined.labels(record.found_in).inc()

    def released(self, profile_id: str) -> None:
        """Delete the quarantine record of a released profile."""
        self._quarantine.delete(profile_id)

    def wait_started(self, profile_id: str) -> None:
        """Note when a profile starts to wait."""
        self._waiting[profile_id] = time.monotonic()

    def wait_ended(self, profile_id: str, identifiers: int) -> None:
        """Measure how long a profile waited, if this process saw the start."""
        began = self._waiting.pop(profile_id, None)
        if began is not None:
            self._waited_s.append(time.monotonic() - began)
        if identifiers:
            self._identifiers.append(identifiers)

    @property
    def waiting(self) -> int:
        """The number of waiting profiles that started to wait since the partition was opened."""
        return len(self._waiting)

    def export(self) -> None:
        """Add the published changes, latencies and waits to the metrics."""
        metrics = self._metrics
        observe_all(metrics.end_to_end, self._latencies_s)
        observe_all(metrics.convergence, self._waited_s)
        observe_all(metrics.identifiers, self._identifiers)
        for observed in (self._latencies_s, self._waited_s, self._identifiers):
            observed.clear()
        for (segment, action, reason), count in self._published.items():
            label = metrics.segment(segment)
            metrics.membership_changes.labels(label, action, reason).inc(count)
        self._published.clear()


def export_partition(counts: Counts, metrics: Metrics) -> None:
    """Add the counts of a segment processor to the metrics."""
    metrics.events_consumed.labels("segment").inc(counts.records)
    metrics.duplicates.inc(counts.duplicates)
    metrics.late_events.inc(counts.late)
    for (path, found), number in counts.skipped.items():
        metrics.values_skipped.labels(metrics.path(path), found).inc(number)
    _export_repairs(counts.repairs, metrics)
    metrics.timers_fired.inc(counts.timers)
    for reason, number in counts.left_to_python.items():
        metrics.left_to_python.labels(reason).inc(number)
    for kind, number in counts.identities.items():
        counter = metrics.identities.get(kind)
        if counter is not None:
            counter.inc(number)
    observe_all(metrics.timer_lateness, [lateness_ms / 1000 for lateness_ms in counts.lateness_ms])
    for segment, failures in counts.failures.items():
        metrics.rule_failures.labels(metrics.segment(segment)).inc(failures)
    for problem in counts.broken:
        metrics.rule_failures.labels("internal").inc()
        log.error("profile could not be evaluated: %s", problem)


def export_source(counts: ResolveCounts, metrics: Metrics) -> None:
    """Add the counts of a resolve processor to the metrics."""
    metrics.events_consumed.labels("resolve").inc(counts.records)
    metrics.clamped_events.inc(counts.clamped)
    _export_repairs(counts.repairs, metrics)
    for reason, rejected in counts.rejected.items():
        metrics.events_rejected.labels(reason).inc(rejected)


def _export_repairs(repairs: Mapping[str, int], metrics: Metrics) -> None:
    for kind, number in repairs.items():
        metrics.events_mended.labels(kind).inc(number)


def export_counts(
    processors: Iterable[SegmentProcessor],
    sources: Iterable[ResolveProcessor | ControlProcessor],
    metrics: Metrics,
) -> None:
    """Add the counts of all processors to the metrics, and reset them."""
    for processor in processors:
        export_partition(processor.take_counts(), metrics)
        metrics.profiles_scanned.inc(processor.scans.take_visited())
    for source in sources:
        resolved, source.counts = source.counts, ResolveCounts()
        export_source(resolved, metrics)


class Gauges:
    """Gauges that are updated by ``export``."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._segments: set[str] = set()

    def export(self, processors: dict[int, SegmentProcessor]) -> None:
        """Export segment sizes, clocks, backfills and cached profiles of these partitions."""
        sizes: Counter[str] = Counter()
        for partition, processor in processors.items():
            sizes.update(processor.sizes)
            self._metrics.partition_clock.labels(str(partition)).set(processor.clock.now_ms / 1000)
            progress = processor.backfill.progress
            left = 0 if progress is None else progress.total - progress.read
            self._metrics.backfill_left.labels(str(partition)).set(left)
        for activity, number in _summed(each.population for each in processors.values()).items():
            self._metrics.profiles.labels(activity).set(number)
        self._metrics.profiles_cached.set(sum(processor.cached.profiles for processor in processors.values()))
        self._metrics.scans_pending.set(sum(processor.scans.pending for processor in processors.values()))
        self._export_sizes(sizes)

    def export_lag(self, behind: Mapping[tuple[str, int], int | None]) -> None:
        """Export the consumer lag of each partition, in records, where it is known."""
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


def _summed(populations: Iterable[PopulationFigures]) -> Counter[str]:
    sums = Counter(dict.fromkeys(ACTIVITIES, 0))
    for figures in populations:
        sums.update({activity: getattr(figures, activity) for activity in ACTIVITIES})
    return sums
