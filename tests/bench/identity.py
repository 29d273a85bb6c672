"""How long it takes until what an anonymous visitor did is part of the profile that they log in to."""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from segops.brokers import LocalBroker
from segops.config import Settings
from segops.streaming.load import Load, send_all

from .kafka import metrics_page, prepare, running, settings_for
from .workload import MIX, device, event

_BUCKET = re.compile(r'segops_merge_convergence_seconds_bucket\{le="([^"]+)"\} (\S+)')
_MERGES = re.compile(r"^segops_merges_total (\S+)", re.MULTILINE)
_VISITORS = 2_000  # at the same time
_VIEWS = 5  # of each before the log-in
_VISIT = 10  # events of each in all


def measure(broker: LocalBroker, folder: Path, *, rate: float, seconds: int = 20) -> dict[str, float]:
    """Quantiles of the time from a first claim to a whole profile, at ``rate`` events a second."""
    figures: dict[str, float] = {"identity: events a second": rate}
    for guarantee in ("at_least_once", "exactly_once"):
        settings = settings_for(broker, folder, guarantee, clock="wall")
        asyncio.run(prepare(settings))
        with running(folder) as worker:
            _until_up(worker, settings)
            asyncio.run(_visits(settings, rate, int(rate * seconds)))
            found = _convergence(settings)
        figures |= {f"identity: {guarantee}, {name}": figure for name, figure in found.items()}
    return figures


def _until_up(worker: subprocess.Popen[bytes], settings: Settings) -> None:
    while not _MERGES.search(metrics_page(settings)):
        if worker.poll() is not None:
            raise SystemExit("the worker ended; see its log")
        time.sleep(0.2)


async def _visits(settings: Settings, rate: float, count: int) -> None:
    rng = random.Random(5)
    names = [name for name, weight in MIX for _ in range(weight) if name != "identify"]

    async def slices() -> AsyncIterator[Sequence[bytes]]:
        for number in range(count):
            yield [_event(rng, names, number)]

    await send_all(settings, Load(settings.topics.events, rate=rate), slices())


def _event(rng: random.Random, names: list[str], number: int) -> bytes:
    """An event of a visitor, who logs in amid a visit; then the next one comes in their place."""
    turn, place = divmod(number, _VISITORS)
    visit, step = divmod(turn, _VISIT)
    user = f"v{visit * _VISITORS + place}"
    name = "identify" if step == _VIEWS else rng.choice(names)
    made = event(rng, name, user, number, at_ms=int(time.time() * 1000))
    made["anonymousId"] = device(user, 0)
    if step < _VIEWS:
        del made["userId"]
    return json.dumps(made).encode()


def _convergence(settings: Settings) -> dict[str, float]:
    page, before = metrics_page(settings), ""
    while _MERGES.findall(page) != _MERGES.findall(before):
        time.sleep(2)
        page, before = metrics_page(settings), page
    buckets = [(float(edge), float(count)) for edge, count in _BUCKET.findall(page)]
    return {
        "merges": float(_MERGES.findall(page)[0]),
        "convergence p50, ms": 1000 * quantile(buckets, 0.5),
        "convergence p99, ms": 1000 * quantile(buckets, 0.99),
    }


def quantile(buckets: Sequence[tuple[float, float]], share: float) -> float:
    """Of a histogram's cumulated buckets, evenly filled; its last finite edge when it is beyond that."""
    wanted, low, below = share * buckets[-1][1], 0.0, 0.0
    for edge, count in buckets:
        if count >= wanted and count > below:
            return low if edge == float("inf") else low + (edge - low) * (wanted - below) / (count - below)
        low, below = min(edge, 1e9), count
    return low
