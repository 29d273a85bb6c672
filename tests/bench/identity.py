"""The time until the events of an anonymous visitor are part of the profile of their login."""

from __future__ import annotations

import asyncio
import random
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from aiokafka import AIOKafkaProducer

from segops.brokers import LocalBroker
from segops.config import Settings
from segops.core.values import format_instant
from segops.schemas.records import partition_of

from .kafka import PARTITIONS, page, prepare, running, settings_for
from .peers.job import Record
from .peers.kafka import send_all
from .workload import MIX, device, event

_BUCKET = re.compile(r'segops_merge_convergence_seconds_bucket\{le="([^"]+)"\} (\S+)')
_MERGES = re.compile(r"^segops_merges_total (\S+)", re.MULTILINE)
_VISITORS = 2_000  # concurrent
_VIEWS = 5  # per visitor before the login
_VISIT = 10  # events per visitor in total
_WARM_S = 8.0
_SLICE_S = 0.02
#: Placeholder of the event time, which is filled in when the event is sent.
UNSENT_MS = 1_000_000_000_000
_UNSENT = format_instant(UNSENT_MS).encode()


def measure(broker: LocalBroker, folder: Path, *, rate: float, seconds: int = 20) -> dict[str, float]:
    """Measure quantiles of the time from a first claim to a merged profile, at ``rate`` events per second."""
    figures: dict[str, float] = {"identity: events per second": rate}
    for guarantee in ("at_least_once", "exactly_once"):
        settings = settings_for(broker, folder, guarantee, clock="wall")
        asyncio.run(prepare(settings))
        with running(folder) as worker:
            wait_until_ready(worker, settings)
            asyncio.run(_visits(settings, rate, range(int(rate * _WARM_S))))
            before = _final_counts(settings)
            asyncio.run(_visits(settings, rate, range(int(rate * _WARM_S), int(rate * (_WARM_S + seconds)))))
            found = _convergence(before, _final_counts(settings))
        figures |= {f"identity: {guarantee}, {name}": figure for name, figure in found.items()}
    return figures


def wait_until_ready(worker: subprocess.Popen[bytes], settings: Settings) -> None:
    """Wait until a worker has its partitions."""
    while not page(settings, "readyz"):
        if worker.poll() is not None:
            raise SystemExit("the worker ended; see its log")
        time.sleep(0.2)


async def _visits(settings: Settings, rate: float, numbers: range) -> None:
    await send_at(rate, list(_records(numbers)), settings)


async def send_at(rate: float, built: Sequence[Record], settings: Settings) -> None:
    """Send records at a constant rate, with the current time for ``UNSENT_MS``.

    They are built in advance: building an event costs more than sending it.
    """
    count = len(built)
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers, acks="all")
    await producer.start()
    try:
        begun, sent = time.monotonic(), 0
        while sent < count:
            due = min(count, int((time.monotonic() - begun) * rate))
            await send_all(producer, settings.topics.events, map(_now, built[sent:due]))
            sent = due
            await asyncio.sleep(_SLICE_S)
    finally:
        await producer.stop()


def _records(numbers: range) -> Iterator[Record]:
    rng = random.Random(numbers.start)
    names = [name for name, weight in MIX for _ in range(weight) if name != "identify"]
    for number in numbers:
        user, value = _event(rng, names, number)
        yield Record(user, partition_of(user.encode(), PARTITIONS), 0, value)


def _now(built: Record) -> Record:
    now_ms = int(time.time() * 1000)
    return built._replace(at_ms=now_ms, value=built.value.replace(_UNSENT, format_instant(now_ms).encode()))


def _event(rng: random.Random, names: list[str], number: int) -> tuple[str, bytes]:
    """Return an event of a visitor, who logs in during the visit and is then replaced by a new visitor.

    Visits are staggered, so that logins are spread evenly.
    """
    cycle, place = divmod(number, _VISITORS)
    visit, step = divmod(cycle + place % _VISIT, _VISIT)
    user = f"v{visit * _VISITORS + place}"
    name = "identify" if step == _VIEWS else rng.choice(names)
    built = event(rng, name, user, number, at_ms=UNSENT_MS)
    built["anonymousId"] = device(user, 0)
    if step < _VIEWS:
        del built["userId"]
    return user, msgspec.json.encode(built)


class _Counts(NamedTuple):
    merges: float
    #: Histogram: upper edge in seconds -> cumulative count.
    buckets: dict[float, float]


def _final_counts(settings: Settings) -> _Counts:
    """Return the worker's counts once they no longer change."""
    text, before = page(settings, "metrics"), ""
    while _MERGES.findall(text) != _MERGES.findall(before):
        time.sleep(2)
        text, before = page(settings, "metrics"), text
    buckets = {float(edge): float(count) for edge, count in _BUCKET.findall(text)}
    return _Counts(float(_MERGES.findall(text)[0]), buckets)


def _convergence(before: _Counts, after: _Counts) -> dict[str, float]:
    buckets = [(edge, count - before.buckets[edge]) for edge, count in after.buckets.items()]
    return {
        "merges": after.merges - before.merges,
        "convergence p50, ms": 1000 * quantile(buckets, 0.5),
        "convergence p99, ms": 1000 * quantile(buckets, 0.99),
    }


def quantile(buckets: Sequence[tuple[float, float]], share: float) -> float:
    """Interpolate a quantile of cumulative buckets; return the last finite edge beyond it."""
    wanted, low, below = share * buckets[-1][1], 0.0, 0.0
    for edge, count in buckets:
        if count >= wanted and count > below:
            return low if edge == float("inf") else low + (edge - low) * (wanted - below) / (count - below)
        low, below = min(edge, 1e9), count
    return low
