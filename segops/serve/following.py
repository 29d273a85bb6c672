"""Follows the compacted topics from their beginning, and knows as of when all of them are read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from segops.config import Settings
from segops.kafka import following
from segops.kafka.batches import Fetched
from segops.kafka.clients import running_consumer
from segops.kafka.topics import partition_counts
from segops.serve.metrics import ServeMetrics
from segops.serve.view import Records, View

#: Records taken over at once: no request waits for more of them.
_SLICE: Final = 250


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
        async with running_consumer(self._settings.kafka, **following.OPTIONS) as consumer:
            consumer.assign(partitions)
            await self._seek(consumer, partitions)
            connected()
            while True:
                await self._take_over(*await following.read(consumer, partitions))

    async def _seek(self, consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]) -> None:
        begins = await consumer.beginning_offsets([*partitions])
        ends = await consumer.end_offsets([*partitions])
        positions = {each: self._positions.get(each, begins[each]) for each in partitions}
        following.seek(consumer, positions, begins, ends)

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
        following.check_age(self.as_of_ms)
