"""Follows the compacted topics from their beginning, and knows as of when all of them are read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from segops.config import Settings
from segops.core.errors import SegopsError
from segops.kafka.batches import Fetched, current, fetch
from segops.kafka.clients import running_consumer
from segops.kafka.topics import partition_counts
from segops.serve.metrics import ServeMetrics
from segops.serve.view import Records, View
from segops.wall_clock import wall_ms

log = logging.getLogger(__name__)

#: How long a broker waits for records before it says that there are none.
_WAIT_MS: Final = 250
#: How often it is looked whether a broker has answered that there are none.
_LOOK_S: Final = 0.1
#: Records taken over at once: no request waits for more of them.
_SLICE: Final = 250
#: Half of the time for which compaction keeps the records that say what was deleted.
_TOMBSTONES_MS: Final = 12 * 3_600_000
_OPTIONS: Final = {
    "fetch_max_wait_ms": _WAIT_MS,
    "auto_offset_reset": "none",
    "max_partition_fetch_bytes": 1 << 20,
}


class LostRecords(SegopsError):
    """Records may be missing: what was read so far must be read again from the beginning."""


class Follower:
    """Keeps a view up to date; the positions outlive a session, since the view does.

    ``as_of_ms``: when Kafka last said that all there was is read; None before the first time.
    """

    def __init__(self, settings: Settings, view: View, metrics: ServeMetrics) -> None:
        topics = settings.topics
        self._settings = settings
        self._metrics = metrics
        self._take: Mapping[str, Callable[[Records], None]] = {
            topics.membership_state: view.take_memberships,
            topics.indicators: view.take_indicators,
            settings.worker.changelog: view.take_profiles,
        }
        self._positions: dict[TopicPartition, int] = {}
        self._partitions: frozenset[TopicPartition] = frozenset()
        self._current_ms: dict[TopicPartition, int] = {}
        self.as_of_ms: int | None = None

    async def follow(self, connected: Callable[[], None]) -> None:
        """Read until cancelled. Raises LostRecords, and what an outage raises."""
        counts = await partition_counts(self._settings.kafka, [*self._take])
        partitions = [TopicPartition(name, n) for name, count in counts.items() for n in range(count)]
        self._partitions = frozenset(partitions)
        async with running_consumer(self._settings.kafka, **_OPTIONS) as consumer:
            consumer.assign(partitions)
            await self._seek(consumer, partitions)
            connected()
            while True:
                try:
                    found = await fetch(consumer, _LOOK_S)
                except OffsetOutOfRangeError as error:
                    raise LostRecords(f"{error}") from error
                await self._take_over(found, await current(consumer, partitions))

    async def _seek(self, consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]) -> None:
        begins = await consumer.beginning_offsets([*partitions])
        ends = await consumer.end_offsets([*partitions])
        for each in partitions:
            at = self._positions.get(each, begins[each])
            if not begins[each] <= at <= ends[each]:
                raise LostRecords(f"{each.topic}:{each.partition} was created again or shortened")
            consumer.seek(each, at)

    async def _take_over(
        self, found: Iterable[tuple[TopicPartition, Fetched]], current_ms: Mapping[TopicPartition, int]
    ) -> None:
        for partition, fetched in found:
            take = self._take[partition.topic]
            for records in fetched.slices(_SLICE):
                take({record.key: record.value for record in records if record.key is not None})
                self._metrics.records.labels(partition.topic).inc(len(records))
                await asyncio.sleep(0)
            self._positions[partition] = fetched.next_offset
        self._current_ms |= current_ms
        if self._current_ms.keys() >= self._partitions:
            self.as_of_ms = min(self._current_ms.values())
        if self.as_of_ms is not None and wall_ms() - self.as_of_ms > _TOMBSTONES_MS:
            raise LostRecords("Kafka was away for so long that deletions may have been forgotten")
