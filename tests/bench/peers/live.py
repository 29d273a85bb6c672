"""segops by the wall clock: the latency from event to change, and the lateness of a burst of timers.

Both times are the broker's: the append of the event and the append of the change.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer

from segops.core.segments import SegmentSet
from segops.core.values import format_instant

from ..workload import MIX, event
from . import kafka
from .contestants import CONTESTANTS, Run, segops_environment
from .job import Record, definitions, skewed
from .ledger import Values, target
from .measure import percentile
from .process import Program
from .rounds import Setup, prepared

_SLICE_S = 0.02
_WARM_S, _LIVE_S = 8.0, 30.0
_TIMERS, _WAIT_MS = 100_000, 45_000
#: Seconds without output after which the output is complete, and the limit on waiting for it.
_SETTLED_S, _LATEST_S = 4.0, 180.0
#: Placeholder of the event time, which is filled in when the event is sent.
_UNSENT_MS = 1_000_000_000_000
_STAMPED = {"retention.ms": "-1", "message.timestamp.type": "LogAppendTime"}

SEGOPS = replace(
    CONTESTANTS["segops"],
    environment=lambda run: {**segops_environment(run), "SEGOPS_CLOCK": "wall"},
)


class _Sent(msgspec.Struct):
    messageId: str


class _Change(msgspec.Struct):
    reason: str
    occurred_at: int
    event_id: str | None


@dataclass
class BrokerTimes:
    """The broker's times after the run, in milliseconds."""

    #: (arrival, latency of its change) of each live event.
    latencies: list[tuple[int, int]]
    #: Delay of each change by time after its instant.
    lateness: list[int]


def latency(setup: Setup, rate: float) -> Values:
    """Measure latency at 5,000 events per second, and at half of ``rate``, the maximum of one process."""
    at = "event to change at 5,000 events per second"
    steady, half = _latencies(setup, 5_000), _latencies(setup, rate / 2)
    figures = {}
    for wanted, found in ((5_000.0, steady), (rate / 2, half)):
        middle, most, rare = (percentile(found, part) for part in (0.5, 0.99, 0.999))
        title = f"event to change at {wanted:,.0f} events per second, p50, p99, p99.9"
        figures[title] = f"{middle} ms, {most} ms, {rare} ms ({len(found):,} changes)"
    middle, most, busy = percentile(steady, 0.5), percentile(steady, 0.99), percentile(half, 0.99)
    return {
        "figures": figures,
        "targets": [
            target(f"{at}, p50", "under 10 ms", f"{middle} ms", middle < 10),
            target(f"{at}, p99", "under 50 ms", f"{most} ms", most < 50),
            target("event to change at half load, p99", "under 150 ms", f"{busy} ms", busy < 150),
        ],
    }


def _latencies(setup: Setup, rate: float) -> list[int]:
    """Return the milliseconds from event to change at this many events per second."""

    async def drive(sender: Sender) -> None:
        await sender.live(rate, _WARM_S + _LIVE_S)

    begun_ms, times = _measure(setup, setup.segments, drive)
    return [taken for at, taken in times.latencies if at >= begun_ms + _WARM_S * 1000]


def timers(setup: Setup, rate: float) -> Values:
    """Measure 100,000 timers due within one second.

    Live events come beside them: 2,500 a second, or a quarter of ``rate`` if that is less.
    """
    due = {"waits": {"did": "Waits", "within": f"{_WAIT_MS // 1000}s"}}
    forms = {definition.key: definition.written for definition in setup.segments.definitions}
    flood_ms = 0

    async def drive(sender: Sender) -> None:
        nonlocal flood_ms
        flood_ms = sender.now_ms()
        await sender.waiting(_TIMERS, flood_ms)
        left_s = (flood_ms + _WAIT_MS - sender.now_ms()) / 1000
        await sender.live(min(2_500, rate / 4), left_s + 10)

    _, times = _measure(setup, SegmentSet(definitions({**forms, **due})), drive)
    fires_ms = flood_ms + _WAIT_MS
    calm = [taken for at, taken in times.latencies if fires_ms - 12_000 <= at < fires_ms - 1_000]
    over_ms = fires_ms + max(times.lateness)
    busy = [taken for at, taken in times.latencies if fires_ms <= at < over_ms]
    late, before, during = percentile(times.lateness, 0.99), percentile(calm, 0.99), percentile(busy, 0.99)
    return {
        "figures": {
            f"{len(times.lateness):,} timers due in one second, lateness p50, p99, max": (
                f"{percentile(times.lateness, 0.5)} ms, {late} ms, {max(times.lateness)} ms"
            ),
            "live p99 before and during the burst": f"{before} ms, {during} ms",
        },
        "targets": [
            target("100,000 timers in one second, lateness p99", "under 2 s", f"{late} ms", late < 2_000),
            target(
                "live p99 during the burst",
                "at most doubled",
                f"{during / before:.1f} times",
                during <= 2 * before,
            ),
        ],
    }


def _measure(
    setup: Setup, segments: SegmentSet, drive: Callable[[Sender], Awaitable[None]]
) -> tuple[int, BrokerTimes]:
    """Start a worker without input, send events, wait for the output, and read the broker's times."""
    empty = replace(setup, records=[], segments=segments)
    with prepared(empty, [SEGOPS], configs=_STAMPED) as runs:
        run = runs[SEGOPS.name]
        with Program(SEGOPS.command(run), SEGOPS.environment(run), run.folder):
            begun_ms = asyncio.run(_drive(empty, run, drive))
        return begun_ms, asyncio.run(_broker_times(run))


async def _drive(setup: Setup, run: Run, drive: Callable[[Sender], Awaitable[None]]) -> int:
    producer = AIOKafkaProducer(bootstrap_servers=run.servers, acks="all", compression_type="lz4")
    await producer.start()
    try:
        sender = Sender(producer, run.input, setup)
        await sender.live(200, 5)  # lets the worker start and catch up
        begun_ms = sender.now_ms()
        await drive(sender)
        await _wait_for_output(run)
    finally:
        await producer.stop()
    return begun_ms


async def _wait_for_output(run: Run) -> None:
    begun = since = time.monotonic()
    seen = 0
    async with kafka.consumer(run.servers) as reader:
        runs = await kafka.partitions_of(reader, SEGOPS.output(run))
        while time.monotonic() - since < _SETTLED_S and time.monotonic() - begun < _LATEST_S:
            found = await kafka.count(reader, runs)
            if found != seen:
                seen, since = found, time.monotonic()
            await asyncio.sleep(_SLICE_S)


@dataclass
class Sender:
    """Sends events with the current time, in slices of 20 ms."""

    producer: AIOKafkaProducer
    topic: str
    setup: Setup
    number: int = 0

    def now_ms(self) -> int:
        """Return the wall-clock time."""
        return int(time.time() * 1000)

    async def live(self, rate: float, seconds: float) -> None:
        """Send the shop's events at a constant rate."""
        made = self._events(int(rate * seconds) + 1)
        begun, sent = time.monotonic(), 0
        while (passed := time.monotonic() - begun) < seconds:
            due = int(passed * rate) - sent
            await self._send([next(made) for _ in range(due)])
            sent += due
            await asyncio.sleep(_SLICE_S)

    async def waiting(self, count: int, at_ms: int) -> None:
        """Send one event each of ``count`` profiles, all within one second from ``at_ms``."""
        unsent, made = format_instant(_UNSENT_MS), []
        for number in range(count):
            form = {"type": "track", "event": "Waits", "userId": f"w{number}", "messageId": f"w{number}"}
            value = msgspec.json.encode({**form, "timestamp": unsent})
            stamp = format_instant(at_ms + number * 1_000 // count).encode()
            user = f"w{number}"
            partition = self.setup.job.partition(user)
            made.append(Record(user, partition, at_ms, value.replace(unsent.encode(), stamp)))
        await self._send(made)

    def _events(self, count: int) -> Iterator[Record]:
        """Build events in advance: building one costs more than sending it."""
        dice, profiles = random.Random(self.number), self.setup.job.profiles
        names = [name for name, weight in MIX for _ in range(weight)]
        unsent, made = format_instant(_UNSENT_MS).encode(), []
        for _ in range(count):
            self.number += 1
            user = f"u{skewed(dice, profiles)}"
            form = event(dice, dice.choice(names), user, self.number, at_ms=_UNSENT_MS)
            made.append((user, self.setup.job.partition(user), msgspec.json.encode(form)))
        for user, partition, value in made:
            now_ms = self.now_ms()
            stamp = format_instant(now_ms).encode()
            yield Record(user, partition, now_ms, value.replace(unsent, stamp))

    async def _send(self, records: Sequence[Record]) -> None:
        await kafka.send_all(self.producer, self.topic, records)


async def _broker_times(run: Run) -> BrokerTimes:
    sent = msgspec.json.Decoder(_Sent).decode
    arrived = {sent(r.value).messageId: r.timestamp for r in await kafka.read(run.servers, run.input)}
    read = msgspec.json.Decoder(_Change).decode
    times = BrokerTimes([], [])
    for record in await kafka.read(run.servers, SEGOPS.output(run)):
        change: Any = read(record.value)
        if change.reason == "time":
            times.lateness.append(record.timestamp - change.occurred_at)
        elif not change.event_id.startswith("w"):
            came_ms = arrived[change.event_id]
            times.latencies.append((came_ms, record.timestamp - came_ms))
    return times
