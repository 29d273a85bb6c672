"""The changelog reader buffers the latest state of each profile while a store is restored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from segops.core.errors import StateError
from segops.core.profile import Profile
from segops.kafka.batches import Fetched
from segops.schemas.in_force import IN_FORCE_KEY
from segops.schemas.state import encode_profile
from segops.stores.base import ProfileStore, Row
from segops.stores.memory import MemoryStores
from segops.streaming.durability import recovery
from segops.streaming.durability.recovery import ChangelogReader, Recovery, StoreManager
from segops.streaming.durability.restorer import StoreRestorer, read_offset
from segops.streaming.failpoints import Failpoints
from segops.streaming.partition.snapshot import CHANGELOG_META, IN_FORCE_META

from .test_restorer import LOGS, assert_holds, batch_of

PARTITION = TopicPartition("changelog", 0)
#: Enough fetches for a bulk restore.
EMPTY: list[dict[bytes, bytes | None]] = [{}] * 10_000
ALL_BYTES = 1 << 30


def state(number: int) -> bytes:
    return encode_profile(Profile("a", due_ms=number))


class Spied:
    """An in-memory store that records each write batch."""

    def __init__(self) -> None:
        self.store = MemoryStores().open(0)
        self.written: list[dict[bytes, bytes | None]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def load(self, rows: list[Row], meta: Mapping[str, bytes]) -> None:
        self.written.append({key: state for key, state, _, _ in rows})
        self.store.load(rows, meta)


class Failing(MemoryStores):
    """In-memory stores whose first writes fail, as those on a damaged disk do."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def open(self, partition: int) -> ProfileStore:
        store: Any = super().open(partition)
        store.load, store.write = self._failing(store.load), self._failing(store.write)
        return cast("ProfileStore", store)

    def _failing(self, work: Callable[..., None]) -> Callable[..., None]:
        def attempt(*args: Any) -> None:
            if self.times:
                self.times -= 1
                raise StateError("block checksum mismatch")
            work(*args)

        return attempt


class Changelog:
    """A consumer of a changelog with ``fetches`` of ten offsets each, and one fetch from it."""

    def __init__(self, fetches: list[dict[bytes, bytes | None]]) -> None:
        self.fetches = fetches
        self.at = 0
        self.paused: list[TopicPartition] = []

    def __getattr__(self, _name: str) -> Any:
        async def nothing() -> None: ...

        return nothing

    def assign(self, partitions: list[TopicPartition]) -> None: ...

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.at = offset

    def pause(self, partition: TopicPartition) -> None:
        self.paused.append(partition)

    async def position(self, partition: TopicPartition) -> int:
        return self.at

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 10 * len(self.fetches))

    def next(self) -> Fetched:
        values = self.fetches[self.at // 10]
        self.at += 10
        fetched = object.__new__(Fetched)
        fetched.next_offset = self.at
        fetched.latest = lambda: (10, dict(values))  # type: ignore[method-assign]
        return fetched


def reader_of(stores: MemoryStores, log: Changelog, *, bulk: bool = True) -> ChangelogReader:
    store_manager = StoreManager(stores, discard=lambda _: None)
    return ChangelogReader("changelog", store_manager, cast("AIOKafkaConsumer", log), bulk=bulk)


@settings(max_examples=100)
@given(LOGS, st.integers(0, 2_000))
def test_latest_state_wins_for_any_buffer_size(log: list[list[Profile | str]], buffer_bytes: int) -> None:
    store = MemoryStores().open(0)
    restorer = StoreRestorer(store, expected=10, bulk=True, buffer_bytes=buffer_bytes)
    for number, part in enumerate(log):
        restorer.take(batch_of(part), 10 * (number + 1))
    restorer.settle()
    restorer.finish()
    assert_holds(store, log)
    assert read_offset(store, CHANGELOG_META) == (10 * len(log) - 1 if log else None)


def test_a_profile_logged_many_times_is_written_once() -> None:
    store = Spied()
    restorer = StoreRestorer(cast("ProfileStore", store), expected=10, bulk=True, buffer_bytes=ALL_BYTES)
    for number in range(7):
        restorer.take({b"b": state(number), b"a": state(number)}, 10 * (number + 1))
    restorer.settle()
    assert store.written == [{b"a": state(6), b"b": state(6)}]
    assert list(store.written[0]) == [b"a", b"b"]  # in order


def test_buffered_definitions_are_not_restored_as_a_profile() -> None:
    store = MemoryStores().open(0)
    restorer = StoreRestorer(store, expected=10, bulk=True, buffer_bytes=ALL_BYTES)
    restorer.take({IN_FORCE_KEY: b"1", b"a": state(1)}, 10)
    restorer.take({IN_FORCE_KEY: b"2"}, 20)
    restorer.settle()
    assert (store.meta(IN_FORCE_META), store.profile_ids(None, 9)) == (b"2", ["a"])


def test_stored_offset_never_passes_the_written_states() -> None:
    store = MemoryStores().open(0)
    restorer = StoreRestorer(store, expected=10, bulk=True, buffer_bytes=3_100)
    for number in range(55):
        restorer.take({b"%03d" % number: state(number)}, number + 1)
        offset = read_offset(store, CHANGELOG_META)
        assert len(store.profile_ids(None, 100)) == (0 if offset is None else offset + 1)
    assert 0 < len(store.profile_ids(None, 100)) < 55


def test_buffer_stays_below_its_limit() -> None:
    store = Spied()
    restorer = StoreRestorer(cast("ProfileStore", store), expected=10, bulk=True, buffer_bytes=100_000)
    large = state(1) + bytes(10_000)
    for number in range(100):
        restorer.take({b"%d" % (number % 3): large}, number + 1)
    assert store.written == []  # three profiles of 10 kB, repeatedly
    for number in range(100):
        restorer.take({b"%d" % number: large, b"gone-%d" % number: None}, number + 101)
    sizes = [sum(len(value or b"") for value in part.values()) for part in store.written]
    assert len(sizes) >= 9
    assert max(sizes) <= 100_000 + len(large)


def test_standby_writes_without_buffering() -> None:
    async def scenario() -> None:
        log = Changelog([{b"a": state(1)}, *EMPTY])
        reader = reader_of(MemoryStores(), log, bulk=False)
        await reader.open([0], await log.end_offsets([PARTITION]))
        assert await reader.apply(PARTITION, log.next()) == 10
        assert reader.stores[0].due(9, 9) == [(1, "a")]
        assert read_offset(reader.stores[0], CHANGELOG_META) == 9
        reader.close()

    asyncio.run(scenario())


def test_failed_store_restarts_with_an_empty_buffer() -> None:
    async def scenario() -> None:
        log = Changelog([{b"a": state(1)}, {b"b": state(2)}, *EMPTY])
        reader = reader_of(Failing(1), log)
        await reader.open([0], await log.end_offsets([PARTITION]))
        await reader.apply(PARTITION, log.next())
        await reader.apply(PARTITION, log.next())
        assert reader.stores[0].profile_ids(None, 9) == []
        assert not await reader.finish(PARTITION)
        assert log.at == 0
        log.fetches[:2] = [{b"c": state(3)}, {}]
        await reader.apply(PARTITION, log.next())
        assert await reader.finish(PARTITION)
        assert reader.stores[0].profile_ids(None, 9) == ["c"]
        assert read_offset(reader.stores[0], CHANGELOG_META) == 9
        reader.close()

    asyncio.run(scenario())


def test_unreadable_changelog_is_reported_after_one_restart() -> None:
    async def scenario() -> None:
        log = Changelog([{b"b": state(1)}, *EMPTY])
        reader = reader_of(Failing(2), log)
        await reader.open([0], await log.end_offsets([PARTITION]))
        await reader.apply(PARTITION, log.next())
        assert not await reader.finish(PARTITION)
        with pytest.raises(StateError, match="block checksum mismatch"):
            await reader.apply(PARTITION, log.next())
            await reader.finish(PARTITION)
        reader.close()

    asyncio.run(scenario())


def test_failure_of_the_last_write_restarts_the_recovery(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Changelog([{b"a": state(number)} for number in range(2_000)])
    monkeypatch.setattr(recovery, "_BULK_RECORDS", 1_000)
    stores = Failing(1)
    reasons: list[str] = []

    async def fetch(consumer: Changelog, timeout_s: float) -> list[tuple[TopicPartition, Fetched]]:
        return [(PARTITION, consumer.next())]

    monkeypatch.setattr(recovery, "fetch", fetch)

    async def scenario() -> None:
        whole = Recovery(
            "changelog",
            StoreManager(stores, lambda _: None, reasons.append),
            cast("Any", lambda **_: log),
            failpoints=Failpoints(),
            restored=lambda _: None,
        )
        store = (await whole.run([0]))[0]
        assert store.due(10**6, 9) == [(1_999, "a")]
        assert read_offset(store, CHANGELOG_META) == 19_999
        store.close()

    asyncio.run(scenario())
    assert reasons == [recovery.DAMAGED]
    assert log.paused == [PARTITION]
