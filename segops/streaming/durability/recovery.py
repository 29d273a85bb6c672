"""Bringing the store of a partition up to date with its changelog.

Read in big batches straight into store writes, by *position*: it ends where the log ended when it
began, whether or not there is a record at the last offset (compaction and transaction markers leave
holes).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

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
_MAX_BUFFER_BYTES: Final = 16 << 20  # of one: the loop stands still while they are written

DAMAGED: Final = "damaged"
AHEAD: Final = "ahead"


class RecoveryProgress:
    """How far a recovery is, in records; says so every few seconds while it lasts."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.restored = 0
        self.left = 0
        self._now = now
        self._started_s = self._last_report_s = now()

    def begin(self) -> None:
        """The reading begins."""
        self._started_s = self._last_report_s = self._now()

    def report(self) -> None:
        """Log how far it is and how long it may still take, if that was not done lately."""
        now = self._now()
        if now - self._last_report_s >= _REPORT_S and self.left:
            self._last_report_s = now
            log.info("%s", self.line())

    def line(self) -> str:
        """One line for people. The rate is of offsets passed, whether or not they still hold a record."""
        rate = self.restored / max(self._now() - self._started_s, 1e-3)
        rest = f"about {self.left / rate:.0f} s to go" if rate else "no estimate yet"
        return f"recovery: {self.restored} records restored, {self.left} left, {rate:,.0f} a second, {rest}"


@dataclass(frozen=True)
class StoreManager:
    """The stores of a worker. ``discard`` removes the files of one that cannot even be opened.

    ``rebuilt`` is told why when a store starts over: damaged, or ahead of the log.
    """

    stores: StoreFactory
    discard: Callable[[int], None]
    rebuilt: Callable[[str], None] = lambda reason: None

    def open(self, partition: int, *, log_end: int) -> ProfileStore:
        """The store of ``partition``, emptied when it is damaged or does not belong to this changelog.

        StoreInUseError when another process has it open, StoreWriteError when the disk is full.
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
        text = f"it has changelog offset {applied}, but the log ends at {log_end}: was the topic recreated?"
        return self.start_over(store, partition, AHEAD, text)

    def start_over(self, store: ProfileStore, partition: int, reason: str, text: str) -> ProfileStore:
        """Empty the store."""
        self._report(partition, reason, text)
        store.destroy()
        return self.stores.open(partition)

    def _report(self, partition: int, reason: str, text: str) -> None:
        log.error("profile store %d is rebuilt from the changelog: %s", partition, text)
        self.rebuilt(reason)


class ChangelogReader:
    """The stores of some partitions and the changelog read into them, from where each store is.

    ``consumer`` is assigned here and stopped by whoever started it. ``bulk``: load what is far behind
    unlogged, and hold some of it back; ``finish`` must then follow.
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
        """The open stores."""
        return {partition: restorer.store for partition, restorer in self._restorers.items()}

    def close(self) -> None:
        """Close the stores."""
        for restorer in self._restorers.values():
            restorer.store.close()
        self._restorers.clear()

    async def open(self, partitions: Iterable[int], ends: Mapping[TopicPartition, int]) -> None:
        """Open the stores and go to where each goes on."""
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
            store, expected=expected, bulk=bulk, buffer_bytes=self._buffer_bytes if bulk else 0
        )

    async def apply(self, topic_partition: TopicPartition, fetched: Fetched) -> int:
        """Take what was fetched; how many records that were. A store at fault starts over, once."""
        restorer = self._restorers[topic_partition.partition]
        while restorer.store.needs_compaction:
            await asyncio.sleep(_COMPACTION_POLL_S)
        count, values = fetched.latest()
        took = await self._try(topic_partition, lambda: restorer.take(values, fetched.next_offset))
        return count if took else 0

    async def _try(self, topic_partition: TopicPartition, work: Callable[[], None]) -> bool:
        try:
            work()
        except StoreWriteError:
            raise
        except StateError as error:
            if topic_partition.partition in self._rebuilt:
                raise  # a store that was empty is not to blame
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
        """Write what was held back and make all safe, before anybody writes after it.

        False: the store was at fault and starts over, so there is more to read.
        """
        restorer = self._restorers[topic_partition.partition]
        settled = await self._try(topic_partition, restorer.settle)
        if settled:
            await asyncio.to_thread(restorer.finish)
        return settled


async def log_ends(
    make: Callable[..., AIOKafkaConsumer], topic_partitions: list[TopicPartition]
) -> dict[TopicPartition, int]:
    """Where the logs end, records of open transactions included.

    With exactly once there is none any more when partitions are recovered: our producers have ended it.
    After a change of the mode one may be left, and at-least-once records may be behind it: its end is
    waited for, which the broker sees to.
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
    """Restores the stores of some partitions with one consumer of its own, outside the group.

    ``restored`` is told how many records came back, batch by batch.
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
        """The stores of ``partitions``, up to date. What was opened is closed when this fails."""
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
                    await asyncio.sleep(0)  # the next fetch arrives, the group hears of us
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
