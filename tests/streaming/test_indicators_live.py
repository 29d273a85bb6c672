"""Indicators of a running system: their topic has what a replay computes, through kills and withdrawals."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec
import pytest

from segops.core.segments import Definition, SegmentSet
from segops.kafka import topics
from segops.operations import definitions
from segops.replay import Replay
from segops.schemas.indicators import encode_value, value_key
from segops.schemas.segments import load_checked
from tests.rest import in_rest, rest

from .conftest import require_transactions
from .helpers import DAY_MS, START_MS, Sent, Stack, shop_events, wait_until

pytestmark = pytest.mark.broker

FINAL_MS = START_MS + 2 * DAY_MS
INDICATORS = """
version: 1
indicators:
  spent: {sum: total, of: Order Completed, within: 6h}
  mean: {avg: total, of: Order Completed, within: 3h, change_by: 10}
  views: {did: Product Viewed, within: 2h, at_most: 1, per: 3h}
  idle: {days_since_last: Order Completed}
  rate: {ratio: {of: {did: Order Completed}, to: {did: Product Viewed}}, change_by: 0.05, at_most: 1, per: 1h}
"""
LATER = """
version: 1
indicators:
  orders: {did: Order Completed, within: 30d}
"""
#: Key of a value and the record, None for a tombstone.
Row = tuple[bytes, bytes | None]


def apply(stack: Stack, text: str, *, prune: bool = False) -> list[Definition]:
    file = stack.folder / "indicators.yaml"
    file.write_text(text)
    found = load_checked([file]).all_definitions
    asyncio.run(topics.create(stack.settings))
    asyncio.run(definitions.publish(stack.settings, found, prune=prune))
    return found


def replayed(sent: Iterable[Sent], defined: list[Definition]) -> list[Row]:
    replay = Replay(SegmentSet(defined), wall_ms=FINAL_MS)
    for number, each in enumerate(sent):
        assert list(replay.feed(each.value, default_id=str(number))) == []
    assert list(replay.advance(FINAL_MS)) == []
    values = replay.take_values()
    return [(value_key(each.profile_id, each.indicator), encode_value(each)) for each in values]


def rows_of(stack: Stack) -> list[Row]:
    return [(record.key, record.value) for record in stack.read(stack.settings.topics.indicators)]


def by_key(rows: Iterable[Row]) -> dict[bytes, list[bytes | None]]:
    """Return the records of each key, in their order."""
    ordered = sorted(rows, key=itemgetter(0))
    return {key: [value for _, value in found] for key, found in groupby(ordered, key=itemgetter(0))}


def latest(stack: Stack, indicator: str) -> dict[str, Any]:
    """Return the latest value of an indicator per profile, without missing ones."""
    found = {key.decode().rpartition("|"): value[-1] for key, value in by_key(rows_of(stack)).items()}
    return {
        profile: msgspec.json.decode(value)["value"]
        for (profile, _, name), value in found.items()
        if name == indicator and value is not None
    }


@pytest.mark.parametrize(
    ("guarantee", "point"),
    [
        ("exactly_once", "after_changelog_ack:2"),
        in_rest("exactly_once", "after_output_ack:3"),
        in_rest("exactly_once", "after_store_write:1"),
        in_rest("at_least_once", "after_changelog_ack:2"),
        in_rest("at_least_once", "after_output_ack:3"),
        in_rest("at_least_once", "after_store_write:1"),
    ],
)
def test_topic_has_what_a_replay_computes_through_a_kill(
    stack: Stack, guarantee: str, point: str, request: pytest.FixtureRequest
) -> None:
    if guarantee == "exactly_once":
        require_transactions(request.getfixturevalue("broker"))
    stack.guarantee = guarantee
    defined = apply(stack, INDICATORS)
    sent = shop_events(1_500, users=40, partitions=3, seed=5)
    expected = replayed(sent, defined)
    stack.send(sent, final_ms=FINAL_MS)
    assert stack.start(crash_at=point).wait(60) == 137
    stack.start()
    want = by_key(expected)
    wait_until(lambda: last(by_key(rows_of(stack))) == last(want), "the last values", stack.diagnosis)
    found = by_key(rows_of(stack))
    if guarantee == "exactly_once":
        differ = {
            key: (brief(found[key]), brief(values)) for key, values in want.items() if found[key] != values
        }
        assert differ == {}, differ
        assert found.keys() == want.keys()
    else:  # what was published and not committed is published again, the same
        assert {key: set(values) for key, values in found.items()} == {
            key: set(values) for key, values in want.items()
        }


def brief(values: list[bytes | None]) -> list[Any]:
    """Return what matters of the records of one key, for the message of a failure."""
    records = (None if value is None else msgspec.json.decode(value) for value in values)
    return [None if each is None else (each["value"], each["occurred_at"]) for each in records]


def last(rows: dict[bytes, list[bytes | None]]) -> dict[bytes, tuple[int, bytes | None]]:
    """Return how many different records each key has, and the last one."""
    return {key: (len(set(values)), values[-1]) for key, values in rows.items()}


@rest
@pytest.mark.parametrize("guarantee", ["at_least_once", "exactly_once"])
def test_new_one_is_filled_and_a_retired_one_and_an_erased_person_are_withdrawn(
    stack: Stack, guarantee: str, request: pytest.FixtureRequest
) -> None:
    if guarantee == "exactly_once":
        require_transactions(request.getfixturevalue("broker"))
    stack.guarantee = guarantee
    defined = apply(stack, INDICATORS)
    sent = shop_events(600, users=20, partitions=3, seed=6)
    stack.start()
    stack.send(sent, final_ms=FINAL_MS)
    want = by_key(replayed(sent, defined))
    wait_until(lambda: last(by_key(rows_of(stack))) == last(want), "the last values", stack.diagnosis)
    orders = orders_of(sent)
    apply(stack, LATER)
    wait_until(lambda: latest(stack, "orders") == orders, "the new indicator", stack.diagnosis)
    filled = [value for key, value in rows_of(stack) if key.endswith(b"|orders")]
    assert len(filled) == len(orders)
    assert {msgspec.json.decode(value or b"")["reason"] for value in filled} == {"backfill"}
    shown = stack.segops("profile", "user_id:u1", "--url", f"http://127.0.0.1:{stack.port()}")
    assert f"orders (number of Order Completed within 30d): {orders['user_id:u1']}, published" in shown.output
    asyncio.run(definitions.retire(stack.settings, ["indicator:idle"]))
    wait_until(lambda: latest(stack, "idle") == {}, "the retired indicator", stack.diagnosis)
    assert latest(stack, "orders") == orders
    assert stack.segops("erase", "--profile", "user_id:u1").exit_code == 0
    wait_until(lambda: "user_id:u1" not in latest(stack, "orders"), "the erasure", stack.diagnosis)
    assert [key for key, values in by_key(rows_of(stack)).items() if b"u1|" in key and values[-1]] == []


def orders_of(sent: Iterable[Sent]) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in sent:
        event = msgspec.json.decode(each.value)
        key = f"user_id:{event['userId']}"
        found[key] = found.get(key, 0) + (event["event"] == "Order Completed")
    return found
