"""Bringing the store of a partition up to date with its changelog.

Read in big batches straight into store writes, by *position*: it ends where the log ended when it
began, whether or not there is a record at the last offset (compaction and transaction markers leave
holes).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from segops.core.errors import StateError
from segops.core.profile import Profile
from segops.schemas.state import decode_profile
from segops.stores.base import ProfileStore, StoreFactory, Write
from segops.streaming.crash import CrashPoints
from segops.streaming.lane import CHANGELOG_META, SIZES_META

log = logging.getLogger(__name__)

_BATCH = 2_000
_QUIET_MS = 50  # what is left may be marks of transactions, which are no records


class ChangelogRecord(Protocol):
    """The part of a changelog record that is read."""

    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


@dataclass
class Progress:
    """How far a recovery is, in records."""

    restored: int = 0
    left: int = 0


def restore(store: ProfileStore, records: Sequence[ChangelogRecord], next_offset: int) -> None:
    """Apply changelog records as one store write; the latest record of a key wins.

    ``next_offset`` is where to go on. Raises StateError on a state that cannot be read.
    """
    latest = {record.key.decode(): record.value for record in records if record.key is not None}
    sizes: Counter[str] = Counter(msgspec.json.decode(store.meta(SIZES_META) or b"{}", type=dict[str, int]))
    stored = store.get_many(list(latest))
    writes = [
        _write(profile_id, old, new, sizes)
        for (profile_id, new), old in zip(latest.items(), stored, strict=True)
    ]
    store.write(
        writes,
        {CHANGELOG_META: str(next_offset - 1).encode(), SIZES_META: msgspec.json.encode(+sizes)},
    )


def _write(profile_id: str, old: bytes | None, new: bytes | None, sizes: Counter[str]) -> Write:
    before = decode_profile(old) if old is not None else None
    after = decode_profile(new) if new is not None else None
    sizes.subtract(_members(before))
    sizes.update(_members(after))
    return Write(profile_id, new, before.due_ms if before else None, after.due_ms if after else None)


def _members(profile: Profile | None) -> list[str]:
    return list(profile.members) if profile is not None else []


def read_offset(store: ProfileStore, name: str) -> int | None:
    """An offset kept in the store's meta; None when there is none. StateError when unreadable."""
    data = store.meta(name)
    if data is None:
        return None
    if not data.isdigit():
        raise StateError(f"{name} in the profile store is no offset")
    return int(data)


def open_for(
    stores: StoreFactory, partition: int, *, log_end: int, discard: Callable[[int], None]
) -> ProfileStore:
    """The store of ``partition``, emptied when it is damaged or does not belong to this changelog.

    ``discard`` removes the files of a store that cannot even be opened. StateError when another
    process has it open.
    """
    try:
        store = stores.open(partition)
    except StateError as error:
        if "lock" in str(error).lower():
            raise
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

    async def run(self, partitions: Sequence[int]) -> dict[int, ProfileStore]:
        """The stores of ``partitions``, up to date. What was opened is closed when this fails."""
        stores: dict[int, ProfileStore] = {}
        consumer = self._consumer()
        try:
            await consumer.start()
            await self._run(consumer, partitions, stores)
        except BaseException:
            for store in stores.values():
                store.close()
            raise
        finally:
            await consumer.stop()
        return stores

    async def _run(
        self, consumer: AIOKafkaConsumer, partitions: Sequence[int], stores: dict[int, ProfileStore]
    ) -> None:
        places = {TopicPartition(self._topic, partition): partition for partition in partitions}
        consumer.assign(list(places))
        ends = await self._ends(list(places))
        starts: dict[TopicPartition, int] = await consumer.beginning_offsets(list(places))
        for place, partition in places.items():
            stores[partition] = self._open(partition, ends[place])
            applied = read_offset(stores[partition], CHANGELOG_META)
            consumer.seek(place, starts[place] if applied is None else max(applied + 1, starts[place]))
        await self._read(consumer, ends, stores)

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

    def _open(self, partition: int, log_end: int) -> ProfileStore:
        return open_for(self._stores, partition, log_end=log_end, discard=self._discard)

    async def _read(
        self, consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int], stores: dict[int, ProfileStore]
    ) -> None:
        left = await self._left(consumer, ends)
        while left:
            batches: dict[TopicPartition, list[Any]] = await consumer.getmany(
                *left, timeout_ms=_QUIET_MS, max_records=_BATCH
            )
            for place, records in batches.items():
                position = await consumer.position(place)
                if not self._apply(place.partition, records, position, stores):
                    consumer.seek(place, (await consumer.beginning_offsets([place]))[place])
            left = await self._left(consumer, ends)

    def _apply(
        self, partition: int, records: list[Any], position: int, stores: dict[int, ProfileStore]
    ) -> bool:
        try:
            restore(stores[partition], records, position)
        except StateError as error:
            if partition in self._rebuilt:
                raise  # a store that was empty is not to blame
            self._rebuilt.add(partition)
            stores[partition] = _start_over(stores[partition], self._stores, partition, str(error))
            return False
        self.progress.restored += len(records)
        self._restored(len(records))
        self._crash.passed("cp6")
        return True

    async def _left(
        self, consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]
    ) -> list[TopicPartition]:
        gaps = {place: end - await consumer.position(place) for place, end in ends.items()}
        self.progress.left = sum(gap for gap in gaps.values() if gap > 0)
        return [place for place, gap in gaps.items() if gap > 0]
