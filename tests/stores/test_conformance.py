"""The contract of every profile store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from segops.core.errors import StateError
from segops.stores.base import ProfileStore, StoreFactory, Write

FOREVER = 10**15


@pytest.fixture
def store(stores: StoreFactory) -> Iterator[ProfileStore]:
    opened = stores.open(0)
    yield opened
    opened.close()


def ids(store: ProfileStore) -> list[str]:
    return store.profile_ids(None, 1_000)


def test_new_store_is_empty(store: ProfileStore) -> None:
    assert store.get_many(["a", "b"]) == [None, None]
    assert store.get_many([]) == []
    assert store.due(FOREVER, 10) == []
    assert ids(store) == []
    assert store.meta("changelog_offset") is None


def test_states_are_returned_in_the_requested_order(store: ProfileStore) -> None:
    store.write([Write("a", b"1"), Write("b", b""), Write("c\u00e9\u4e2d", b"\0\xff")], {})
    assert store.get_many(["c\u00e9\u4e2d", "x", "b", "a", "a"]) == [b"\0\xff", None, b"", b"1", b"1"]


def test_last_write_of_a_profile_in_a_batch_wins(store: ProfileStore) -> None:
    store.write([Write("a", b"1", None, 5), Write("a", b"2", 5, 7)], {})
    assert store.get_many(["a"]) == [b"2"]
    assert store.due(FOREVER, 10) == [(7, "a")]


def test_removed_profile_leaves_nothing(store: ProfileStore) -> None:
    store.write([Write("a", b"1", None, 5), Write("b", b"1", None, 6)], {})
    store.write([Write("a", None, 5, None)], {})
    assert store.get_many(["a", "b"]) == [None, b"1"]
    assert store.due(FOREVER, 10) == [(6, "b")]
    assert ids(store) == ["b"]


def test_due_returns_earliest_first_within_time_and_limit(store: ProfileStore) -> None:
    times = [1_760_000_000_000, -1, 0, 5, -(10**12), 5, 300, 256, 255, 2**40]
    store.write([Write(f"p{n}", b"", None, at) for n, at in enumerate(times)], {})
    expected = sorted((at, f"p{n}") for n, at in enumerate(times))
    assert store.due(FOREVER, 100) == expected
    assert store.due(FOREVER, 3) == expected[:3]
    assert store.due(5, 100) == [row for row in expected if row[0] <= 5]
    assert store.due(4, 100) == [row for row in expected if row[0] <= 4]
    assert store.due(-(10**12) - 1, 100) == []
    assert store.due(FOREVER, 0) == []


def test_due_continues_after_a_row_and_forgets_none_before_it(store: ProfileStore) -> None:
    rows = [(5, "a"), (5, "aa"), (5, "b"), (9, "a")]
    store.write([Write(f"{name}{at}", b"", None, at) for at, name in rows], {})
    expected = sorted((at, f"{name}{at}") for at, name in rows)
    for number, row in enumerate(expected):
        assert store.due(FOREVER, 10, row) == expected[number + 1 :]
        assert store.due(FOREVER, 1, row) == expected[number + 1 : number + 2]
    assert store.due(5, 10, (9, "a9")) == []
    assert store.due(FOREVER, 10) == expected


def test_due_time_earlier_than_processed_ones_is_found(store: ProfileStore) -> None:
    store.write([Write("a", b"", None, 100)], {})
    assert store.due(1_000, 10) == [(100, "a")]
    store.write([Write("a", b"", 100, None)], {})
    assert store.due(1_000, 10) == []
    store.write([Write("late", b"", None, 50), Write("edge", b"", None, 1_000)], {})
    assert store.due(1_000, 10) == [(50, "late"), (1_000, "edge")]


def test_unchanged_due_time_is_kept(store: ProfileStore) -> None:
    store.write([Write("a", b"1", None, 100)], {})
    store.write([Write("a", b"2", 100, 100)], {})
    assert store.due(100, 10) == [(100, "a")]


def test_ids_are_scanned_in_slices_without_gaps_or_repeats(store: ProfileStore) -> None:
    names = ["", "a", "a\0", "a\0b", "ab", "b", "zz", "\u00e9", "\u4e2d", "\U0001f600"]
    store.write([Write(name, b"x", None, 1) for name in names], {"zeta": b"1"})
    seen: list[str] = []
    while part := store.profile_ids(seen[-1] if seen else None, 3):
        seen += part
    assert seen == sorted(names)


def test_meta_is_overwritten_and_separate_from_profiles(store: ProfileStore) -> None:
    store.write([Write("offset", b"state")], {"offset": b"1"})
    store.write([], {"offset": b"2", "": b"empty"})
    assert (store.meta("offset"), store.meta("")) == (b"2", b"empty")
    assert store.get_many(["offset"]) == [b"state"]


def test_batch_that_fails_while_being_built_changes_nothing(store: ProfileStore) -> None:
    def broken() -> Iterator[Write]:
        yield Write("a", b"1", None, 5)
        raise RuntimeError("the producer of writes failed")

    with pytest.raises(RuntimeError):
        store.write(broken(), {"offset": b"1"})
    assert store.get_many(["a"]) == [None]
    assert store.meta("offset") is None
    assert store.due(FOREVER, 10) == []


def test_reopened_store_has_all_data(stores: StoreFactory) -> None:
    for generation in range(3):
        store = stores.open(0)
        assert store.meta("n") == (str(generation - 1).encode() if generation else None)
        assert store.get_many(["a"]) == ([b"1"] if generation else [None])
        assert store.due(FOREVER, 10) == ([(-7, "a")] if generation else [])
        store.write([Write("a", b"1", -7 if generation else None, -7)], {"n": str(generation).encode()})
        store.close()


def test_closed_store_raises_and_close_is_idempotent(stores: StoreFactory) -> None:
    store = stores.open(0)
    store.close()
    store.close()
    with pytest.raises(StateError):
        store.get_many(["a"])
    with pytest.raises(StateError):
        store.write([Write("a", b"1")], {})
    with pytest.raises(StateError):
        store.profile_ids(None, 1)
    with pytest.raises(StateError):
        store.due(FOREVER, 1)


def test_store_is_opened_by_one_user_at_a_time(stores: StoreFactory) -> None:
    store = stores.open(0)
    with pytest.raises(StateError):
        stores.open(0)
    store.close()
    stores.open(0).close()


def test_partitions_are_isolated(stores: StoreFactory) -> None:
    first, second = stores.open(0), stores.open(1)
    first.write([Write("a", b"1", None, 1)], {"offset": b"1"})
    assert second.get_many(["a"]) == [None]
    assert second.due(FOREVER, 1) == []
    assert second.meta("offset") is None
    first.destroy()
    second.write([Write("b", b"2")], {})
    assert second.get_many(["b"]) == [b"2"]
    second.close()


def test_destroyed_store_starts_empty(stores: StoreFactory) -> None:
    store = stores.open(0)
    store.write([Write("a", b"1", None, 1)], {"offset": b"1"})
    store.destroy()
    again = stores.open(0)
    assert again.get_many(["a"]) == [None]
    assert again.due(FOREVER, 1) == []
    assert again.meta("offset") is None
    again.close()
