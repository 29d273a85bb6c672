"""Brokers that are away: workers wait for them, and go on in the same process."""

from __future__ import annotations

import time
from typing import Any

from ..streaming.helpers import wait_until
from .cluster import Case

_OUTAGE_S = 90.0
_LONG_OUTAGE_S = 300.0


def restart(case: Case) -> None:
    """All brokers end, in good order or not, and come back at once."""
    _working(case)
    way = case.dice.choice(["kill", "stop"])
    case.notes.append(way)
    fault = time.monotonic()
    _end(case, way)
    time.sleep(case.dice.random() * 4)
    _start(case)
    _went_on(case, fault)


def away(case: Case, seconds: float = _OUTAGE_S) -> None:
    """All brokers are away, and the events of that time come when they are back."""
    _working(case)
    way = case.dice.choice(["kill", "stop"])
    case.notes.append(way)
    fault = time.monotonic()
    _end(case, way)
    wait_until(lambda: all(_waits(case, number) for number in (0, 1)), "both wait", case.diagnosis)
    while time.monotonic() < fault + seconds:
        assert all(_waits(case, number) for number in (0, 1)), case.diagnosis()
        time.sleep(1)
    _start(case)
    _went_on(case, fault)


def away_for_long(case: Case) -> None:
    """The same for minutes."""
    away(case, _LONG_OUTAGE_S)


def started_without(case: Case) -> None:
    """Workers are started while there is no broker: with an empty store, and with one from before."""
    case.start(0)
    case.ready(0)
    case.load.start()
    case.load.wait_sent(80)
    case.caught_up()
    case.term(0)
    fault = time.monotonic()
    _end(case, case.dice.choice(["kill", "stop"]))
    case.start(0, 1)
    wait_until(lambda: all(_waits(case, number) for number in (0, 1)), "both wait", case.diagnosis)
    _start(case)
    _went_on(case, fault)


def _working(case: Case) -> None:
    case.start(0, 1)
    case.ready(0, 1)
    case.load.start()
    case.load.wait_sent(80 + case.dice.randrange(100))


def _end(case: Case, way: str) -> None:
    for node in case.plan.broker.nodes:
        getattr(node, way)()


def _start(case: Case) -> None:
    nodes: list[Any] = list(case.plan.broker.nodes)
    for node in nodes:
        node.launch()
    for node in nodes:
        node.wait_ready()


def _waits(case: Case, number: int) -> bool:
    """Whether a worker says that it waits: alive for whoever would restart it, and not ready."""
    status, body = case.rig.get("/healthz", number)
    ready = case.rig.get("/readyz", number)[0]
    return status == 200 and ready == 503 and "waiting for Kafka" in body


def _went_on(case: Case, fault: float) -> None:
    """Until all is worked off, by the processes that were there before."""
    case.ready(0, 1)
    case.recovered(fault)
    ended = [number for number in (0, 1) if case.workers[number].poll() is not None]
    assert not ended, f"workers {ended} ended\n{case.diagnosis()}"
