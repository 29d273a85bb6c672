"""The population of a grid, measured over all partitions of a running system, planned and published."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from decimal import ROUND_CEILING, Context
from math import ceil
from random import Random
from typing import Any

import pytest

from segops.core.values import format_instant
from segops.schemas.records import partition_of

from .helpers import START_MS, Sent, Stack, wait_until
from .test_plans import changes_since, flows, moves

pytestmark = pytest.mark.broker

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
PARTITIONS = 4
FINAL_MS = START_MS + 60 * DAY_MS
LATER_MS = FINAL_MS + 2 * DAY_MS
SEGMENTS = """
version: 1
rfm: {preset: five_by_five, period: 90d}
segments:
  - {key: champions, when: {rfm: champions}}
  - {key: recent, when: {rfm: {recency: {gte: 4}}}}
  - {key: rich, when: {rfm: {monetary: 5}}}
  - {key: seldom, when: {all: [{rfm: {frequency: 1}}, {did: Order Completed}]}}
  - {key: buyers, when: {did: Order Completed}}
"""

#: User -> time (ms) and amount of each order.
Orders = Mapping[str, list[tuple[int, float]]]


def orders_of(users: int, *, seed: int) -> Orders:
    """Draw the orders of users: half of them have one, some have many, in two months."""
    random = Random(seed)
    found = {}
    for number in range(users):
        count = 1 if random.random() < 0.5 else random.randrange(2, 9)
        times = sorted(START_MS + random.randrange(60 * 24) * HOUR_MS + 1 for _ in range(count))
        found[f"u{number}"] = [(time_ms, round(random.uniform(5, 400), 2)) for time_ms in times]
    return found


def sent_of(orders: Orders, name: str) -> list[Sent]:
    listed = sorted((at, user, amount) for user, each in orders.items() for at, amount in each)
    return [sent(user, at, amount, f"{name}{number}") for number, (at, user, amount) in enumerate(listed)]


def sent(user: str, time_ms: int, amount: float, message_id: str) -> Sent:
    form = {
        "type": "track",
        "event": "Order Completed",
        "userId": user,
        "messageId": message_id,
        "timestamp": format_instant(time_ms),
        "properties": {"order_id": message_id, "revenue": amount},
    }
    return Sent(partition_of(f"user_id:{user}".encode(), PARTITIONS), json.dumps(form).encode())


def at_ranks(values: list[Any], groups: int = 5) -> list[Any]:
    listed = sorted(values)
    return [listed[ceil(number * len(listed) / groups) - 1] for number in range(1, groups)]


def recounted(orders: Orders, at_ms: int) -> dict[str, list[Any]]:
    """Return the edges as of an instant by all customers, one by one."""
    up = Context(prec=3, rounding=ROUND_CEILING)
    hours = at_ranks([-(-each[-1][0] // HOUR_MS) for each in orders.values()])
    totals = at_ranks([sum(round(amount * 100) for _, amount in each) for each in orders.values()])
    return {
        "recency_ms": [at_ms - hour * HOUR_MS for hour in reversed(hours)],
        "frequency": at_ranks([len(each) for each in orders.values()]),
        "monetary": [float(up.create_decimal(total) / 100) for total in totals],
    }


def members(stack: Stack) -> Counter[str]:
    rows = {r.key: json.loads(r.value) for r in stack.read(stack.settings.topics.membership_state)}
    return Counter(each["segment_key"] for each in rows.values() if each["member"])


def refreshed(stack: Stack, *options: str) -> dict[str, Any]:
    done = stack.segops("models", "refresh", "rfm", "--format", "json", *options)
    assert done.exit_code == 0, (done.output, done.exception)
    form: dict[str, Any] = json.loads(done.stdout)
    return form


def edges(stack: Stack) -> dict[str, list[Any]]:
    done = stack.segops("models", "show", "rfm", "--format", "json")
    form: dict[str, list[Any]] = json.loads(done.stdout)["parameters"]["edges"]
    return form


def owned_by(stack: Stack) -> list[set[str]]:
    return [stack.owned_partitions(number) for number in range(2)]


def test_refresh_measures_all_profiles_and_moves_whom_it_planned(
    stack: Stack, several_workers: None, guarantee: str
) -> None:
    stack.guarantee, stack.partitions = guarantee, PARTITIONS
    orders = orders_of(120, seed=7)
    stack.publish(SEGMENTS)
    stack.send(sent_of(orders, "a"), final_ms=FINAL_MS)
    for number in range(2):
        stack.start(number=number)
    wait_until(lambda: members(stack)["buyers"] == 120, "all buyers are known", stack.diagnosis)
    wait_until(
        lambda: all(owned := owned_by(stack)) and not owned[0] & owned[1], "both work", stack.diagnosis
    )
    assert members(stack) == {"buyers": 120}  # no population is measured: no digits

    first = refreshed(stack, "--max-share", "100%")
    assert (first["name"], first["version"], first["published"]) == ("rfm", 1, True)
    assert edges(stack) == recounted(orders, FINAL_MS)
    moved = came_true(stack, first, {})
    assert {key for key, _ in moves(first["plan"])} == {"champions", "recent", "rich", "seldom"}

    # Twenty new customers, who come in between, move others who did nothing.
    more = {f"v{number}": [(LATER_MS - number * HOUR_MS, 900.0)] for number in range(20)}
    stack.send(sent_of(more, "b"), final_ms=LATER_MS)
    wait_until(lambda: members(stack)["buyers"] == 140, "the new ones are known", stack.diagnosis)
    before = changes_since(stack, {})
    planned = refreshed(stack, "--dry-run")
    assert edges(stack) == recounted(orders, FINAL_MS)
    second = refreshed(stack, "--max-share", "100%")
    assert moves(planned["plan"]) == moves(second["plan"])
    assert (second["version"], edges(stack)) == (2, recounted({**orders, **more}, LATER_MS))
    came = came_true(stack, second, {each["change_id"]: each for each in before})
    assert moved and {each["user_id"][0] for each in came} == {"u"}


def came_true(stack: Stack, found: dict[str, Any], before: dict[str, Any]) -> list[dict[str, Any]]:
    """Wait for the changes that a refresh planned; return them, which are those and no others."""
    planned = moves(found["plan"])

    def moved() -> list[dict[str, Any]]:
        return [each for each in changes_since(stack, before) if each["reason"] == "score"]

    wait_until(lambda: len(moved()) >= planned.total(), "the refresh moved whom it planned", stack.diagnosis)
    assert flows(moved(), "score") == planned
    return moved()
