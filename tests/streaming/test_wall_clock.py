"""With the wall clock, time alone changes memberships at the exact instant, without an event."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from aiokafka import AIOKafkaProducer

from tests.rest import rest

from .helpers import Sent, Stack, wait_until

pytestmark = pytest.mark.broker

SEGMENTS = """
version: 1
segments:
  - key: active
    when:
      did: Product Viewed
      within: 6s
  - key: quiet
    when:
      last: Product Viewed
      is: {older_than: 8s}
"""


def test_windows_and_ages_are_exact_to_the_millisecond(stack: Stack) -> None:
    stack.environment = {"SEGOPS_CLOCK": "wall", "SEGOPS_GRACE": "300ms"}
    stack.publish(SEGMENTS)
    stack.start()
    wait_until(lambda: stack.get("/readyz")[0] == 200, "ready", stack.diagnosis)
    viewed_ms = int(time.time() * 1000)
    stack.send([Sent(0, _viewed(viewed_ms))])
    wait_until(lambda: len(stack.changes()) == 3, "three changes", stack.diagnosis)
    changes = sorted(stack.changes().values(), key=lambda change: int(change["sequence"]))
    assert [(c["segment_key"], c["action"], c["reason"], c["flips_at"]) for c in changes] == [
        ("active", "entered", "event", viewed_ms + 6_000),
        ("active", "exited", "time", None),
        ("quiet", "entered", "time", None),
    ]
    assert [change["occurred_at"] for change in changes[1:]] == [viewed_ms + 6_000, viewed_ms + 8_000]


WAITING = """
version: 1
segments:
  - key: left-behind
    when:
      all:
        - last: Product Viewed
          is: {older_than: 10s}
        - did_not: Order Completed
"""


@rest
def test_backlog_after_an_outage_is_processed_in_event_order(stack: Stack) -> None:
    """A minute ago a customer viewed a product and bought it 5 s later; no worker ran until now."""
    stack.environment = {"SEGOPS_CLOCK": "wall"}
    stack.publish(WAITING)
    begun_ms = int(time.time() * 1000) - 60_000
    viewed = [
        (begun_ms + number, _event("Product Viewed", begun_ms + number, f"w{number}"))
        for number in range(5_000)
    ]
    bought_ms = begun_ms + 5_500
    asyncio.run(_produce(stack, [*viewed, (bought_ms, _event("Order Completed", bought_ms, "w9"))]))
    stack.start()
    wait_until(lambda: len(stack.changes()) == 4_999, "everyone but the buyer", stack.diagnosis)
    changes = stack.changes().values()
    assert "user_id:w9" not in {change["profile_id"] for change in changes}
    due = {f"user_id:w{number}": begun_ms + number + 10_000 for number in range(5_000)}
    assert all(change["occurred_at"] == due[change["profile_id"]] for change in changes)


async def _produce(stack: Stack, events: list[tuple[int, bytes]]) -> None:
    """Write events with their times as Kafka timestamps."""
    producer = AIOKafkaProducer(bootstrap_servers=stack.bootstrap_servers, linger_ms=20)
    await producer.start()
    topic = stack.settings.topics.events
    await asyncio.gather(
        *[await producer.send(topic, value, partition=0, timestamp_ms=at_ms) for at_ms, value in events]
    )
    await producer.stop()


def _viewed(time_ms: int) -> bytes:
    return _event("Product Viewed", time_ms, "u1")


def _event(name: str, time_ms: int, user: str) -> bytes:
    at = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(time_ms // 1000))}.{time_ms % 1000:03d}Z"
    ids = {"userId": user, "messageId": f"{user}-{time_ms}"}
    return json.dumps({"type": "track", "event": name, **ids, "timestamp": at}).encode()
