"""The collector with a tracking plan, against the same process without one: events per CPU second."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import uvloop

from segops.brokers import LocalBroker
from segops.brokers.network import wait_for
from segops.config import load
from segops.tracking.parsing import load as load_plans
from segops.tracking.published import publish

from .collector import BATCH, SECONDS, SOURCE, closed_loop, cpu_seconds, requests_of, running

#: One of this many events violates the plan: 5 %.
_EVERY: Final = 20
_WARM_UP_S: Final = 3
#: The type of an event -> where its properties are, and one that all events of the type have.
_PART_OF: Final = {
    "track": ("properties", "price"),
    "page": ("properties", "path"),
    "identify": ("traits", "plan"),
}
_PRODUCT: Final = {
    "required": ["product_id", "price", "quantity", "currency"],
    "properties": {
        "product_id": {"type": "string"},
        "sku": {"type": "string", "pattern": "^SKU-[0-9]+$"},
        "category": {"type": "string"},
        "brand": {"enum": ["Acme", "Globex", "Initech", "Umbrella"]},
        "price": {"type": "number", "minimum": 0},
        "quantity": {"type": "integer", "minimum": 1},
        "currency": {"enum": ["USD", "EUR"]},
        "order_id": {"type": "string"},
        "revenue": {"type": "number", "minimum": 0},
    },
}
_TEXTS: Final = {"additionalProperties": {"type": "string"}}
#: Those of the workload but for the last two, and two other calls: ten kinds of events.
_NAMES: Final = (
    "Product Viewed",
    "Product List Viewed",
    "Product Added",
    "Cart Viewed",
    "Checkout Started",
    "Order Completed",
    "Product Removed",
    "Order Refunded",
)


def measure(broker: LocalBroker, made: Sequence[tuple[str, bytes]], folder: Path) -> dict[str, float]:
    """Measure one collector process without a plan, then with plans that warn and that reject."""
    values = [value for _, value in made]
    conforming, violating = list(requests_of(values)), list(requests_of(list(_violating(values))))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, running(broker) as (pid, port):

        def rate(requests: Sequence[bytes]) -> float:
            return runner.run(_rate(pid, port, requests))

        def send(seconds: float) -> None:
            runner.run(closed_loop(port, violating, until_s=time.monotonic() + seconds))

        def violations_are(action: str) -> bool:
            send(0.1)
            return action in _metrics()

        def apply(mode: str, action: str) -> None:
            runner.run(publish(load(), load_plans(_plan_file(folder, mode))))
            if not wait_for(lambda: violations_are(action), within_s=30):
                raise RuntimeError("the plan does not come into force")

        send(_WARM_UP_S)
        found = {"without a plan": rate(conforming)}
        apply("warn", "warned")
        found |= {"all conform": rate(conforming), "5 % violate, warn": rate(violating)}
        apply("reject", "rejected")
        found["5 % violate, reject"] = rate(violating)
    return {f"collector: plan of 10 events, {name}, per CPU second": each for name, each in found.items()}


async def _rate(pid: int, port: int, requests: Sequence[bytes]) -> float:
    spent_s = cpu_seconds(pid)
    latencies = await closed_loop(port, requests, until_s=time.monotonic() + SECONDS)
    return BATCH * len(latencies) / (cpu_seconds(pid) - spent_s)


def _violating(values: Sequence[bytes]) -> Iterator[bytes]:
    for number, value in enumerate(values):
        event: dict[str, Any] = json.loads(value)
        part, name = _PART_OF[event["type"]]
        if number % _EVERY == 0:
            event[part][name] = {}
        yield json.dumps(event).encode()


def _plan_file(folder: Path, mode: str) -> Path:
    plan = {
        "source": SOURCE,
        "violations": mode,
        "unknown_events": mode,
        "events": {name: {"schema": _PRODUCT} for name in _NAMES},
        "page": {"schema": _TEXTS},
        "identify": {"schema": _TEXTS},
    }
    file = folder / f"plan-{mode}.yaml"
    file.write_text(json.dumps({"version": 1, "plans": [plan]}))
    return file


def _metrics() -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{load().collect.web_port}/metrics", timeout=5) as answer:
        return str(answer.read())
