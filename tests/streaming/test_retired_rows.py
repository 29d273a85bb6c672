"""Rows of retired segments in the state topic: deleted after all members have exited."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from segops.operations import definitions
from tests.rest import rest

from .helpers import DAY_MS, START_MS, Stack, expected_changes, shop_events, wait_until
from .test_origin import log_text

pytestmark = pytest.mark.broker

FINAL_MS = START_MS + DAY_MS
TWO = """
version: 1
segments:
  - {key: kept, when: {did: Product Viewed}}
  - {key: gone, when: {did: Product Viewed, count: {gte: 2}, within: 6h}}
"""


@pytest.fixture
def stack(stack: Stack, guarantee: str) -> Stack:
    stack.guarantee = guarantee
    stack.environment = {"SEGOPS_SESSION_TIMEOUT": "6s"}
    stack.publish(TWO)
    return stack


def row_counts(stack: Stack) -> Counter[str]:
    """Return the number of rows of each segment in the state topic, members or not."""
    latest: dict[bytes, Any] = {r.key: r.value for r in stack.read(stack.settings.topics.membership_state)}
    return Counter(key.decode().rpartition("|")[2] for key, value in latest.items() if value is not None)


def run_both(stack: Stack) -> None:
    sent = shop_events(400, users=60, partitions=3, seed=3)
    stack.start()
    stack.send(sent, final_ms=FINAL_MS)
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))
    assert row_counts(stack).keys() == {"kept", "gone"}


def retire(stack: Stack) -> None:
    (change,) = asyncio.run(definitions.retire(stack.settings, ["gone"]))
    assert change.action == "retired"


def is_deleted(stack: Stack) -> bool:
    return row_counts(stack).keys() == {"kept"}


def test_rows_of_members_and_former_members_are_deleted(stack: Stack) -> None:
    run_both(stack)
    kept, changes = row_counts(stack)["kept"], stack.changes()
    assert {c["member"] for c in changes.values() if c["segment_key"] == "gone"} == {True, False}
    retire(stack)
    wait_until(lambda: is_deleted(stack), "rows deleted", stack.diagnosis)
    assert row_counts(stack)["kept"] == kept
    latest = {c["profile_id"]: c for c in stack.changes().values() if c["segment_key"] == "gone"}
    assert not any(change["member"] for change in latest.values())
    assert len(stack.changes()) > len(changes)


@rest
def test_deletion_is_resumed_after_a_kill(stack: Stack) -> None:
    run_both(stack)
    stack.stop()
    retire(stack)
    assert stack.start(crash_at="during_row_deletion:2").wait(60) == 137, log_text(stack)
    stack.start()
    wait_until(lambda: is_deleted(stack), "rows deleted", stack.diagnosis)
