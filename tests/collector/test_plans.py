"""Tracking plans at the collector: what is accepted, what becomes a dead letter, and what is counted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from segops.tracking.compiler import CompiledPlan, compile_plan
from tests.tracking.helpers import order_plan, plan_of

from .helpers import EVENT, KEY, OTHER_KEY, Collector, batch, serve

GOOD = {"revenue": 20, "currency": "EUR"}


def order(message: str = "m1", **properties: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "Order Completed",
        "userId": "ann",
        "messageId": message,
        "properties": {**GOOD, **properties},
    }


def with_plan(collector: Collector, plan: CompiledPlan) -> None:
    collector.plans.by_source = {"website": plan}


def violations(
    collector: Collector, reason: str, action: str, event: str = "Order Completed"
) -> float | None:
    return collector.count(
        "segops_collector_violations_total", source="website", event=event, reason=reason, action=action
    )


def test_rejected_event_is_a_dead_letter_with_its_bytes_and_its_sender_gets_200() -> None:
    async def steps(collector: Collector) -> None:
        with_plan(collector, order_plan(violations="reject"))
        bad = order("m2", revenue="20")
        answer = await collector.post("/v1/batch", batch(order(), bad, EVENT))
        assert answer.status == 200
        rejected = answer.json["rejected"]
        assert [(each["path"], each["code"]) for each in rejected] == [("batch[1]", "violation")]
        assert rejected[0]["message"] == "properties.revenue: expected number, got string"
        assert [each["messageId"] for each in collector.events] == ["m1", "m1"]
        (letter,) = collector.letters
        assert letter.headers["segops-reason"] == b"violation"
        assert letter.headers["segops-origin"] == b"collector:website:batch[1]"
        assert json.loads(letter.value) == bad
        assert violations(collector, "type", "rejected") == 1

    serve(steps)


def test_sender_of_nothing_but_rejected_events_gets_200() -> None:
    """An SDK would drop a batch after 400, and retry it after 503: neither is of use."""

    async def steps(collector: Collector) -> None:
        with_plan(collector, order_plan(violations="reject"))
        answer = await collector.post("/v1/track", order(revenue=-1))
        assert (answer.status, answer.json["success"], answer.json["rejected_total"]) == (200, True, 1)
        invalid = {**order(revenue=-1), "userId": None}
        assert (await collector.post("/v1/batch", batch(order(revenue=-1), invalid))).status == 400
        assert len(collector.letters) == 3

    serve(steps)


def test_warned_event_is_accepted_unchanged_and_counted() -> None:
    async def steps(collector: Collector) -> None:
        await collector.post("/v1/track", order(revenue="20"))
        with_plan(collector, order_plan())
        assert (await collector.post("/v1/track", order(revenue="20"))).json == {"success": True}
        assert collector.events[0] == collector.events[1]
        assert violations(collector, "type", "warned") == 1

    serve(steps)


def test_omitted_properties_move_to_the_context() -> None:
    async def steps(collector: Collector) -> None:
        with_plan(collector, order_plan(unknown_properties="omit"))
        await collector.post("/v1/track", order(gift=True, note={"a": 1}))
        await collector.post("/v1/track", order())
        assert [each["properties"] for each in collector.events] == [GOOD, GOOD]
        omitted = {"properties.gift": True, "properties.note": {"a": 1}}
        assert [each["context"].get("protocols") for each in collector.events] == [{"omitted": omitted}, None]
        assert violations(collector, "unknown_property", "omitted") == 2

    serve(steps)


def test_plan_concerns_its_source_only() -> None:
    async def steps(collector: Collector) -> None:
        with_plan(collector, compile_plan(plan_of("unknown_events: reject")))
        for key in (KEY, OTHER_KEY):
            assert (await collector.post("/v1/track", EVENT, key=key)).status == 200
        assert len(collector.events) == len(collector.letters) == 1
        assert violations(collector, "unknown_event", "rejected", "(unknown)") == 1

    serve(steps)


def test_names_of_events_do_not_become_labels() -> None:
    async def steps(collector: Collector) -> None:
        with_plan(collector, compile_plan(plan_of("unknown_events: warn")))
        await collector.post("/v1/batch", batch(*({**EVENT, "event": f"Event {n}"} for n in range(50))))
        assert violations(collector, "unknown_event", "warned", "(unknown)") == 50

    serve(steps)


@pytest.mark.parametrize("keeps", [False, True])
def test_values_are_published_only_if_a_setting_says_so(keeps: bool) -> None:
    async def steps(collector: Collector) -> None:
        with_plan(collector, order_plan())
        await collector.post("/v1/track", order(revenue="secret"))
        (found,) = collector.plans.tally.take(9)
        assert found.message_id == "m1"
        assert (found.payload is not None and b"secret" in bytes(found.payload)) == keeps

    serve(steps, violation_payloads=keeps)


def test_events_wait_for_the_plans() -> None:
    async def steps(collector: Collector) -> None:
        collector.plans.known = False
        refused = await collector.post("/v1/track")
        assert (refused.status, refused.headers["Retry-After"]) == (503, "2")
        assert collector.producer.sent == []

    serve(steps)
