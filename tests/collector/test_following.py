"""Which plans are in force after a change of those that are published, without Kafka."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from segops.collector.following import PlanFollower
from segops.collector.metrics import CollectorMetrics
from segops.collector.plans import Plans
from segops.config import load
from tests.tracking.helpers import plan_of

CONTRADICTION = "events: {A: {schema: {required: [a], additionalProperties: false}}}"


def follower() -> tuple[PlanFollower, Plans]:
    metrics = CollectorMetrics(CollectorRegistry())
    plans = Plans(metrics)
    return PlanFollower(load(), plans, metrics), plans


def test_plan_that_cannot_be_compiled_leaves_the_former_one(caplog: pytest.LogCaptureFixture) -> None:
    following, plans = follower()
    good, bad = plan_of("events: {A: }"), plan_of(CONTRADICTION)
    first = following._compiled({"website": good})
    plans.by_source = first
    assert following._compiled({"website": bad, "app": bad}) == first
    assert "the former tracking plan stays in force" in caplog.text


def test_plan_that_did_not_change_is_not_compiled_again() -> None:
    following, plans = follower()
    plans.by_source = following._compiled({"website": plan_of("events: {A: }")})
    again = following._compiled({"website": plan_of("events: {A: }"), "app": plan_of("events: {B: }")})
    assert again["website"] is plans.by_source["website"]
    assert again.keys() == {"website", "app"}


def test_failure_to_follow_lets_events_pass(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    following, plans = follower()

    async def run() -> None:
        stop = asyncio.Event()

        async def fail() -> None:
            stop.set()
            raise ValueError("a bug")

        monkeypatch.setattr(following, "_session", lambda _stop: fail())
        await asyncio.wait_for(following.run(stop), 20)

    asyncio.run(run())
    assert plans.known
    assert "tracking plans are not followed: a bug" in caplog.text
