"""With the wall clock, time alone moves people, at the exact instant, without an event to trigger it."""

from __future__ import annotations

import json
import time

import pytest

from .kit import Sent, Stack, wait_until

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


def test_a_window_ends_and_an_age_begins_to_the_millisecond(stack: Stack) -> None:
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


def _viewed(time_ms: int) -> bytes:
    at = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(time_ms // 1000))}.{time_ms % 1000:03d}Z"
    event = {"type": "track", "event": "Product Viewed", "userId": "u1", "messageId": "m1", "timestamp": at}
    return json.dumps(event).encode()
