"""A store restored from the changelog has the states, due index and sizes of the latest records."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segops.core.errors import StoreInUseError
from segops.core.profile import Member, Profile
from segops.schemas.in_force import BASE_KEY, IN_FORCE_KEY
from segops.schemas.state import encode_profile
from segops.stores.base import ProfileStore, StoreFactory, Write
from segops.stores.memory import MemoryStores
from segops.stores.rocksdb import RocksDBStores
from segops.streaming.durability.recovery import AHEAD, RecoveryProgress, StoreManager
from segops.streaming.durability.restorer import StoreRestorer, read_offset
from segops.streaming.partition.metadata import sizes_of
from segops.streaming.partition.snapshot import BASE_META, CHANGELOG_META, EVALUATED_META, IN_FORCE_META
from segops.testing import FakeClock

IDS = st.sampled_from([f"user_id:u{number}" for number in range(6)])
PROFILES = st.builds(
    lambda id_, due_ms, keys: Profile(id_, due_ms=due_ms, members={key: Member(0, 1) for key in keys}),
    IDS,
    st.none() | st.integers(-(10**12), 10**15),
    st.sets(st.sampled_from(["buyers", "high-intent", "vip"])),
)
#: A changelog in batches: a profile, or the id of an erased one.
LOGS = st.lists(st.lists(PROFILES | IDS, max_size=6), max_size=6)


def batch_of(part: list[Profile | str]) -> dict[bytes, bytes | None]:
    values: dict[bytes, bytes | None] = {}
    for one in part:
        if isinstance(one, Profile):
            values[one.id.encode()] = encode_profile(one)
        else:
            values[one.encode()] = None
    return values


def assert_holds(store: ProfileStore, log: list[list[Profile | str]]) -> None:
    latest: dict[str, Profile | None] = {}
    for one in (one for part in log for one in part):
        latest[one.id if isinstance(one, Profile) else one] = one if isinstance(one, Profile) else None
    alive = {id_: profile for id_, profile in latest.items() if profile is not None}
    assert store.profile_ids(None, 100) == sorted(alive)
    assert store.get_many(list(alive)) == [encode_profile(profile) for profile in alive.values()]
    due = [(profile.due_ms, id_) for id_, profile in alive.items() if profile.due_ms is not None]
    assert store.due(10**16, 100) == sorted(due)
    sizes = Counter(key for profile in alive.values() for key in profile.members)
    assert +Counter(sizes_of(store)) == sizes


@settings(max_examples=100)
@given(LOGS, st.integers(0, 6), st.booleans())
def test_latest_state_of_each_profile_is_restored(
    log: list[list[Profile | str]], stop: int, bulk: bool
) -> None:
    stores = MemoryStores()
    store = stores.open(0)
    restorer = StoreRestorer(store, expected=10, bulk=bulk)
    for number, part in enumerate(log):
        if number == stop:  # a crash in between: the next restore finds a non-empty store
            store.close()
            store = stores.open(0)
            restorer = StoreRestorer(store, expected=10, bulk=bulk)
        restorer.apply(batch_of(part), 10 * (number + 1))
    assert_holds(store, log)
    assert read_offset(store, CHANGELOG_META) == (10 * len(log) - 1 if log else None)


def test_more_profiles_than_slots_are_distinguished(stores_on_disk: StoreFactory) -> None:
    store = stores_on_disk.open(0)
    restorer = StoreRestorer(store, expected=1, bulk=True)
    restorer._seen = bytearray(4)  # nearly every id collides with another's hash
    log: list[list[Profile | str]] = [
        [Profile(f"u{n}", due_ms=n + turn, members={"vip": Member(0, 1)}) for n in range(40)]
        for turn in range(3)
    ]
    for turn, part in enumerate(log):
        restorer.apply(batch_of(part), turn + 1)
    restorer.finish()
    assert_holds(store, log)
    store.close()


@pytest.mark.parametrize("bulk", [False, True])
def test_restored_definitions_trigger_a_rescan(bulk: bool) -> None:
    store = MemoryStores().open(0)
    store.write([], {EVALUATED_META: b"others"})
    restorer = StoreRestorer(store, expected=10, bulk=bulk)
    state = encode_profile(Profile("user_id:u1", members={"vip": Member(0, 1)}))
    restorer.apply({b"user_id:u1": state, IN_FORCE_KEY: b"1..."}, 2)
    restorer.apply({b"user_id:u1": state}, 3)
    assert store.profile_ids(None, 10) == ["user_id:u1"]
    assert store.meta(IN_FORCE_META) == b"1..."
    assert not store.meta(EVALUATED_META)
    assert read_offset(store, CHANGELOG_META) == 2


@pytest.fixture
def stores_on_disk(tmp_path: Path) -> StoreFactory:
    return RocksDBStores(tmp_path, block_cache_bytes=8 << 20, write_buffer_bytes=8 << 20)


def test_store_in_use_is_not_treated_as_damaged(stores_on_disk: StoreFactory) -> None:
    store = stores_on_disk.open(0)
    store.write([Write("a", b"1")], {})
    discarded: list[int] = []
    with pytest.raises(StoreInUseError):
        StoreManager(stores_on_disk, discarded.append).open(0, log_end=10)
    assert discarded == []
    assert store.get_many(["a"]) == [b"1"]
    store.close()


def test_store_ahead_of_the_changelog_is_emptied(stores_on_disk: StoreFactory) -> None:
    store = stores_on_disk.open(0)
    store.write([Write("a", b"1")], {CHANGELOG_META: b"10"})
    store.close()
    reasons: list[str] = []
    again = StoreManager(stores_on_disk, lambda _: None, reasons.append).open(0, log_end=10)
    assert again.get_many(["a"]) == [None]
    assert reasons == [AHEAD]
    again.close()


def test_unreadable_state_is_stored_unchanged_and_due_at_once(stores_on_disk: StoreFactory) -> None:
    store = stores_on_disk.open(0)
    unread = {b"a": b"\x09", b"b": b"", b"c": b"\x02\x00", "ü".encode(): b"\x02" + b"\xff" * 12}
    good = encode_profile(Profile("g"))
    StoreRestorer(store, expected=9).apply({**unread, b"g": good, b"\xff\xfe": good}, 1)
    assert store.get_many(["a", "b", "c", "ü", "g"]) == [*unread.values(), good]
    assert sorted(store.due(0, 9)) == [(0, "a"), (0, "b"), (0, "c"), (0, "ü")]
    assert store.profile_ids(None, 9) == ["a", "b", "c", "g", "ü"]
    StoreRestorer(store, expected=9).apply({b"a": good, b"b": None}, 2)
    assert store.due(0, 9) == [(0, "c"), (0, "ü")]
    store.close()


@pytest.mark.parametrize("value", [b"", b"x", b"-1", b"1.5", b"9" * 30, "٣".encode()])
def test_invalid_initial_sequence_is_ignored(stores_on_disk: StoreFactory, value: bytes) -> None:
    store = stores_on_disk.open(0)
    restorer = StoreRestorer(store, expected=1)
    restorer.apply({BASE_KEY: b"17"}, 1)
    restorer.apply({BASE_KEY: value}, 2)
    assert store.meta(BASE_META) == b"17"
    store.close()


def test_progress_reports_remaining_records_and_time(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    progress = RecoveryProgress(clock.seconds)
    progress.begin()
    clock.now_ms = 4_000
    progress.restored, progress.left = 400, 1_000
    with caplog.at_level("INFO", logger="segops"):
        progress.report()
        assert caplog.messages == []
        clock.now_ms = 5_000
        progress.report()
        progress.report()
    (line,) = caplog.messages
    assert "400 records restored, 1000 left, 80 a second, about 12 s to go" in line
