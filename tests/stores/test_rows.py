"""Rows of past events beside the profiles of a store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from segops.stores.base import ProfileStore, RowWrite, StoreFactory, Write


@pytest.fixture
def store(stores: StoreFactory) -> Iterator[ProfileStore]:
    opened = stores.open(0)
    yield opened
    opened.close()


def owners(store: ProfileStore) -> set[str]:
    found: set[str] = set()
    after = None
    while some := store.row_owners(after, 2):
        found.update(some)
        after = some[-1]
    return found


def test_rows_are_read_by_owner_in_the_order_of_their_names(store: ProfileStore) -> None:
    store.write([], {}, [RowWrite("b", b"2", b"x"), RowWrite("b", b"1", b"y"), RowWrite("bb", b"", b"z")])
    assert store.rows("b") == [(b"1", b"y"), (b"2", b"x")]
    assert store.rows("bb") == [(b"", b"z")]
    assert store.rows("a") == store.rows("bbb") == []


def test_row_with_a_known_name_replaces_the_former_one(store: ProfileStore) -> None:
    store.write([], {}, [RowWrite("a", b"1", b"x")])
    store.write([], {}, [RowWrite("a", b"1", b"y")])
    assert store.rows("a") == [(b"1", b"y")]


@pytest.mark.parametrize("ids", [["a", "b", "c", "aa", "\u4e2d\u00e9", "\0", "\x7f" * 300, "z" * 255]])
def test_owners_of_rows_are_found_in_slices(store: ProfileStore, ids: list[str]) -> None:
    store.write([], {}, [RowWrite(each, bytes([255] * n), b"") for each in ids for n in range(3)])
    assert owners(store) == set(ids)
    assert [len(store.rows(each)) for each in ids] == [3] * len(ids)


def test_single_row_is_removed(store: ProfileStore) -> None:
    store.write([], {}, [RowWrite("a", b"1", b"x"), RowWrite("a", b"2", b"y")])
    store.write([], {}, [RowWrite("a", b"1"), RowWrite("b", b"1")])
    assert store.rows("a") == [(b"2", b"y")] and store.rows("b") == []
    store.write([], {}, [RowWrite("a", b"2")])
    assert owners(store) == set()


def test_cleared_rows_leave_profiles_and_values(store: ProfileStore) -> None:
    store.write([Write("a", b"s", None, 5)], {"name": b"1"}, [RowWrite("a", b"1", b"x")])
    store.clear_rows({"other": b"2"})
    assert owners(store) == set() and store.rows("a") == []
    assert store.get_many(["a"]) == [b"s"] and store.due(9, 9) == [(5, "a")]
    assert (store.meta("name"), store.meta("other")) == (b"1", b"2")


def test_rows_survive_reopening(stores: StoreFactory) -> None:
    store = stores.open(0)
    store.write([], {}, [RowWrite("a", b"1", b"x")])
    store.close()
    again = stores.open(0)
    assert again.rows("a") == [(b"1", b"x")]
    again.close()
