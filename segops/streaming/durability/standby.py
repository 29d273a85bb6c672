"""Standby stores: current replicas of other workers' partitions, so that fail-over need not restore them.

A standby reads the changelog with a consumer of its own, outside the group, once a second; when it is far
behind, it rests four times as long as it worked. It never stops the worker: it logs an error and retries
later.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from segops.kafka.batches import fetch
from segops.metrics import Metrics
from segops.streaming.durability.recovery import ChangelogReader, StoreManager, log_ends

log = logging.getLogger(__name__)

_REST_S: Final = 1.0
_REST_FACTOR: Final = 4  # of the time it worked
_BEHIND: Final = 10_000
_RETRY_S: Final = 30.0


class Standbys:
    """Follows the changelog of the partitions last passed to ``follow``; calls must not overlap."""

    def __init__(
        self,
        topic: str,
        store_manager: StoreManager,
        consumer: Callable[..., AIOKafkaConsumer],
        metrics: Metrics,
    ) -> None:
        self._topic = topic
        self._store_manager = store_manager
        self._consumer = consumer
        self._metrics = metrics
        self._task: asyncio.Task[None] | None = None

    def follow(self, partitions: Collection[int]) -> None:
        """Start to follow these partitions. Call ``stop`` first."""
        if partitions:
            log.info("standby for %d profile partitions", len(partitions))
            self._task = asyncio.create_task(self._follow(sorted(partitions)))

    async def stop(self) -> None:
        """Stop following and close all stores."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _follow(self, partitions: list[int]) -> None:
        while True:
            try:
                await self._run(partitions)
            except Exception as error:
                log.error("standby failed, retrying in %.0f s: %s: %s", _RETRY_S, type(error).__name__, error)
            finally:
                for partition in partitions:
                    self._metrics.forget_standby(partition)
            await asyncio.sleep(_RETRY_S)

    async def _run(self, partitions: list[int]) -> None:
        consumer = self._consumer()
        reader = ChangelogReader(self._topic, self._store_manager, consumer, bulk=False)
        try:
            await consumer.start()
            topic_partitions = [TopicPartition(self._topic, partition) for partition in partitions]
            await reader.open(partitions, await log_ends(self._consumer, topic_partitions))
            while True:
                await self._poll(consumer, reader)
        finally:
            reader.close()
            await consumer.stop()

    async def _poll(self, consumer: AIOKafkaConsumer, reader: ChangelogReader) -> None:
        began = time.monotonic()
        for topic_partition, fetched in await fetch(consumer, 0):
            self._metrics.standby_records.inc(await reader.apply(topic_partition, fetched))
            await asyncio.sleep(0)
        behind = await self._export(consumer)
        worked_s = time.monotonic() - began
        await asyncio.sleep(
            _REST_FACTOR * worked_s if behind > _BEHIND else max(_REST_S, _REST_FACTOR * worked_s)
        )

    async def _export(self, consumer: AIOKafkaConsumer) -> int:
        total = 0
        for topic_partition in consumer.assignment():
            end = consumer.highwater(topic_partition)
            if end is not None:
                behind = max(0, end - await consumer.position(topic_partition))
                self._metrics.standby_lag.labels(str(topic_partition.partition)).set(behind)
                total += behind
        return total
