"""The control topic: separate from events, ordered after earlier events, applied despite crashes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from segops.schemas.erasures import ERASE, hashed
from segops.schemas.records import partition_of
from segops.schemas.ticks import TYPE_HEADER
from tests.rest import in_rest

from .helpers import DAY_MS, START_MS, Sent, Stack, expected_changes, shop_events, wait_until
from .test_erasure import command, receipts

pytestmark = pytest.mark.broker

FINAL_MS = START_MS + 2 * DAY_MS


def views(user: str, count: int, partitions: int = 3) -> list[Sent]:
    """Return events of one user, in the partition of that user's requests."""
    home = partition_of(f"user_id:{user}".encode(), partitions)
    form = {"type": "track", "event": "Product Viewed", "userId": user, "timestamp": "2025-10-09T09:00:00Z"}
    return [Sent(home, json.dumps({**form, "messageId": f"{user}-{n}"}).encode()) for n in range(count)]


def found(stack: Stack) -> dict[str, list[str]]:
    """Return the results in the receipts, by hashed identifier."""
    receipts_found: dict[str, list[str]] = {}
    for receipt in receipts(stack):
        receipts_found.setdefault(receipt["identifier_sha256"], []).append(receipt["found"])
    return receipts_found


def committed(stack: Stack) -> dict[tuple[str, int], int]:
    async def look() -> dict[tuple[str, int], int]:
        admin = AIOKafkaAdminClient(bootstrap_servers=stack.bootstrap_servers)
        await admin.start()
        try:
            offsets = await admin.list_consumer_group_offsets(stack.settings.worker.app_id)
        finally:
            await admin.close()
        return {(tp.topic, tp.partition): each.offset for tp, each in offsets.items()}

    return asyncio.run(look())


def members(stack: Stack) -> set[str]:
    """Return the profiles with a row in the state topic."""
    latest = {r.key.decode(): r.value for r in stack.read(stack.settings.topics.membership_state)}
    return {key.partition("|")[0] for key, value in latest.items() if value is not None}


def test_requests_on_the_events_topic_are_rejected(stack: Stack, guarantee: str) -> None:
    stack.guarantee = guarantee
    stack.publish()
    request = Sent(0, b'{"profile":"user_id:u1","request":"r"}')
    # Requests in flight from a former version, which wrote them to the events topic.
    stack.send([request], headers=[(TYPE_HEADER, ERASE)])
    sent = shop_events(90, users=5, partitions=3)
    stack.start()
    stack.send(sent, final_ms=FINAL_MS)
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))
    topics = stack.settings.topics
    wait_until(lambda: stack.read(topics.dead_letters), "the dead letter", stack.diagnosis)
    (letter,) = stack.read(topics.dead_letters)
    headers = dict(letter.headers)
    assert (letter.value, headers["segops-reason"]) == (request.value, b"request_on_events")
    assert headers["segops-origin"] == f"{topics.events}:0:0".encode()
    assert b"send it to the control topic" in headers["segops-detail"]
    assert receipts(stack) == []
    assert 'segops_events_rejected_total{reason="request_on_events"} 1.0' in stack.get("/metrics")[1]


def test_request_is_applied_after_earlier_events(stack: Stack) -> None:
    stack.publish()
    # A backlog of several batches: a request that did not wait for it would find no profile.
    stack.send([*views("u1", 3), *views("u9", 6_000), *views("u1", 3)])
    assert command(stack, "--profile", "user_id:u1", "--request", "r", "--wait", "0").returncode == 0
    stack.start()
    wait_until(lambda: receipts(stack), "the receipt", stack.diagnosis)
    assert found(stack) == {hashed("user_id:u1"): ["profile"]}
    stack.send([], final_ms=FINAL_MS)
    wait_until(lambda: members(stack) == {"user_id:u9"}, "one is left", stack.diagnosis)


@pytest.mark.parametrize(
    "crash_at", ["after_output_ack:1", *map(in_rest, ["after_changelog_ack:1", "after_store_write:1"])]
)
def test_request_survives_a_crash(stack: Stack, guarantee: str, crash_at: str) -> None:
    stack.guarantee = guarantee
    stack.publish()
    stack.send(views("u1", 3))
    stack.start()
    wait_until(lambda: members(stack) == {"user_id:u1"}, "the first is a member", stack.diagnosis)
    stack.stop()
    assert command(stack, "--profile", "user_id:u1", "--request", "r", "--wait", "0").returncode == 0
    stack.send(views("u2", 3))
    assert stack.start(crash_at=crash_at).wait(60) != 0
    stack.start()
    wait_until(lambda: found(stack), "the receipt", stack.diagnosis)
    wait_until(lambda: members(stack) == {"user_id:u2"}, "the second is left", stack.diagnosis)
    (receipts_found,) = found(stack).values()
    assert receipts_found[0] == "profile" and (guarantee == "at_least_once" or receipts_found == ["profile"])
    tp = stack.settings.topics.control, partition_of(b"user_id:u1", stack.partitions)
    wait_until(lambda: committed(stack).get(tp) == 1, "the offset", stack.diagnosis)


def test_clock_advances_without_requests(stack: Stack) -> None:
    stack.publish()
    sent: list[Any] = shop_events(90, users=5, partitions=3)
    stack.start()
    stack.send(sent, final_ms=FINAL_MS)
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))


def test_source_without_events_holds_the_clock_back_until_it_is_idle(stack: Stack) -> None:
    stack.environment = {"SEGOPS_IDLE_SOURCE": "1s"}
    stack.publish()
    end_ms = START_MS + 3 * DAY_MS  # the time of the last event, of one person: the clock moves the others
    events = shop_events(90, users=5, partitions=3) + shop_events(
        1, users=1, partitions=1, seed=2, start_ms=end_ms
    )
    sent: list[Any] = [Sent(0, each.value) for each in events]
    stack.start()
    stack.send(sent)
    stack.wait_for_changes(expected_changes(sent, stack.definitions, end_ms))
