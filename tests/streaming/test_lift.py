"""The lift of an audience on a running system, over merges and an erasure, against an independent count."""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from typing import Any

import pytest

from segops.core.audiences.lift import Arm, lift_of
from segops.core.errors import UserError
from segops.core.values import format_instant
from segops.kafka.definitions import read
from tests.audiences.people import HOUR_MS, Customer, expected

from .helpers import Sent, Stack, wait_until
from .test_audiences import approved, done, shown, written

pytestmark = pytest.mark.broker
SEGMENTS = """
version: 1
segments:
  - {key: at-risk, when: {did: Visited, within: 2h}}
"""
AUDIENCE = """
version: 1
audiences:
  - key: winback
    segment: at-risk
    channel: webhook
    purpose: marketing
    hold_out: {salt: s, percent: 50}
    deliver: [{to: crm-hook}]
    goal: {did: Ordered, within: 3h}
"""
#: Consent is not what this is about.
NO_CONSENT = {"SEGOPS_AUDIENCE_CONSENT": "none"}
MINUTE_MS = 60_000
#: Known customers, those who visit without a name and give it later, and a known one who is erased.
KNOWN, NAMED_LATER, ERASED = range(24), range(24, 34), 40
Written = tuple[int, str, int]


def at(base_ms: int, minute: int, name: str, numbers: range) -> list[Written]:
    """Return an event of each of some customers, from a minute on, each at an instant of its own."""
    return [(base_ms + minute * MINUTE_MS + number * 1_000, name, number) for number in numbers]


def sent(events: list[Written]) -> list[Sent]:
    found = []
    for at_ms, name, number in events:
        kind, _, event = name.partition(" ")
        who = {"userId": f"c{number}"} if kind != "anonymous_id" else {"anonymousId": f"c{number}"}
        who |= {"anonymousId": f"c{number}"} if name == "identify" else {}
        body = {"type": "track", "event": event} if event else {"type": "identify"}
        body |= {**who, "messageId": f"{at_ms}-{number}", "timestamp": format_instant(at_ms)}
        partition = zlib.crc32(str(number).encode()) % 3
        found.append(Sent(partition, json.dumps(body).encode()))
    return found


def lift(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done(stack, "lift", "winback", "--format", "json", **NO_CONSENT))
    return found


def arms(view: dict[str, Any]) -> dict[str, Arm]:
    fields = Arm.__struct_fields__
    return {each["arm"]: Arm(**{name: each[name] for name in fields}) for each in view["arms"]}


def started(stack: Stack) -> int:
    """Approve the audience with members there already; return when others begin to visit."""
    now_ms = int(time.time() * 1_000)
    stack.environment = {"SEGOPS_MAX_EVENT_AHEAD": "30d"}
    stack.publish(SEGMENTS)
    done(stack, "apply", written(stack, AUDIENCE), **NO_CONSENT)
    existing = at(now_ms, -10, "user_id Visited", range(100, 110))
    stack.send(sent(existing), final_ms=now_ms - 5 * MINUTE_MS)
    stack.start()
    reach = sum(Customer(f"user_id:c{number}").own == "sent" for _, _, number in existing)
    wait_until(lambda: shown(stack)["reach"] == reach, "the reach is there", stack.diagnosis)
    assert lift(stack)["since_ms"] is None
    assert not any(".goal" in key for key in asyncio.run(read(stack.settings)).live)
    approved(stack)
    wait_until(lambda: lift(stack)["as_of_ms"], "the goal is in force", stack.diagnosis)
    return now_ms + 3 * HOUR_MS


def merges(stack: Stack) -> int:
    changes = map(json.loads, (each.value for each in stack.read(stack.settings.topics.membership_changes)))
    return len({each["profile_id"] for each in changes if each["merged_into"] is not None})


def test_lift_is_that_of_an_independent_count_over_merges_and_an_erasure(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGOPS_AUDIENCE_CONSENT", "none")
    base_ms = started(stack)
    one, two, three = (
        [
            *at(base_ms, 0, "user_id Visited", KNOWN),
            *at(base_ms, 1, "anonymous_id Visited", NAMED_LATER),
            *at(base_ms, 30, "user_id Ordered", KNOWN[::3]),
            *at(base_ms, 31, "anonymous_id Ordered", NAMED_LATER[::3]),
            *at(base_ms, 60, "identify", NAMED_LATER[::2]),
        ],
        [
            *at(base_ms, 90, "user_id Ordered", NAMED_LATER[::4]),
            # Who has named themselves orders within three hours of the visit; others are too late.
            *at(base_ms, 240, "user_id Ordered", KNOWN[1::3]),
        ],
        at(base_ms, 500, "user_id Visited", range(50, 60)),
    )
    erased = at(base_ms, 2, "user_id Visited", range(ERASED, ERASED + 1))
    stack.send(sent([*one[:34], *erased, *one[34:]]), final_ms=base_ms + 70 * MINUTE_MS)
    wait_until(lambda: merges(stack) == len(NAMED_LATER[::2]), "all are merged", stack.diagnosis)
    assert stack.segops("erase", "--profile", f"user_id:c{ERASED}").exit_code == 0
    wait_until(lambda: any(each["left_out"] for each in lift(stack)["arms"]), "the erasure", stack.diagnosis)
    stack.send(sent(two), final_ms=base_ms + 300 * MINUTE_MS)
    clock_ms = base_ms + 520 * MINUTE_MS
    stack.send(sent(three), final_ms=clock_ms)
    wait_until(lambda: lift(stack)["as_of_ms"] >= clock_ms, "all is known", stack.diagnosis)
    counted = expected([*one, *two, *three], clock_ms)
    own = counted[Customer(f"user_id:c{ERASED}").own]
    counted[Customer(f"user_id:c{ERASED}").own] = Arm(own.open, 1, own.matured, own.converted)
    view = lift(stack)
    assert arms(view) == counted
    assert min(each.converted for each in counted.values()) > 0 < min(each.open for each in counted.values())
    absolute = lift_of(counted["sent"], counted["held_out"]).absolute
    assert absolute is not None and view["lift"]["absolute"]["low"] == absolute.low
    shown_arms = done(stack, "lift")
    assert "winback: Ordered within 3h of the entry" in shown_arms and "not enough entries" in shown_arms
    assert "unchanged" in done(stack, "apply", written(stack, AUDIENCE), **NO_CONSENT)
    assert lift(stack)["since_ms"] == view["since_ms"]
    edited = AUDIENCE.replace("within: 3h", "within: 4h")
    assert "described" in done(stack, "apply", written(stack, edited), **NO_CONSENT)
    later = lift(stack)
    assert (later["state"], later["window_ms"]) == ("active", 4 * HOUR_MS)
    assert later["since_ms"] > view["since_ms"]
    done(stack, "retire", "winback")
    log = asyncio.run(read(stack.settings))
    assert not any(key.startswith("audience.") for key in log.live) and len(log.retired) == 4


def test_lift_needs_a_goal_and_a_hold_out(stack: Stack) -> None:
    stack.publish(SEGMENTS)
    plain = AUDIENCE.replace("    goal: {did: Ordered, within: 3h}\n", "")
    done(stack, "apply", written(stack, plain))
    assert "no audience has a goal and a hold-out" in done(stack, "lift")
    found = stack.segops("audiences", "lift", "winback")
    assert isinstance(found.exception, UserError) and "has no goal" in str(found.exception)
    done(stack, "apply", written(stack, AUDIENCE))
    assert "not measured yet: entries count from its approval on" in done(stack, "lift")
