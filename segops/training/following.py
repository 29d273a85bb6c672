"""A session of the trainer: from its snapshot on, along the profile events, to the end of the connection."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from segops.config import Settings
from segops.schemas.identifying import limits_of
from segops.training.making import Making
from segops.training.merging import Merger
from segops.training.metrics import TrainingMetrics
from segops.training.records import Read, read
from segops.training.snapshot import read_snapshot, restore, snapshot_of, write_snapshot
from segops.wall_clock import wall_ms

log = logging.getLogger(__name__)

SNAPSHOT: Final = "snapshot"
_POLL_MS: Final = 500
_POLL_RECORDS: Final = 1_000
_LAG_INTERVAL_S: Final = 5.0
#: Models are made while fewer records are unread: before, what followed the latest decisions is not known.
_CAUGHT_UP: Final = 1_000


class Follower:
    """Reads all partitions into one observer, in order of time."""

    def __init__(
        self,
        settings: Settings,
        making: Making,
        metrics: TrainingMetrics,
        consumer: AIOKafkaConsumer,
        *,
        passed: Callable[[str], None],
    ) -> None:
        self.observer = making.observer(settings.train, limits_of(settings), wall_ms=wall_ms())
        self._settings = settings
        self._metrics = metrics
        self._consumer = consumer
        self._passed = passed
        self._path: Path = settings.train.folder / SNAPSHOT
        self._of = making.mark(settings.topics.profile_events)
        self._limits = limits_of(settings)
        self._offsets: dict[int, int] = {}
        self._partitions: dict[int, TopicPartition] = {}
        self._written: tuple[dict[int, int], int] | None = None
        self._counted: dict[str, int] = {}
        self._made_ms = 0
        self._made_of: dict[int, int] = {}
        self._lag = _CAUGHT_UP

    async def begin(self, partitions: int) -> None:
        """Go to the positions of the snapshot; without one, to the first records."""
        topic = self._settings.topics.profile_events
        self._partitions = {number: TopicPartition(topic, number) for number in range(partitions)}
        found = read_snapshot(self._path, self._of)
        if found is not None:
            restore(self.observer, found)
            self._made_ms = found.made_ms
            log.info("going on from the snapshot %s", self._path)
        self._counted = self._counts()
        self._consumer.assign(list(self._partitions.values()))
        first = await self._consumer.beginning_offsets(list(self._partitions.values()))
        for number, each in self._partitions.items():
            offset = max(first[each], 0 if found is None else found.offsets.get(number, 0))
            self._consumer.seek(each, offset)
            self._offsets[number] = offset
        self._written = dict(self._offsets), self._made_ms

    async def follow(self, stop: asyncio.Event, make: Callable[[], Awaitable[None]]) -> None:
        """Apply records until ``stop``; at their intervals, call ``make`` and write snapshots."""
        train, merger = self._settings.train, Merger[Read](self._partitions)
        snapshot_s = lag_s = time.monotonic()
        while not stop.is_set():
            ended = await self._fetch(merger)
            for number, each in enumerate(merger.ready(ended), 1):
                self._apply(each)
                if number % _POLL_RECORDS == 0:
                    await asyncio.sleep(0)
            self._export()
            now_s = time.monotonic()
            if now_s >= lag_s:
                await self._export_lag()
                lag_s = now_s + _LAG_INTERVAL_S
            if self._is_due(train.interval_ms):
                await make()
                self._made_ms, self._made_of = wall_ms(), dict(self._offsets)
                await self._write()
            if now_s >= snapshot_s + train.snapshot_interval_ms / 1000:
                await self._write()
                snapshot_s = time.monotonic()
        await self._write()

    def _is_due(self, interval_ms: int) -> bool:
        """Return whether models are to be made: there is something new, and what followed it is read, too."""
        is_new = self._made_of != self._offsets
        return is_new and self._lag < _CAUGHT_UP and wall_ms() >= self._made_ms + interval_ms

    async def _fetch(self, merger: Merger[Read]) -> set[int]:
        """Read more of the partitions of which nothing waits; return those that are read to their ends."""
        wanted = [self._partitions[number] for number in merger.empty]
        try:
            found = await self._consumer.getmany(*wanted, timeout_ms=_POLL_MS, max_records=_POLL_RECORDS)
        except OffsetOutOfRangeError as error:
            await self._skip_deleted(error)
            return set()
        keys = self.observer.inputs.segments.context_keys
        for each, records in found.items():
            merger.add(
                each.partition, list(read(each.partition, records, limits=self._limits, context_keys=keys))
            )
        quiet = set(wanted) - found.keys()
        return {each.partition for each in quiet if not found or await self._at_end(each)}

    async def _at_end(self, partition: TopicPartition) -> bool:
        """Return whether all that is known to be written is read; a poll that found nothing says so, too."""
        end = self._consumer.last_stable_offset(partition)
        return end is not None and await self._consumer.position(partition) >= end

    async def _skip_deleted(self, error: OffsetOutOfRangeError) -> None:
        partitions = list(error.args[0])
        for each, offset in (await self._consumer.beginning_offsets(partitions)).items():
            log.error("%s:%d: records before %d were deleted unread", *each, offset)
            self._consumer.seek(each, offset)

    def _apply(self, each: Read) -> None:
        observer = self.observer
        if each.profile is not None and each.event is not None:
            observer.event(each.profile, each.event)
        elif each.profile is not None:
            observer.erase(each.profile)
        elif each.rejected:
            self._metrics.events.labels("rejected").inc()
        self._offsets[each.partition] = each.offset + 1

    async def _write(self) -> None:
        """Write the snapshot if anything was read since the last one; commit its positions, for monitors."""
        if self._written == (self._offsets, self._made_ms):
            return
        oldest_ms = self.observer.clock_ms - self._settings.train.history_ms
        for of in self.observer.decisions:
            of.expire(oldest_ms)
        snapshot = snapshot_of(self.observer, self._of, self._offsets, self._made_ms)
        self._passed("train_before_snapshot")
        await asyncio.to_thread(write_snapshot, self._path, snapshot)
        self._passed("train_after_snapshot")
        self._written = dict(self._offsets), self._made_ms
        await self._consumer.commit(
            {self._partitions[number]: offset for number, offset in self._offsets.items()}
        )

    # -- metrics ---------------------------------------------------------------------------------------------

    def _counts(self) -> dict[str, int]:
        counts, dropped = self.observer.counts, sum(of.dropped for of in self.observer.decisions)
        return {**{name: counts[name] for name in _EVENTS}, "profile": counts["profile"], "decision": dropped}

    def _export(self) -> None:
        metrics, observer, found = self._metrics, self.observer, self._counts()
        for name in _EVENTS:
            metrics.events.labels(name).inc(found[name] - self._counted[name])
        for name in _DROPPED:
            metrics.dropped.labels(name).inc(found[name] - self._counted[name])
        self._counted = found
        metrics.profiles.set(len(observer.replay.profiles))
        for of in observer.decisions:
            metrics.decisions.labels(of.task.name, "pending").set(len(of.pending))
            metrics.decisions.labels(of.task.name, "known").set(len(of.known))
        for name, worth in observer.days:
            metrics.calibration_error.labels(name).set(worth.ece)
            if worth.auc is not None:
                metrics.auc.labels(name).set(worth.auc)
            if worth.lift:
                metrics.lift.labels(name).set(worth.lift[0])
        observer.days.clear()

    async def _export_lag(self) -> None:
        """Export how many records are not read; raises an error while Kafka is away, unlike a poll."""
        ends = await self._consumer.end_offsets(list(self._partitions.values()))
        lags = {each.partition: end - self._offsets[each.partition] for each, end in ends.items()}
        for partition, lag in lags.items():
            self._metrics.lag.labels(str(partition)).set(lag)
        self._lag = sum(lags.values())


_EVENTS: Final = ("applied", "duplicate", "skipped")
_DROPPED: Final = ("profile", "decision")
