"""Orders from an archive are those that rules count: one customer, net of refunds, each order once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from segops.archive.storage import FolderStorage
from segops.archive.tables import ArchivedRecord
from segops.config import load
from segops.core.errors import UserError
from segops.fitting.archived import read_archive
from segops.fitting.histories import Order
from tests.archive.helpers import DAY_MS, START_MS, Archive, event, write

NOW_MS = START_MS + 1_000 * DAY_MS


def order(number: int, user: str, day: int, name: str = "Completed", **properties: Any) -> ArchivedRecord:
    at_ms = START_MS + day * DAY_MS
    return event(number, user, at_ms=at_ms, event=f"Order {name}", properties=properties)


def archived(folder: Path, *partitions: list[ArchivedRecord], currency: str | None = None) -> list[Order]:
    for number, records in enumerate(partitions):
        archive = Archive(FolderStorage(folder), partition=number)
        write(archive.owner(), records)
    return read_archive(folder, load(), now_ms=NOW_MS, currency=currency)


def on(day: int, user: str, amount: float) -> Order:
    return Order(f"user_id:{user}", START_MS + day * DAY_MS, amount)


def test_orders_are_net_and_count_once(tmp_path: Path) -> None:
    records = [
        order(0, "u1", 0, order_id="a", total=50),
        order(1, "u1", 1, order_id="a", total=50),
        order(2, "u1", 400, order_id="b", revenue=20),
        order(3, "u1", 401, "Refunded", order_id="b", total=5),
        order(4, "u1", 402, order_id="c", total=9),
        order(5, "u1", 403, "Cancelled", order_id="c"),
        event(6, "u1", event="Product Viewed"),
    ]
    assert archived(tmp_path, records) == [on(0, "u1", 50.0), on(400, "u1", 15.0)]


def test_customer_with_two_identifiers_is_one(tmp_path: Path) -> None:
    """The visitor ordered in another partition, before the event that says who it was."""
    visitor = {"event": "Order Completed", "anonymousId": "v1", "userId": None, "messageId": "v"}
    first = event(0, "x", at_ms=START_MS, properties={"total": 7}, **visitor)._replace(key=b"anonymous_id:v1")
    known = event(1, "u1", at_ms=START_MS + DAY_MS, type="identify", anonymousId="v1", event=None)
    found = archived(tmp_path, [order(0, "u1", 3, total=5)], [first, known._replace(offset=1)])
    assert [(each.amount, each.at_ms) for each in found] == [
        (7.0, START_MS),
        (5.0, START_MS + 3 * DAY_MS),
    ]
    assert len({each.customer for each in found}) == 1


def test_only_amounts_in_the_currency_count(tmp_path: Path) -> None:
    records = [order(0, "u1", 0, total=5, currency="EUR"), order(1, "u1", 9, total=7, currency="USD")]
    assert archived(tmp_path, records, currency="USD") == [on(9, "u1", 7.0)]


def test_folder_without_an_archive_or_an_order_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected an archive with the folder segops\.profile-events"):
        read_archive(tmp_path, load(), now_ms=NOW_MS)
    with pytest.raises(UserError, match="has no order"):
        archived(tmp_path, [event(0, "u1")])


@hypothesis_settings(max_examples=10)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 3), st.integers(1, 9)),
        min_size=1,
        max_size=12,
    )
)
def test_first_copy_of_each_order_counts_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, int, int]]
) -> None:
    records = [
        order(number, f"u{user}", day, order_id=f"{user}-{name}", total=amount)
        for number, (user, day, name, amount) in enumerate(rows)
    ]
    found = archived(tmp_path_factory.mktemp("archive"), records)
    first: dict[tuple[int, int], tuple[int, int]] = {}
    for user, day, name, amount in rows:
        known = first.get((user, name))
        if known is None or day < known[0]:
            first[user, name] = (day, amount)
    expected = sorted((f"user_id:u{user}", day) for (user, _), (day, _) in first.items())
    assert sorted((each.customer, (each.at_ms - START_MS) // DAY_MS) for each in found) == expected
    assert sum(each.amount or 0 for each in found) == sum(amount for _, amount in first.values())
