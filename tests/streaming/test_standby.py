"""A standby takes over from a dead worker with the store it has kept current."""

from __future__ import annotations

import re

import pytest

from segops.brokers import LocalBroker
from tests.rest import rest

from .helpers import DAY_MS, START_MS, Stack, expected_changes, shop_events, wait_until

pytestmark = pytest.mark.broker

FINAL_MS = START_MS + 2 * DAY_MS


def metric(stack: Stack, name: str, number: int) -> float:
    found = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)", stack.get("/metrics", number)[1], re.MULTILINE)
    return sum(float(value) for value in found)


def is_current(stack: Stack, number: int) -> bool:
    page = stack.get("/metrics", number)[1]
    return "segops_standby_lag_records{" in page and metric(stack, "segops_standby_lag_records", number) == 0


@pytest.mark.parametrize("guarantee", ["at_least_once", "exactly_once"])
@rest
def test_standby_takes_over_and_restores_only_the_remainder(
    stack: Stack, broker: LocalBroker, guarantee: str
) -> None:
    if broker.name.startswith("embedded"):
        pytest.skip("the embedded broker never expires a member")
    stack.guarantee = guarantee
    stack.partitions = 4
    stack.environment = {"SEGOPS_STANDBY_REPLICAS": "1", "SEGOPS_SESSION_TIMEOUT": "6s"}
    stack.publish()
    sent = shop_events(4_000, users=200, partitions=4)
    victim = stack.start(number=0)
    wait_until(lambda: stack.get("/readyz", 0)[0] == 200, "first ready", stack.diagnosis)
    stack.start(number=1)
    wait_until(
        lambda: len(stack.owned_partitions(0)) == len(stack.owned_partitions(1)) == 2,
        "shared",
        stack.diagnosis,
    )
    middle_ms = START_MS + DAY_MS // 2
    stack.send(sent[:2_000], final_ms=middle_ms)
    stack.wait_for_changes(expected_changes(sent[:2_000], stack.definitions, middle_ms))
    wait_until(lambda: is_current(stack, 0) and is_current(stack, 1), "standbys current", stack.diagnosis)
    changelog = stack.read(stack.settings.worker.changelog)
    before = metric(stack, "segops_recovery_records_total", 1)
    assert metric(stack, "segops_standby_records_total", 1) > 0
    victim.kill()
    victim.wait()
    stack.send(sent[2_000:], final_ms=FINAL_MS)
    wait_until(lambda: len(stack.owned_partitions(1)) == 4, "taken over", stack.diagnosis, 150)
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))
    restored = metric(stack, "segops_recovery_records_total", 1) - before
    assert restored < len(changelog) / 10


@rest
def test_standbys_survive_a_rebalance(stack: Stack) -> None:
    stack.environment = {"SEGOPS_STANDBY_REPLICAS": "1", "SEGOPS_SESSION_TIMEOUT": "6s"}
    stack.publish()
    sent = shop_events(2_000, users=60, partitions=3)
    stack.start(number=0)
    wait_until(lambda: stack.get("/readyz", 0)[0] == 200, "first ready", stack.diagnosis)
    for start in range(0, 2_000, 500):
        other = stack.start(number=1)
        stack.send(sent[start : start + 500])
        wait_until(lambda: stack.get("/readyz", 1)[0] == 200, "second ready", stack.diagnosis)
        other.kill()
        other.wait()
    stack.start(number=1)
    stack.send([], final_ms=FINAL_MS)
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))
    for number in (0, 1):
        assert "is open elsewhere" not in (stack.folder / f"worker-{number}.log").read_text()
