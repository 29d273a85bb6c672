"""Bringing the store of a partition up to date with its changelog.

Read in big batches straight into store writes, by *position*: it ends where the log ended when it
began, whether or not there is a record at the last offset (compaction and transaction markers leave
holes).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from segops.core.errors import StateError, StoreInUseError
from segops.stores.base import ProfileStore, StoreFactory
from segops.streaming.crash import CrashPoints
from segops.streaming.lane import CHANGELOG_META
from segops.streaming.raw import Fetched, fetch
from segops.streaming.restoring import Restoring, read_offset

log = logging.getLogger(__name__)

_QUIET_S: Final = 0.5
_CROWDED_S: Final = 0.05
_TELL_S: Final = 5.0


class Progress:
    """How far a recovery is, in records; says so every few seconds while it lasts."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.restored = 0
        self.left = 0
        self._now = now
        self._began = self._told = now()

    def begin(self) -> None:
        """The reading begins."""
        self._began = self._told = self._now()

    def tell(self) -> None:
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


def open_for(
    stores: StoreFactory, partition: int, *, log_end: int, discard: Callable[[int], None]
) -> ProfileStore:
    """The store of ``partition``, emptied when it is damaged or does not belong to this changelog.

    ``discard`` removes the files of a store that cannot even be opened. StateError when another
    process has it open.
    """
    try:
        store = stores.open(partition)
    except StoreInUseError:
        raise
    except StateError as error:
        log.warning("profile store %d is rebuilt from the changelog: %s", partition, error)
        discard(partition)
        store = stores.open(partition)
    try:
        applied = read_offset(store, CHANGELOG_META)
        if applied is None or applied < log_end:
            return store
        reason = f"it has changelog offset {applied}, but the log ends at {log_end}"
    except StateError as error:
        reason = str(error)
    return _start_over(store, stores, partition, reason)


def _start_over(store: ProfileStore, stores: StoreFactory, partition: int, reason: str) -> ProfileStore:
    log.warning("profile store %d is rebuilt from the changelog: %s", partition, reason)
    store.destroy()
    return stores.open(partition)


@dataclass(frozen=True)
class Disk:
    """The stores of a worker. ``discard`` removes the files of one that cannot even be opened."""

    stores: StoreFactory
    discard: Callable[[int], None]


class Recovery:
    """Restores the stores of some partitions with one consumer of its own, outside the group.

    ``restored`` is told how many records came back, batch by batch.
    """

    def __init__(
        self,
        topic: str,
        disk: Disk,
        consumer: Callable[..., AIOKafkaConsumer],
        *,
        crash: CrashPoints,
        restored: Callable[[int], None],
    ) -> None:
        self._topic = topic
        self._stores = disk.stores
        self._discard = disk.discard
        self._consumer = consumer
        self._crash = crash
        self._restored = restored
        self.progress = Progress()
        self._rebuilt: set[int] = set()
        self._restoring: dict[int, Restoring] = {}

    async def run(self, partitions: Sequence[int]) -> dict[int, ProfileStore]:
        """The stores of ``partitions``, up to date. What was opened is closed when this fails."""
        consumer = self._consumer()
        try:
            await consumer.start()
            await self._run(consumer, partitions)
        except BaseException:
            for restoring in self._restoring.values():
                restoring.store.close()
            raise
        finally:
            await consumer.stop()
        return {partition: restoring.store for partition, restoring in self._restoring.items()}

    async def _run(self, consumer: AIOKafkaConsumer, partitions: Sequence[int]) -> None:
        places = {TopicPartition(self._topic, partition): partition for partition in partitions}
        consumer.assign(list(places))
        ends = await self._ends(list(places))
        starts: dict[TopicPartition, int] = await consumer.beginning_offsets(list(places))
        for place, partition in places.items():
            store = open_for(self._stores, partition, log_end=ends[place], discard=self._discard)
            applied = read_offset(store, CHANGELOG_META)
            start = starts[place] if applied is None else max(applied + 1, starts[place])
            self._restoring[partition] = Restoring(store, expected=ends[place] - start)
            consumer.seek(place, start)
        await self._read(consumer, ends)

    async def _ends(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        # Of all records, those of an open transaction included. With exactly once there is none any more:
        # our producers have ended it. After a change of the mode one may be left, and at-least-once
        # records may be behind it: its end is waited for, which the broker sees to.
        consumer = self._consumer(isolation_level="read_uncommitted")
        try:
            await consumer.start()
            ends: dict[TopicPartition, int] = await consumer.end_offsets(places) if places else {}
        finally:
            await consumer.stop()
        return ends

    async def _read(self, consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> None:
        left = await self._left(consumer, ends)
        self.progress.begin()
        while left:
            for place, fetched in await fetch(consumer, _QUIET_S):
                if place not in left:
                    continue
                await self._room(place.partition)
                if not self._apply(place.partition, fetched):
                    consumer.seek(place, (await consumer.beginning_offsets([place]))[place])
                await asyncio.sleep(0)  # the next fetch arrives, the group hears of us
            done = left
            left = await self._left(consumer, ends)
            await self._finish(consumer, [place for place in done if place not in left])
            self.progress.tell()

    async def _finish(self, consumer: AIOKafkaConsumer, places: Sequence[TopicPartition]) -> None:
        consumer.pause(*places)
        for place in places:
            # What was loaded must be safe before the lane writes after it.
            await asyncio.to_thread(self._restoring[place.partition].store.flush)

    async def _room(self, partition: int) -> None:
        while self._restoring[partition].store.crowded:
            await asyncio.sleep(_CROWDED_S)

    def _apply(self, partition: int, fetched: Fetched) -> bool:
        restoring = self._restoring[partition]
        count, values = fetched.latest()
        try:
            restoring.apply(values, fetched.next_offset)
        except StateError as error:
            if partition in self._rebuilt:
                raise  # a store that was empty is not to blame
            self._rebuilt.add(partition)
            store = _start_over(restoring.store, self._stores, partition, str(error))
            self._restoring[partition] = Restoring(store, expected=fetched.next_offset)
            return False
        self.progress.restored += count
        self._restored(count)
        self._crash.passed("cp6")
        return True

    async def _left(
        self, consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]
    ) -> list[TopicPartition]:
        gaps = {place: end - await consumer.position(place) for place, end in ends.items()}
        self.progress.left = sum(gap for gap in gaps.values() if gap > 0)
        return [place for place, gap in gaps.items() if gap > 0]
