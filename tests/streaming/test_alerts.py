"""Alerts of running workers: each crossing is announced once, also if the evaluating worker is killed."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from segops.brokers import LocalBroker
from segops.core.values import format_instant
from segops.schemas.sizes import MINUTE_MS
from tests.rest import in_rest

from .conftest import require_transactions
from .helpers import START_MS, Sent, Stack, wait_until

pytestmark = pytest.mark.broker

HOUR_MS = 60 * MINUTE_MS
#: The start of an hour.
BEGIN_MS = START_MS // HOUR_MS * HOUR_MS
RULE = "{key: shoppers, when: {did: Order Completed}"
ALERT = "alert: [{entries: {at_most: 5, per: 1h}}, {size: 50%, over: 2h, floor: 4}]"


def segment(alert: str = "") -> str:
    return f"version: 1\nsegments: [{RULE}{', ' * bool(alert)}{alert}}}]\n"


@pytest.fixture
def stack(stack: Stack, guarantee: str, broker: LocalBroker) -> Stack:
    require_transactions(broker)
    stack.guarantee = guarantee
    stack.environment = {"SEGOPS_FIGURES_INTERVAL": "100ms", "SEGOPS_SESSION_TIMEOUT": "6s"}
    return stack


def orders(users: range, at_ms: int) -> list[Sent]:
    form = {"type": "track", "event": "Order Completed", "timestamp": format_instant(at_ms)}
    return [
        Sent(user % 3, json.dumps({**form, "userId": f"u{user}", "messageId": f"m{user}"}).encode())
        for user in users
    ]


def announced(stack: Stack) -> list[dict[str, Any]]:
    """Return all committed records of alerts in their order; a deleted one has only its key."""

    async def read() -> list[dict[str, Any]]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=stack.bootstrap_servers,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        await consumer.start()
        part = TopicPartition(stack.settings.topics.alerts, 0)
        consumer.assign([part])
        end = (await consumer.end_offsets([part]))[part]
        records: list[Any] = []
        while await consumer.position(part) < end:
            records += (await consumer.getmany(part, timeout_ms=200)).get(part, [])
        await consumer.stop()
        return [{"key": record.key.decode(), **json.loads(record.value or b"{}")} for record in records]

    return asyncio.run(read())


def evaluated_ms(stack: Stack) -> int:
    found = [record["until_ms"] for record in announced(stack) if "until_ms" in record]
    return int(found[-1]) if found else 0


def crossings(stack: Stack) -> list[tuple[str, str, int, int]]:
    """Return the alert, the state, and the minutes since when and at which, of each record of a crossing."""
    return [
        (each["alert"], each["state"], minutes(each["since_ms"]), minutes(each["at_ms"]))
        for each in announced(stack)
        if "state" in each
    ]


def minutes(ms: int) -> int:
    return (ms - BEGIN_MS) // MINUTE_MS


def advance(stack: Stack, to_minute: int, sent: list[Sent] | None = None) -> None:
    """Send events, and move all clocks to the n-th minute."""
    stack.send(sent or [], final_ms=BEGIN_MS + to_minute * MINUTE_MS)


def wait_until_evaluated(stack: Stack, minute: int) -> None:
    wait_until(
        lambda: evaluated_ms(stack) == BEGIN_MS + minute * MINUTE_MS,
        f"alerts evaluated until minute {minute}",
        lambda: f"{announced(stack)}\n{stack.diagnosis()}",
    )


def metric(stack: Stack, number: int, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", stack.get("/metrics", number)[1], re.MULTILINE)
    return float(found[1]) if found else 0.0


def owners(stack: Stack) -> list[int]:
    """Return the workers that own partition 0."""
    return [number for number in range(2) if "0" in stack.owned_partitions(number)]


def wait_until_begun(stack: Stack, minute: int) -> None:
    """Wait until worker 0 evaluates alerts, from the n-th minute on."""
    since_s = (BEGIN_MS + minute * MINUTE_MS) / 1000
    name = "segops_alerts_evaluated_seconds"
    wait_until(lambda: metric(stack, 0, name) == since_s, "the evaluation", stack.diagnosis)


@pytest.mark.usefixtures("several_workers")
@pytest.mark.parametrize(
    ("point", "is_restarted"),
    [
        ("alerts_sent", False),
        *(in_rest(point, False) for point in ("alerts_evaluated", "alerts_committed")),
        *(in_rest(point, True) for point in ("alerts_evaluated", "alerts_sent")),
    ],
)
def test_a_crossing_is_told_once_when_the_evaluating_worker_is_killed(
    stack: Stack, point: str, is_restarted: bool
) -> None:
    stack.publish(segment(ALERT))
    stack.start(number=0)
    wait_until(lambda: len(stack.owned_partitions(0)) == 3, "all partitions", stack.diagnosis)
    advance(stack, 1, orders(range(4), BEGIN_MS + 1))
    wait_until_begun(stack, 1)
    advance(stack, 128)
    wait_until_evaluated(stack, 128)
    stack.start(number=1)
    wait_until(lambda: owners(stack) and stack.owned_partitions(1), "both workers", stack.diagnosis)
    (number,) = owners(stack)
    stack.workers[number].kill()
    stack.workers[number].wait()
    first = stack.start(number=number, crash_at=point)  # the same member of the group
    wait_until(lambda: owners(stack) == [number], "its partitions", stack.diagnosis)
    advance(stack, 130, orders(range(4, 10), BEGIN_MS + 128 * MINUTE_MS))
    assert first.wait(60) == 137
    if is_restarted:
        stack.start(number=number)
    wait_until_evaluated(stack, 130)
    many, growth = "entries at_most 5 per 1h", "size 50% over 2h floor 4"
    began = [(many, "firing", 129, 129), (growth, "firing", 129, 129)]
    assert sorted(crossings(stack)) == sorted(began)
    advance(stack, 260)
    wait_until_evaluated(stack, 260)
    ended = [(many, "recovered", 129, 189), (growth, "recovered", 129, 249)]
    assert sorted(crossings(stack)) == sorted([*began, *ended])
    ids = [(each["alert_id"], each["state"]) for each in announced(stack) if "state" in each]
    assert len(set(ids)) == len({alert_id for alert_id, _ in ids}) * 2 == 4


def test_alerts_are_shown_and_an_alert_that_is_removed_is_withdrawn(stack: Stack) -> None:
    stack.publish(segment())
    stack.start()
    advance(stack, 1, orders(range(8), BEGIN_MS + 1))
    wait_until(lambda: len(stack.changes()) == 8, "the members", stack.diagnosis)
    stack.publish(segment("alert: {members: {at_most: 5}}"))
    wait_until_begun(stack, 1)
    advance(stack, 3)
    wait_until_evaluated(stack, 3)
    assert crossings(stack) == [("members at_most 5", "firing", 2, 2)]
    wait_until(lambda: stack.get("/alerts")[0] == 200, "the page", stack.diagnosis)
    (shown,) = json.loads(stack.get("/alerts")[1])["alerts"]
    assert (shown["segment_key"], shown["number"], shown["former"]) == ("shoppers", 8, None)
    firing = 'segops_alerts_firing{segment="shoppers"}'
    wait_until(lambda: metric(stack, 0, firing) == 1, "the metric", stack.diagnosis)
    count = 'segops_alert_crossings_total{{action="{}",segment="shoppers"}}'
    assert metric(stack, 0, count.format("firing")) == 1
    assert metric(stack, 0, "segops_alerts_evaluated_seconds") == BEGIN_MS / 1000 + 180
    result = stack.segops("alerts")
    assert result.stdout.splitlines()[-1].split()[:5] == ["shoppers", "members", "at_most", "5", "firing"]
    stack.publish(segment())
    wait_until(lambda: len(crossings(stack)) == 2, "the withdrawal", stack.diagnosis)
    assert crossings(stack)[1] == ("members at_most 5", "withdrawn", 2, 3)
    wait_until(lambda: metric(stack, 0, firing) == 0, "no metric", stack.diagnosis)
    assert announced(stack)[-2:] == [{"key": "shoppers|members at_most 5"}, {"key": "$evaluated"}]
    assert json.loads(stack.segops("alerts", "--format", "json").stdout)["alerts"] == []
    assert len(stack.changes()) == 8  # the memberships were not published again
