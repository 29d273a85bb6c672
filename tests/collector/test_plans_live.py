"""Tracking plans on a real broker: in force within seconds, whatever is in their topic; nothing is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
import segment.analytics.client
from aiokafka import AIOKafkaProducer

from tests.rest import rest
from tests.streaming.conftest import stack
from tests.streaming.helpers import Stack, wait_until
from tests.streaming.topic_deletion import delete_topics

from .helpers import KEY, batch
from .processes import CollectorProcess
from .test_live import SEGMENTS

__all__ = ["stack"]  # a fixture

pytestmark = pytest.mark.broker
Reserve = Callable[[int], list[int]]

PLAN = """
version: 1
plans:
- source: website
  violations: {mode}
  events:
    Order Completed:
      schema: {{required: [revenue], properties: {{revenue: {{type: number}}}}}}
"""


def apply(stack: Stack, mode: str) -> None:
    file = stack.folder / "plans.yaml"
    file.write_text(PLAN.format(mode=mode))
    done = stack.segops("tracking-plans", "apply", str(file))
    assert done.exit_code == 0, done.output + str(done.exception)


def orders(collector: CollectorProcess, revenues: list[Any]) -> None:
    """Send orders with Segment's SDK, unchanged; it must not see an error."""
    errors: list[Exception] = []
    client = segment.analytics.client.Client(
        KEY, host=collector.url, on_error=lambda error, _: errors.append(error)
    )
    for revenue in revenues:
        client.track("ann", "Order Completed", {"revenue": revenue})
    client.flush()
    client.join()
    assert errors == []


def revenues_of(stack: Stack, topic: str) -> list[Any]:
    return [json.loads(record.value)["properties"]["revenue"] for record in stack.read(topic)]


def wait_for_plans(collector: CollectorProcess, text: str, times: int = 1) -> None:
    wait_until(
        lambda: collector.log.read_text().count(f"tracking plans: {text}\n") >= times,
        "the plans are in force",
        collector.log.read_text,
    )


def violations(stack: Stack) -> list[dict[str, Any]]:
    done = stack.segops("tracking-plans", "violations", "--format", "jsonl")
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


async def write(stack: Stack, value: bytes) -> None:
    """Write a record to the topic of the plans, as any client may."""
    producer = AIOKafkaProducer(bootstrap_servers=stack.bootstrap_servers)
    await producer.start()
    await producer.send_and_wait(stack.settings.topics.tracking_plans, value, key=b"website")
    await producer.stop()


def test_plans_come_into_force_while_events_flow(stack: Stack, reserve: Reserve) -> None:
    stack.publish(SEGMENTS)
    collector = CollectorProcess(stack, reserve(2))
    collector.wait_until_ready()
    orders(collector, ["a", 1])
    apply(stack, "warn")
    wait_for_plans(collector, "website")
    orders(collector, ["b", 2])
    apply(stack, "reject")
    wait_for_plans(collector, "website", 2)
    orders(collector, ["c", 3])
    asyncio.run(write(stack, b'{"plan": {"source": "website", "events": 5}, "at_ms": 1}'))
    wait_until(
        lambda: "skipping tracking plan record" in collector.log.read_text(),
        "it is noticed",
        collector.log.read_text,
    )
    orders(collector, ["d", 4])  # the former plan is in force
    assert stack.segops("tracking-plans", "remove", "website").exit_code == 0
    wait_for_plans(collector, "none", 2)
    orders(collector, ["e", 5])
    topics = stack.settings.topics
    accepted, rejected = revenues_of(stack, topics.events), revenues_of(stack, topics.dead_letters)
    assert accepted == ["a", 1, "b", 2, 3, 4, "e", 5]
    assert sorted(rejected) == ["c", "d"]  # in partitions by their bytes
    wait_until(lambda: sum(each["count"] for each in violations(stack)) == 3, "all violations are published")
    shown = {
        (each["action"], each["reason"], each["path"], each["expected"], each["got"], each["count"])
        for each in violations(stack)
    }
    assert shown == {
        ("rejected", "type", "properties.revenue", "number", "string", 2),
        ("warned", "type", "properties.revenue", "number", "string", 1),
    }
    page = json.loads(collector.page("/violations")[1])["violations"]
    assert sum(each["count"] for each in page) == 3
    assert "Traceback" not in collector.log.read_text()


@rest
def test_plan_is_in_force_from_the_first_event_after_a_restart(stack: Stack, reserve: Reserve) -> None:
    stack.publish(SEGMENTS)
    apply(stack, "reject")
    collector = CollectorProcess(stack, reserve(2))
    event = {"type": "track", "event": "Order Completed", "userId": "ann", "properties": {"revenue": "x"}}
    wait_until(lambda: collector.post(batch(event)) == 200, "it accepts", collector.log.read_text)
    assert stack.read(stack.settings.topics.events) == []
    assert len(stack.read(stack.settings.topics.dead_letters)) == 1


@rest
def test_collector_works_without_the_topic_of_plans(stack: Stack, reserve: Reserve) -> None:
    """It was created by an earlier version, or may not be read."""
    stack.publish(SEGMENTS)
    settings = stack.settings
    delete_topics(stack, [settings.topics.tracking_plans, settings.topics.violations])
    collector = CollectorProcess(stack, reserve(2))
    collector.wait_until_ready()
    orders(collector, [1])
    assert revenues_of(stack, settings.topics.events) == [1]
    assert "tracking plans are not followed" in collector.log.read_text()
