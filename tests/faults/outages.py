"""Broker outages: workers wait for the brokers and continue in the same process."""

from __future__ import annotations

import time
from typing import Any

from ..streaming.helpers import wait_until
from .cluster import Case

_OUTAGE_S = 90.0
_LONG_OUTAGE_S = 300.0


def restart(case: Case) -> None:
    """Kill all brokers or shut them down cleanly, and restart them within seconds."""
    _run_workers(case)
    action = case.rng.choice(["kill", "stop"])
    case.notes.append(action)
    fault = time.monotonic()
    _end_brokers(case, action)
    time.sleep(case.rng.random() * 4)
    _start_brokers(case)
    _wait_continued(case, fault)


def down(case: Case, seconds: float = _OUTAGE_S) -> None:
    """Take all brokers down for ``seconds``; the events of that time are sent once they are back."""
    _run_workers(case)
    action = case.rng.choice(["kill", "stop"])
    case.notes.append(action)
    fault = time.monotonic()
    _end_brokers(case, action)
    wait_until(
        lambda: all(_is_waiting(case, number) for number in (0, 1)), "both workers wait", case.diagnosis
    )
    while time.monotonic() < fault + seconds:
        assert all(_is_waiting(case, number) for number in (0, 1)), case.diagnosis()
        time.sleep(1)
    _start_brokers(case)
    _wait_continued(case, fault)


def down_for_long(case: Case) -> None:
    """Take all brokers down for five minutes."""
    down(case, _LONG_OUTAGE_S)


def started_without(case: Case) -> None:
    """Start workers while all brokers are down, one with an empty store and one with existing state."""
    case.start(0)
    case.wait_ready(0)
    case.load.start()
    case.load.wait_sent(80)
    case.wait_caught_up()
    case.terminate(0)
    fault = time.monotonic()
    _end_brokers(case, case.rng.choice(["kill", "stop"]))
    case.start(0, 1)
    wait_until(
        lambda: all(_is_waiting(case, number) for number in (0, 1)), "both workers wait", case.diagnosis
    )
    _start_brokers(case)
    _wait_continued(case, fault)


def _run_workers(case: Case) -> None:
    case.start(0, 1)
    case.wait_ready(0, 1)
    case.load.start()
    case.load.wait_sent(80 + case.rng.randrange(100))


def _end_brokers(case: Case, action: str) -> None:
    for node in case.plan.broker.nodes:
        getattr(node, action)()


def _start_brokers(case: Case) -> None:
    nodes: list[Any] = list(case.plan.broker.nodes)
    for node in nodes:
        node.launch()
    for node in nodes:
        node.wait_ready()


def _is_waiting(case: Case, number: int) -> bool:
    """Return whether a worker reports that it waits: healthy, so that it is not restarted, and not ready."""
    status, body = case.cluster.get("/healthz", number)
    ready = case.cluster.get("/readyz", number)[0]
    return status == 200 and ready == 503 and "waiting for Kafka" in body


def _wait_continued(case: Case, fault: float) -> None:
    """Wait until the backlog is processed, by the same worker processes."""
    case.wait_ready(0, 1)
    case.record_recovery(fault)
    ended = [number for number in (0, 1) if case.workers[number].poll() is not None]
    assert not ended, f"workers {ended} ended\n{case.diagnosis()}"
