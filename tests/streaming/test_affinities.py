"""The shares of an affinity, measured over a running system, planned and published with the rules."""

from __future__ import annotations

import json

import pytest

from tests.core.models import affinity

from .helpers import START_MS, Sent, Stack, wait_until
from .test_models import published
from .test_plans import done, written
from .test_populations import members

pytestmark = pytest.mark.broker

DAY_MS = 86_400_000
NAME = "affinity.category"
SEGMENTS = """
version: 1
segments:
  - {key: shoes, when: {score: affinity.category, of: shoes, is: {gte: 1.5}}}
  - {key: hats, when: {score: affinity.category, is: {eq: hats}}}
  - {key: viewers, when: {did: View}}
"""


def viewed(user: int, category: str) -> Sent:
    event = {"type": "track", "event": "View", "userId": f"u{user}", "messageId": f"m{user}{category}"}
    event |= {"timestamp": "2025-10-09T00:00:00Z"}
    return Sent(0, json.dumps({**event, "properties": {"category": category}}).encode())


def test_refresh_measures_shares_and_moves_those_who_are_drawn(stack: Stack) -> None:
    stack.publish(SEGMENTS)
    form = affinity(shares=None, prior=0.001, half_life="7d", values=2)
    done(stack, "models", "publish", written(stack, "affinity.json", json.dumps(form)))
    stack.start()
    views = [viewed(user, "shoes" if user < 5 else "hats" if user < 15 else "socks") for user in range(30)]
    stack.send([*views, viewed(0, "hats")], final_ms=START_MS + DAY_MS)
    wait_until(lambda: members(stack) == {"viewers": 30}, "all viewers are known", stack.diagnosis)

    found = json.loads(
        done(stack, "models", "refresh", NAME, "--format", "json", "--max-share", "100%").stdout
    )
    assert (found["version"], found["published"]) == (2, True)
    shown = json.loads(done(stack, "models", "show", NAME, "--format", "json").stdout)["parameters"]
    assert shown["profiles"] == 30 and list(shown["shares"]) == ["socks", "hats"]
    # Ten of the customers only see hats, and one sees them half of the time.
    assert shown["shares"] == pytest.approx({"socks": 15 / 30, "hats": 10.5 / 30}, abs=1e-3)
    assert shown["half_life"] == "7d"
    wait_until(
        lambda: members(stack) == {"viewers": 30, "hats": 11},
        "customers drawn to hats; shoes have no share",
        stack.diagnosis,
    )
    carried = (published(stack).live["hats"].models or {})[NAME]
    assert carried["version"] == 2
