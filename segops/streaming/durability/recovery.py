"""Recovery: bring the store of a partition up to date with its changelog.

The changelog is read in large batches that become store writes. Reading ends by *position*: at the end
offset of the log when recovery started, whether or not there is a record at the last offset (compaction and
transaction markers leave gaps).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from segops.core.errors import StateError, StoreInUseError, StoreWriteError
from segops.kafka.batches import Fetched, fetch
from segops.stores.base import ProfileStore, StoreFactory
from segops.streaming.durability.restorer import StoreRestorer, read_offset
from segops.streaming.failpoints import Failpoints
from segops.streaming.partition.snapshot import CHANGELOG_META

log = logging.getLogger(__name__)

_QUIET_S: Final = 0.5
_COMPACTION_POLL_S: Final = 0.05
_REPORT_S: Final = 5.0
_BULK_RECORDS: Final = 10_000
_BUFFER_BYTES: Final = 64 << 20  # of all partitions that are restored
_MAX_BUFFER_BYTES: Final = 16 << 20  # of one: writing them blocks the event loop

DAMAGED: Final = "damaged"
AHEAD: Final = "ahead"


class RecoveryProgress:
    """The progress of a recovery in records, logged every few seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.restored = 0
        self.left = 0
        self._now = now
        self._started_s = self._last_report_s = now()

    def begin(self) -> None:
        """Start the clock of the rate."""
        self._started_s = self._last_report_s = self._now()

    def report(self) -> None:
        """Log progress and an estimate, if the last report is old enough."""
        now = self._now()
        if now - self._last_report_s >= _REPORT_S and self.left:
            self._last_report_s = now
            log.info("%s", self.line())

    def line(self) -> str:
        """Return the progress as one line. The rate counts offsets, including those without a record."""
        rate = self.restored / max(self._now() - self._started_s, 1e-3)
        rest = f"about {self.left / rate:.0f} s to go" if rate else "no estimate yet"
        return f"recovery: {self.restored} records restored, {self.left} left, {rate:,.0f} a second, {rest}"


@dataclass(frozen=True)
class StoreManager:
    """Opens the stores of a worker. ``discard`` removes the files of a store that cannot be opened.

    ``rebuilt`` is called with the reason when a store is emptied: ``DAMAGED``, or ``AHEAD`` of the log.
    ``native``: the kernel, if it runs.
    """

    stores: StoreFactory
    discard: Callable[[int], None]
    rebuilt: Callable[[str], None] = lambda reason: None
    native: Any = None

    def open(self, partition: int, *, log_end: int) -> ProfileStore:
        """Open the store of ``partition``, emptied if it is damaged or does not belong to this changelog.

        Raises StoreInUseError when another process has it open, StoreWriteError when the disk is full.
        """
        try:
            store = self.stores.open(partition)
        except (StoreInUseError, StoreWriteError):
            raise
        except StateError as error:
            self._report(partition, DAMAGED, str(error))
            self.discard(partition)
            store = self.stores.open(partition)
        try:
            applied = read_offset(store, CHANGELOG_META)
        except StateError as error:
            return self.start_over(store, partition, DAMAGED, str(error))
        if applied is None or applied < log_end:
            return store
        text = f"its changelog offset is {applied}, but the log ends at {log_end}: was the topic recreated?"
        return self.start_over(store, partition, AHEAD, text)

    def start_over(self, store: ProfileStore, partition: int, reason: str, text: str) -> ProfileStore:
        """Log the reason, empty the store and open it again."""
        self._report(partition, reason, text)
        store.destroy()
        return self.stores.open(partition)

    def _report(self, partition: int, reason: str, text: str) -> None:
        log.error("profile store %d is rebuilt from the changelog: %s", partition, text)
        self.rebuilt(reason)


class ChangelogReader:
    """Reads the changelog of some partitions into their stores, each from the offset of its store.

    The caller starts and stops ``consumer``; it is assigned here. ``bulk``: load stores that are far behind
    without a write-ahead log and through a buffer; ``finish`` must then follow.
    """

    def __init__(
        self, topic: str, store_manager: StoreManager, consumer: AIOKafkaConsumer, *, bulk: bool
    ) -> None:
        self._topic = topic
        self._store_manager = store_manager
        self._consumer = consumer
        self._bulk = bulk
        self._buffer_bytes = 0
        self._restorers: dict[int, StoreRestorer] = {}
        self._rebuilt: set[int] = set()

    @property
    def stores(self) -> dict[int, ProfileStore]:
        """The open stores by partition."""
        return {partition: restorer.store for partition, restorer in self._restorers.items()}

    def close(self) -> None:
        """Close all stores."""
        for restorer in self._restorers.values():
            restorer.store.close()
        self._restorers.clear()

    async def open(self, partitions: Iterable[int], ends: Mapping[TopicPartition, int]) -> None:
        """Open the stores and seek to the offset after each; ``ends`` are the logs' end offsets."""
        topic_partitions = {TopicPartition(self._topic, partition): partition for partition in partitions}
        self._buffer_bytes = min(_MAX_BUFFER_BYTES, _BUFFER_BYTES // max(1, len(topic_partitions)))
        self._consumer.assign(list(topic_partitions))
        starts: dict[TopicPartition, int] = await self._consumer.beginning_offsets(list(topic_partitions))
        for topic_partition, partition in topic_partitions.items():
            store = self._store_manager.open(partition, log_end=ends[topic_partition])
            self._restorers[partition] = self._new(store, 0)
            applied = read_offset(store, CHANGELOG_META)
            start = starts[topic_partition] if applied is None else max(applied + 1, starts[topic_partition])
            self._restorers[partition] = self._new(store, ends[topic_partition] - start)
            self._consumer.seek(topic_partition, start)

    def _new(self, store: ProfileStore, expected: int) -> StoreRestorer:
        bulk = self._bulk and expected >= _BULK_RECORDS
        return StoreRestorer(
            store,
            expected=expected,
            bulk=bulk,
            buffer_bytes=self._buffer_bytes if bulk else 0,
            native=self._store_manager.native,
        )

    async def apply(self, topic_partition: TopicPartition, fetched: Fetched) -> int:
        """Apply fetched records; return how many. A damaged store starts over, once."""
        restorer = self._restorers[topic_partition.partition]
        while restorer.store.needs_compaction:
            await asyncio.sleep(_COMPACTION_POLL_S)
        count, values = fetched.latest()
        applied = await self._try(topic_partition, lambda: restorer.take(values, fetched.next_offset))
        return count if applied else 0

    async def _try(self, topic_partition: TopicPartition, work: Callable[[], None]) -> bool:
        try:
            work()
        except StoreWriteError:
            raise
        except StateError as error:
            if topic_partition.partition in self._rebuilt:
                raise  # the store was just emptied: the error has another cause
            await self._start_over(topic_partition, error)
            return False
        return True

    async def _start_over(self, topic_partition: TopicPartition, error: StateError) -> None:
        partition = topic_partition.partition
        self._rebuilt.add(partition)
        store = self._restorers[partition].store
        fresh = self._store_manager.start_over(store, partition, DAMAGED, str(error))
        start = (await self._consumer.beginning_offsets([topic_partition]))[topic_partition]
        self._restorers[partition] = self._new(fresh, await self._consumer.position(topic_partition) - start)
        self._consumer.seek(topic_partition, start)

    async def finish(self, topic_partition: TopicPartition) -> bool:
        """Write the buffer and make all loaded records durable, before any other write.

        Return False if the store was damaged and starts over, so that there is more to read.
        """
        restorer = self._restorers[topic_partition.partition]
        settled = await self._try(topic_partition, restorer.settle)
        if settled:
            await asyncio.to_thread(restorer.finish)
        return settled


async def log_ends(
    make: Callable[..., AIOKafkaConsumer], topic_partitions: list[TopicPartition]
) -> dict[TopicPartition, int]:
    """Return the end offsets of the logs, including records of open transactions.

    With exactly-once processing no transaction is open when partitions are recovered: opening the producers
    has ended it. After a change of the processing mode one may be left, with at-least-once records after it:
    recovery then waits until the broker aborts it.
    """
    consumer = make(isolation_level="read_uncommitted")
    try:
        await consumer.start()
        ends: dict[TopicPartition, int] = (
            await consumer.end_offsets(topic_partitions) if topic_partitions else {}
        )
    finally:
        await consumer.stop()
    return ends


class Recovery:
    """Restores the stores of some partitions with a consumer of its own, outside the group.

    ``restored`` is called with the number of records of each batch.
    """

    def __init__(
        self,
        topic: str,
        store_manager: StoreManager,
        consumer: Callable[..., AIOKafkaConsumer],
        *,
        failpoints: Failpoints,
        restored: Callable[[int], None],
    ) -> None:
        self._topic = topic
        self._store_manager = store_manager
        self._consumer = consumer
        self._failpoints = failpoints
        self._restored = restored
        self.progress = RecoveryProgress()

    async def run(self, partitions: Sequence[int]) -> dict[int, ProfileStore]:
        """Return the restored stores of ``partitions``. On failure all stores are closed."""
        consumer = self._consumer()
        reader = ChangelogReader(self._topic, self._store_manager, consumer, bulk=True)
        try:
            await self._restore(consumer, reader, partitions)
        except BaseException:
            reader.close()
            raise
        return reader.stores

    async def _restore(
        self, consumer: AIOKafkaConsumer, reader: ChangelogReader, partitions: Sequence[int]
    ) -> None:
        try:
            await consumer.start()
            topic_partitions = [TopicPartition(self._topic, partition) for partition in partitions]
            ends = await log_ends(self._consumer, topic_partitions)
            await reader.open(partitions, ends)
            await self._read(consumer, reader, ends)
        finally:
            await consumer.stop()

    async def _read(
        self, consumer: AIOKafkaConsumer, reader: ChangelogReader, ends: Mapping[TopicPartition, int]
    ) -> None:
        left = await self._left(consumer, ends)
        self.progress.begin()
        while left:
            for topic_partition, fetched in await fetch(consumer, _QUIET_S):
                if topic_partition in left:
                    self._count(await reader.apply(topic_partition, fetched))
                    await asyncio.sleep(0)  # lets the next fetch arrive and the heartbeat run
            before, left = left, await self._left(consumer, ends)
            for topic_partition in set(before) - set(left):
                if await reader.finish(topic_partition):
                    consumer.pause(topic_partition)
                else:
                    left.append(topic_partition)
            self.progress.report()
        log.info("recovery: %d records restored", self.progress.restored)

    def _count(self, records: int) -> None:
        self.progress.restored += records
        self._restored(records)
        self._failpoints.passed("during_recovery")

    async def _left(
        self, consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]
    ) -> list[TopicPartition]:
        gaps = {
            topic_partition: end - await consumer.position(topic_partition)
            for topic_partition, end in ends.items()
        }
        self.progress.left = sum(gap for gap in gaps.values() if gap > 0)
        return [topic_partition for topic_partition, gap in gaps.items() if gap > 0]
