"""Look-up tables on Kafka: published with the rules, replaced, and read again after a restart."""

from __future__ import annotations

import asyncio
import json

import pytest

from segops.kafka.definitions import read
from segops.operations.columns import KEPT_MS, column_records
from tests.rest import rest

from .helpers import START_MS, Sent, Stack, wait_until

pytestmark = pytest.mark.broker

HOUR = 3_600_000
SEGMENTS = """
version: 1
lookups: {products: {file: products.csv, key: id}}
segments:
  - {key: shoes, when: {did: Buy, where: {"products[product_id].collection": Shoes}}}
  - {key: buyers, when: {did: Buy}}
"""


def buys(user: str, product: str, number: int) -> Sent:
    event = {"type": "track", "event": "Buy", "userId": user, "messageId": f"m{number}"}
    time = {"timestamp": f"2025-10-09T0{number}:00:00Z"}
    return Sent(0, json.dumps({**event, **time, "properties": {"product_id": product}}).encode())


def table(stack: Stack, rows: dict[str, str], name: str = "products.csv") -> str:
    path = stack.folder / name
    path.write_text("\n".join(["id,collection", *(f"{key},{value}" for key, value in rows.items())]))
    return str(path)


def members(stack: Stack) -> set[str]:
    """Return the members of the segment shoes, by the topic of memberships."""
    rows = {r.key.decode(): json.loads(r.value) for r in stack.read(stack.settings.topics.membership_state)}
    return {each["user_id"] for each in rows.values() if each["member"] and each["segment_key"] == "shoes"}


def wait_for(stack: Stack, expected: set[str]) -> None:
    wait_until(lambda: members(stack) == expected, f"members {expected}", stack.diagnosis)


def applied(stack: Stack, *arguments: str) -> str:
    done = stack.segops(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_changed_table_is_a_changed_rule_and_history_counts_again(stack: Stack, guarantee: str) -> None:
    stack.guarantee = guarantee
    table(stack, {"p1": "Shoes", "p2": "Socks"})
    stack.publish(SEGMENTS)
    file = str(stack.folder / "segments.yaml")
    stack.start()
    stack.send([buys("u1", "p1", 1), buys("u2", "p2", 2), buys("u3", "p9", 3)], final_ms=START_MS + HOUR)
    wait_for(stack, {"u1"})

    table(stack, {"p1": "Boots", "p2": "Shoes", "p9": "Shoes"})
    assert applied(stack, "estimate", file, "--segment", "shoes").startswith("shoes: ")
    shown = applied(stack, "plan", file)
    assert "shoes" in shown and "changed" in shown, shown
    assert members(stack) == {"u1"}
    shown = applied(stack, "apply", file, "--yes")
    assert "~ shoes  version 2  changed" in shown and "= buyers  version 1  unchanged" in shown
    wait_for(stack, {"u2", "u3"})

    stack.stop()
    stack.start()
    stack.send([buys("u4", "p9", 4), buys("u5", "p1", 5)], final_ms=START_MS + 2 * HOUR)
    wait_for(stack, {"u2", "u3", "u4"})

    other = table(stack, {"p1": "Shoes", "p2": "Shoes"}, "other.csv")
    assert "= shoes  version 2  unchanged" in applied(
        stack,
        "lookups",
        "put",
        "products",
        table(stack, {"p1": "Boots", "p2": "Shoes", "p9": "Shoes"}),
        "--key",
        "id",
        "--dry-run",
    )
    shown = applied(stack, "lookups", "put", "products", other, "--key", "id", "--yes")
    assert "~ shoes  version 3  changed" in shown
    wait_for(stack, {"u1", "u2", "u5"})
    assert "products  collection" in applied(stack, "lookups", "list")
    assert '{"key":"p1","collection":"Shoes"}' in applied(stack, "lookups", "show", "products", "p1", "p9")


@rest
def test_kill_while_history_is_counted_for_a_changed_table(stack: Stack, guarantee: str) -> None:
    stack.guarantee = guarantee
    table(stack, {"p1": "Shoes"})
    stack.publish(SEGMENTS)
    worker = stack.start(crash_at="during_backfill:1")
    stack.send([buys("u1", "p1", 1), buys("u2", "p2", 2)], final_ms=START_MS + HOUR)
    wait_for(stack, {"u1"})
    table(stack, {"p2": "Shoes"})
    applied(stack, "apply", str(stack.folder / "segments.yaml"), "--yes")
    assert worker.wait(60) == 137
    stack.start()
    wait_for(stack, {"u2"})


@rest
def test_columns_that_nothing_reads_are_removed_after_a_week(stack: Stack) -> None:
    table(stack, {"p1": "Shoes"})
    stack.publish(SEGMENTS)
    table(stack, {"p1": "Boots"})
    stack.publish(SEGMENTS)
    log = asyncio.run(read(stack.settings))
    former, current = sorted(log.lookups.heads.values(), key=lambda head: head.unused_ms is None)
    assert former.unused_ms is not None and current.unused_ms is None
    before, after = column_records(log, [], None, former.unused_ms + KEPT_MS)
    assert (before, [key for key, value in after if value is None]) == ([], former.keys)
    assert column_records(log, [], None, former.unused_ms + KEPT_MS - 1) == ([], [])
