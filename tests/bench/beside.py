"""A worker with a backfill, and with scans: how fast it reads history, and what live events notice of it.

One worker applies a history as fast as it can: the live rate. Then definitions with other windows are
published, so that all of it is read again: the rate of the backfill, of the same process. Then events arrive
at half of the live rate, at first alone, then beside another backfill, then beside scans without a pause.
Latency is from the append of an event to the append of its change, by the broker's clock.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from segops.brokers import LocalBroker
from segops.config import Settings
from segops.core.segments import Definition
from segops.kafka.definitions import read
from segops.operations import definitions, rollout
from segops.operations.plans import Wait, effect_of
from segops.operations.scans import scan
from segops.schemas.records import partition_of
from segops.schemas.scans import ForecastRequest

from .identity import UNSENT_MS, send_at, wait_until_ready
from .kafka import PARTITIONS, cpu_seconds, prepare, rates_of, running, samples, settings_for
from .peers import kafka as broker_times
from .peers.job import Record
from .peers.measure import percentile
from .workload import MIX, SEGMENTS, event, segments

#: Seconds of live events alone and beside scans, and those before latencies count.
LIVE_S, WARM_S = 20.0, 5.0
_LONGEST_S = 180.0
_TIMEOUT_S = 600.0
_WINDOWS = {
    "first": {"48h": "47h", "7d": "6d", "30d": "29d", "1d": "23h", "2d": "45h", "6h": "5h", "10m": "9m"},
    "second": {"48h": "46h", "7d": "5d", "30d": "28d", "1d": "22h", "2d": "44h", "6h": "4h", "10m": "8m"},
}


def measure(broker: LocalBroker, folder: Path, *, events: int, profiles: int) -> dict[str, float]:
    """Measure the rates, and the 99th percentiles of the latency at half load."""
    settings = settings_for(broker, folder, "at_least_once", clock="wall")
    asyncio.run(_fill(settings, events, profiles))
    with running(folder) as worker:
        live = rates_of(*samples(worker, settings, events), events)
        wait_until_ready(worker, settings)
        cpu_s, began_s = cpu_seconds(worker.pid), time.monotonic()
        asyncio.run(_publish(settings, "first"))
        wall_s, cpu_s = time.monotonic() - began_s, cpu_seconds(worker.pid) - cpu_s
        latencies = asyncio.run(_latencies(settings, live.per_second / 2, profiles))
    alone = latencies["alone"]
    return {
        "beside: live, events per second": live.per_second,
        "beside: live, events per CPU second": live.per_cpu_second,
        "beside: backfill from publication to in force, events per second": events / wall_s,
        "beside: the same, events per CPU second": events / cpu_s,
        "beside: backfill against live, by wall": events / wall_s / live.per_second,
        "beside: backfill against live, by CPU": events / cpu_s / live.per_cpu_second,
        **{f"beside: live p99 at half load, {name}, ms": ms for name, ms in latencies.items()},
        **{
            f"beside: live p99, {name} against alone": ms / alone
            for name, ms in latencies.items()
            if name != "alone"
        },
    }


async def _fill(settings: Settings, count: int, profiles: int) -> None:
    changes = {settings.topics.membership_changes: (PARTITIONS, broker_times.OUTPUT)}
    await broker_times.create(settings.kafka.bootstrap_servers, changes)
    await prepare(settings)
    await send_at(1e9, list(_records(0, count, profiles)), settings)


def _records(first: int, count: int, profiles: int) -> Iterator[Record]:
    rng = random.Random(first)
    names = [name for name, weight in MIX for _ in range(weight)]
    for number in range(first, first + count):
        user = f"u{int(profiles * rng.random() ** 2)}"
        value = msgspec.json.encode(event(rng, rng.choice(names), user, number, at_ms=UNSENT_MS))
        yield Record(user, partition_of(user.encode(), PARTITIONS), 0, value)


def edited(name: str) -> list[Definition]:
    """Return the ten segments with other windows, so that profiles hold hardly any of their features."""
    text = msgspec.json.encode(SEGMENTS).decode()
    for before, after in _WINDOWS[name].items():
        text = text.replace(f'"within":"{before}"', f'"within":"{after}"')
    return list(segments(msgspec.json.decode(text)).definitions)


async def _publish(settings: Settings, name: str) -> None:
    """Publish other windows, and wait until they are in force."""
    changes = await definitions.publish(settings, edited(name))
    await rollout.wait_until_in_force(settings, rollout.versions_of(changes), timeout_s=_TIMEOUT_S)


async def _latencies(settings: Settings, rate: float, profiles: int) -> dict[str, float]:
    """Return the 99th percentile of the latency for events alone, beside a backfill, and beside scans."""
    spans: dict[str, tuple[float, float]] = {}
    first = 10**9  # other message ids than those of the history
    for name, work in (
        ("alone", partial(asyncio.sleep, LIVE_S)),
        ("beside a backfill", partial(_publish, settings, "second")),
        ("beside forecasts", partial(_for_a_while, partial(_forecast, settings))),
        ("beside plans", partial(_for_a_while, partial(_plan, settings))),
    ):
        spans[name] = await _beside(settings, rate, first, profiles, work)
        first += 10**7
    found = await _measured(settings)
    return {
        name: percentile([taken for at, taken in found if begin <= at / 1000 < end], 0.99)
        for name, (begin, end) in spans.items()
    }


async def _beside(
    settings: Settings, rate: float, first: int, profiles: int, work: Callable[[], Awaitable[None]]
) -> tuple[float, float]:
    """Do some work while events arrive; return when it began and ended."""
    built = list(_records(first, int(rate * _LONGEST_S), profiles))
    live = asyncio.create_task(send_at(rate, built, settings))
    await asyncio.sleep(WARM_S)
    begun = time.time()
    await work()
    ended = time.time()
    if live.done():
        raise SystemExit("the events ended before the work beside them; raise _LONGEST_S")
    live.cancel()
    await asyncio.wait((live,))
    await asyncio.sleep(WARM_S)
    return begun, ended


async def _for_a_while(work: Callable[[], Awaitable[None]]) -> None:
    until = time.monotonic() + LIVE_S
    while time.monotonic() < until:
        await work()


async def _forecast(settings: Settings) -> None:
    await scan(settings, ForecastRequest(), wait_s=_TIMEOUT_S)


async def _plan(settings: Settings) -> None:
    log = await read(settings)
    fewer = [each for each in log.live.values() if each.key == "premium"]
    decide = partial(definitions.plan, definitions=fewer, prune=True)
    await effect_of(settings, decide, Wait(_TIMEOUT_S))


async def _measured(settings: Settings) -> list[tuple[int, int]]:
    """Return when each event arrived, and after how long its change, in milliseconds."""
    servers, topics = settings.kafka.bootstrap_servers, settings.topics
    arrived: dict[str, int] = {}
    for record in await broker_times.read(servers, topics.events):
        arrived[msgspec.json.decode(record.value)["messageId"]] = record.timestamp
    found = []
    for record in await broker_times.read(servers, topics.membership_changes):
        change: Any = msgspec.json.decode(record.value)
        if change["reason"] == "event":
            came_ms = arrived[change["event_id"]]
            found.append((came_ms, record.timestamp - came_ms))
    return found
