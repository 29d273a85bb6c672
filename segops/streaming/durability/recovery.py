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
_CROWDED_S: Final = 0.05
_TELL_S: Final = 5.0
_BULK_RECORDS: Final = 10_000
_HELD_BYTES: Final = 64 << 20  # of all partitions that are restored
_MOST_HELD_BYTES: Final = 16 << 20  # of one: the loop stands still while they are written

DAMAGED: Final = "damaged"
AHEAD: Final = "ahead"


class RecoveryProgress:
    """How far a recovery is, in records; says so every few seconds while it lasts."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.restored = 0
        self.left = 0
        self._now = now
        self._began = self._told = now()

    def begin(self) -> None:
        """The reading begins."""
        self._began = self._told = self._now()

    def report(self) -> None:
        """Log how far it is and how long it may still take, if that was not done lately."""
        now = self._now()
        if now - self._told >= _TELL_S and self.left:
            self._told = now
            log.info("%s", self.line())

    def line(self) -> str:
        """One line for people. The rate is of offsets passed, whether or not they still hold a record."""
        rate = self.restored / max(self._now() - self._began, 1e-3)
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
            self._say(partition, DAMAGED, str(error))
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
        self._say(partition, reason, text)
        store.destroy()
        return self.stores.open(partition)

    def _say(self, partition: int, reason: str, text: str) -> None:
        log.error("profile store %d is rebuilt from the changelog: %s", partition, text)
        self.rebuilt(reason)


class ChangelogReader:
    """The stores of some partitions and the changelog read into them, from where each store is.

    ``consumer`` is assigned here and stopped by whoever started it. ``bulk``: load what is far behind
    unlogged, and hold some of it back; ``finish`` must then follow.
    """

    def __init__(self, topic: str, disk: StoreManager, consumer: AIOKafkaConsumer, *, bulk: bool) -> None:
        self._topic = topic
        self._disk = disk
        self._consumer = consumer
        self._bulk = bulk
        self._hold_bytes = 0
        self._restoring: dict[int, StoreRestorer] = {}
        self._rebuilt: set[int] = set()

    @property
    def stores(self) -> dict[int, ProfileStore]:
        """The open stores."""
        return {partition: restoring.store for partition, restoring in self._restoring.items()}

    def close(self) -> None:
        """Close the stores."""
        for restoring in self._restoring.values():
            restoring.store.close()
        self._restoring.clear()

    async def open(self, partitions: Iterable[int], ends: Mapping[TopicPartition, int]) -> None:
        """Open the stores and go to where each goes on."""
        places = {TopicPartition(self._topic, partition): partition for partition in partitions}
        self._hold_bytes = min(_MOST_HELD_BYTES, _HELD_BYTES // max(1, len(places)))
        self._consumer.assign(list(places))
        starts: dict[TopicPartition, int] = await self._consumer.beginning_offsets(list(places))
        for place, partition in places.items():
            store = self._disk.open(partition, log_end=ends[place])
            self._restoring[partition] = self._new(store, 0)
            applied = read_offset(store, CHANGELOG_META)
            start = starts[place] if applied is None else max(applied + 1, starts[place])
            self._restoring[partition] = self._new(store, ends[place] - start)
            self._consumer.seek(place, start)

    def _new(self, store: ProfileStore, expected: int) -> StoreRestorer:
        bulk = self._bulk and expected >= _BULK_RECORDS
        return StoreRestorer(store, expected=expected, bulk=bulk, hold_bytes=self._hold_bytes if bulk else 0)

    async def apply(self, place: TopicPartition, fetched: Fetched) -> int:
        """Take what was fetched; how many records that were. A store at fault starts over, once."""
        restoring = self._restoring[place.partition]
        while restoring.store.needs_compaction:
            await asyncio.sleep(_CROWDED_S)
        count, values = fetched.latest()
        took = await self._went_well(place, lambda: restoring.take(values, fetched.next_offset))
        return count if took else 0

    async def _went_well(self, place: TopicPartition, work: Callable[[], None]) -> bool:
        try:
            work()
        except StoreWriteError:
            raise
        except StateError as error:
            if place.partition in self._rebuilt:
                raise  # a store that was empty is not to blame
            await self._start_over(place, error)
            return False
        return True

    async def _start_over(self, place: TopicPartition, error: StateError) -> None:
        partition = place.partition
        self._rebuilt.add(partition)
        store = self._restoring[partition].store
        fresh = self._disk.start_over(store, partition, DAMAGED, str(error))
        start = (await self._consumer.beginning_offsets([place]))[place]
        self._restoring[partition] = self._new(fresh, await self._consumer.position(place) - start)
        self._consumer.seek(place, start)

    async def finish(self, place: TopicPartition) -> bool:
        """Write what was held back and make all safe, before anybody writes after it.

        False: the store was at fault and starts over, so there is more to read.
        """
        restoring = self._restoring[place.partition]
        settled = await self._went_well(place, restoring.settle)
        if settled:
            await asyncio.to_thread(restoring.finish)
        return settled


async def log_ends(
    make: Callable[..., AIOKafkaConsumer], places: list[TopicPartition]
) -> dict[TopicPartition, int]:
    """Where the logs end, records of open transactions included.

    With exactly once there is none any more when partitions are recovered: our producers have ended it.
    After a change of the mode one may be left, and at-least-once records may be behind it: its end is
    waited for, which the broker sees to.
    """
    consumer = make(isolation_level="read_uncommitted")
    try:
        await consumer.start()
        ends: dict[TopicPartition, int] = await consumer.end_offsets(places) if places else {}
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
        disk: StoreManager,
        consumer: Callable[..., AIOKafkaConsumer],
        *,
        crash: Failpoints,
        restored: Callable[[int], None],
    ) -> None:
        self._topic = topic
        self._disk = disk
        self._consumer = consumer
        self._crash = crash
        self._restored = restored
        self.progress = RecoveryProgress()

    async def run(self, partitions: Sequence[int]) -> dict[int, ProfileStore]:
        """The stores of ``partitions``, up to date. What was opened is closed when this fails."""
        consumer = self._consumer()
        tail = ChangelogReader(self._topic, self._disk, consumer, bulk=True)
        try:
            await self._restore(consumer, tail, partitions)
        except BaseException:
            tail.close()
            raise
        return tail.stores

    async def _restore(
        self, consumer: AIOKafkaConsumer, tail: ChangelogReader, partitions: Sequence[int]
    ) -> None:
        try:
            await consumer.start()
            places = [TopicPartition(self._topic, partition) for partition in partitions]
            ends = await log_ends(self._consumer, places)
            await tail.open(partitions, ends)
            await self._read(consumer, tail, ends)
        finally:
            await consumer.stop()

    async def _read(
        self, consumer: AIOKafkaConsumer, tail: ChangelogReader, ends: Mapping[TopicPartition, int]
    ) -> None:
        left = await self._left(consumer, ends)
        self.progress.begin()
        while left:
            for place, fetched in await fetch(consumer, _QUIET_S):
                if place in left:
                    self._count(await tail.apply(place, fetched))
                    await asyncio.sleep(0)  # the next fetch arrives, the group hears of us
            before, left = left, await self._left(consumer, ends)
            for place in set(before) - set(left):
                if await tail.finish(place):
                    consumer.pause(place)
                else:
                    left.append(place)
            self.progress.report()
        log.info("recovery: %d records restored", self.progress.restored)

    def _count(self, records: int) -> None:
        self.progress.restored += records
        self._restored(records)
        self._crash.passed("during_recovery")

    async def _left(
        self, consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]
    ) -> list[TopicPartition]:
        gaps = {place: end - await consumer.position(place) for place, end in ends.items()}
        self.progress.left = sum(gap for gap in gaps.values() if gap > 0)
        return [place for place, gap in gaps.items() if gap > 0]
