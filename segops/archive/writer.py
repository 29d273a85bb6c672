"""The archive process: reads the topics in a consumer group, and keeps the files of its partitions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import suppress
from itertools import chain
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata

from segops.archive.erasures import ErasureReader
from segops.archive.ledger import Superseded
from segops.archive.partition import ArchivePartition
from segops.archive.storage import Storage
from segops.archive.tables import Table
from segops.archive.upkeep import compact, erase
from segops.config import ArchiveSettings
from segops.metrics import Metrics

log = logging.getLogger(__name__)

_POLL_MS: Final = 500
_POLL_RECORDS: Final = 5_000


class ArchiveWriter:
    """The partitions of the archive that this process owns, and the consumers that feed them.

    Everything that concerns a partition happens under one lock: collecting, writing, upkeep, rebalances.
    The storage is used in threads, so that the group hears from this process meanwhile.
    """

    def __init__(
        self,
        settings: ArchiveSettings,
        consumer: AIOKafkaConsumer,
        erasures: ErasureReader,
        *,
        storage: Storage,
        tables: dict[str, Table],
        metrics: Metrics,
        passed: Callable[[str], None],
    ) -> None:
        self.partitions: dict[TopicPartition, ArchivePartition] = {}
        self.lock = asyncio.Lock()
        self._settings = settings
        self._consumer = consumer
        self._erasures = erasures
        self._storage = storage
        self._tables = tables
        self._metrics = metrics
        self._passed = passed

    async def own(self, sources: Iterable[TopicPartition]) -> None:
        """Claim partitions that are assigned to the consumer, and seek where their archive goes on."""
        for source in sorted(sources):
            partition = ArchivePartition(
                self._storage,
                self._tables[source.topic],
                source.partition,
                erasures=self._erasures.erasures,
                metrics=self._metrics,
                passed=self._passed,
            )
            await asyncio.to_thread(partition.open)
            await self._seek(source, partition)
            self.partitions[source] = partition

    def hold(self, sources: Collection[TopicPartition]) -> None:
        """Keep the client from reading partitions from their committed offsets, until they are claimed."""
        self._consumer.pause(*sources)
        for source in sources:
            self._consumer.seek(source, 0)

    async def _seek(self, source: TopicPartition, partition: ArchivePartition) -> None:
        first = (await self._consumer.beginning_offsets([source]))[source]
        end = (await self._consumer.end_offsets([source]))[source]
        self._consumer.seek(source, partition.begin(first, end))
        self._consumer.resume(source)

    async def disown(self, sources: Iterable[TopicPartition]) -> None:
        """Write what is collected of these partitions, and give them up."""
        for source in sorted(sources):
            partition = self.partitions.pop(source, None)
            if partition is not None:
                self._metrics.forget_archived(source.topic, source.partition)
                with suppress(Superseded):  # then the next owner reads the records again
                    await self._write(source, partition)

    async def poll(self, timeout_ms: int = _POLL_MS) -> bool:
        """Collect the next records, and write what is large or old enough; return whether there were any."""
        try:
            found = await self._consumer.getmany(timeout_ms=timeout_ms, max_records=_POLL_RECORDS)
        except OffsetOutOfRangeError as error:
            return await self._skip_deleted(error.args[0])
        async with self.lock:
            for source, records in found.items():
                partition = self.partitions.get(source)
                if partition is not None:  # else it was given up meanwhile
                    partition.add(records)
            await self.write_due()
        self._export_lag()
        return bool(found)

    async def _skip_deleted(self, sources: Collection[TopicPartition]) -> bool:
        """Go on after records that were deleted before they could be read."""
        async with self.lock:
            for source in sources:
                partition = self.partitions.get(source)
                if partition is not None:
                    await self._write_owned(source, partition)
                    await self._seek(source, partition)
        return True

    async def write_due(self, *, everything: bool = False) -> None:
        """Write partitions with enough records or old ones, and the largest while all are too large."""
        settings = self._settings
        for source, partition in list(self.partitions.items()):
            large = partition.size >= settings.file_bytes
            if everything or large or partition.age_s() * 1000 >= settings.file_interval_ms:
                await self._write_owned(source, partition)
        while self.partitions and sum(p.size for p in self.partitions.values()) >= settings.buffer_bytes:
            source, largest = max(self.partitions.items(), key=lambda pair: pair[1].size)
            await self._write_owned(source, largest)

    async def _write_owned(self, source: TopicPartition, partition: ArchivePartition) -> None:
        try:
            await self._write(source, partition)
        except Superseded as error:
            await self._lost(source, partition, error)

    async def _write(self, source: TopicPartition, partition: ArchivePartition) -> None:
        await self._erasures.read()  # a record that precedes an erasure must not be written after it
        offset = await asyncio.to_thread(partition.write)
        if offset is not None:
            await self._commit(source, offset)

    async def _commit(self, source: TopicPartition, offset: int) -> None:
        """Commit an offset, for monitoring: the archive goes on from its manifests."""
        try:
            await self._consumer.commit({source: OffsetAndMetadata(offset, "")})
        except (KafkaError, ValueError) as error:  # a rebalance has begun
            log.info("offset of %s:%d not committed: %s", *source, error)
        self._passed("archive_after_offset_commit")

    async def _lost(self, source: TopicPartition, partition: ArchivePartition, error: Superseded) -> None:
        """Discard what is collected; claim the partition again if it is still assigned to this process."""
        self._metrics.archive_superseded.inc()
        log.warning("%s", error)
        if self.partitions.get(source) is partition:
            del self.partitions[source]
            if source in self._consumer.assignment():
                await self.own([source])

    async def upkeep(self, *, full: bool = False, ended: Callable[[], bool] = bool) -> None:
        """Carry out erasures and merge small files, until ``ended``; records are written between two steps.

        ``full``: merge all files that can be merged.
        """
        await self._erasures.read()
        for source, partition in list(self.partitions.items()):
            steps = chain(erase(partition), compact(partition, self._settings.compact_bytes, full=full))
            try:
                while not ended() and await self._step(source, partition, steps):
                    pass
            except Superseded as error:
                async with self.lock:
                    await self._lost(source, partition, error)

    async def _step(self, source: TopicPartition, partition: ArchivePartition, steps: Iterator[None]) -> bool:
        async with self.lock:
            if self.partitions.get(source) is not partition:
                return False
            return await asyncio.to_thread(_advance, steps)

    def _export_lag(self) -> None:
        for source in self.partitions:
            mark = self._consumer.highwater(source)
            if mark is not None:
                position = self.partitions[source].position
                self._metrics.archive_lag.labels(source.topic, str(source.partition)).set(mark - position)


def _advance(steps: Iterator[Any]) -> bool:
    """Take one step; return whether there was one."""
    return next(steps, steps) is not steps


class Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Gives partitions up before the group takes them away, and claims those that it assigns."""

    def __init__(self, writer: ArchiveWriter, failure: asyncio.Future[None]) -> None:
        self._writer = writer
        self._failure = failure

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Write what is collected."""
        async with self._writer.lock:
            await self._guarded(self._writer.disown(revoked))

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Claim the partitions."""
        self._writer.hold(assigned)
        async with self._writer.lock:
            await self._guarded(self._writer.own(assigned))

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:  # the client would only log it
            if not self._failure.done():
                self._failure.set_exception(error)
