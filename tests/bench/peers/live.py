"""segops by the wall clock: from an event's arrival to its change, and how late a flood of timers is.

Both times are the broker's: when the event was appended, and when the change was.
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
from .contestants import CONTESTANTS, Place, segops_environment
from .job import Record, definitions, skewed
from .ledger import Values, target
from .measure import percentile
from .process import Program
from .turns import Ground, laid

_SLICE_S = 0.02
_WARM_S, _LIVE_S = 8.0, 30.0
_TIMERS, _WAIT_MS = 100_000, 45_000
#: Everything has been said when nothing was for so long; after this it is too late.
_SETTLED_S, _LATEST_S = 4.0, 180.0
#: Stands where the time of an event is written when it is sent.
_UNSENT_MS = 1_000_000_000_000
_STAMPED = {"retention.ms": "-1", "message.timestamp.type": "LogAppendTime"}

SEGOPS = replace(
    CONTESTANTS["segops"],
    environment=lambda place: {**segops_environment(place), "SEGOPS_CLOCK": "wall"},
)


class _Sent(msgspec.Struct):
    messageId: str


class _Change(msgspec.Struct):
    reason: str
    occurred_at: int
    event_id: str | None


@dataclass
class Heard:
    """What the broker knows afterwards, in milliseconds."""

    #: When a live event arrived and how long its change took: (arrival, latency).
    latencies: list[tuple[int, int]]
    #: How long after its instant a change that time caused was there.
    lateness: list[int]


def latency(ground: Ground, rate: float) -> Values:
    """At half of ``rate`` (events per second, the most that one process does here)."""
    wanted = rate / 2

    async def drive(sender: Sender) -> None:
        await sender.live(wanted, _WARM_S + _LIVE_S)

    begun_ms, heard = _play(ground, ground.segments, drive)
    found = [taken for at, taken in heard.latencies if at >= begun_ms + _WARM_S * 1000]
    middle, most, rare = (percentile(found, part) for part in (0.5, 0.99, 0.999))
    title = f"event to change at {wanted:,.0f} events per second"
    return {
        "figures": {
            f"{title}, p50, p99, p99.9": f"{middle} ms, {most} ms, {rare} ms ({len(found):,} changes)"
        },
        "targets": [
            target("event to change at half load, p50", "under 15 ms", f"{middle} ms", middle < 15),
            target("event to change at half load, p99", "under 50 ms", f"{most} ms", most < 50),
        ],
    }


def timers(ground: Ground, rate: float) -> Values:
    """100,000 timers due within one second, while live events go on at a quarter of ``rate``."""
    due = {"waits": {"did": "Waits", "within": f"{_WAIT_MS // 1000}s"}}
    forms = {definition.key: definition.written for definition in ground.segments.definitions}
    flood_ms = 0

    async def drive(sender: Sender) -> None:
        nonlocal flood_ms
        flood_ms = sender.now_ms()
        await sender.waiting(_TIMERS, flood_ms)
        left_s = (flood_ms + _WAIT_MS - sender.now_ms()) / 1000
        await sender.live(rate / 4, left_s + 10)

    _, heard = _play(ground, SegmentSet(definitions({**forms, **due})), drive)
    fires_ms = flood_ms + _WAIT_MS
    calm = [taken for at, taken in heard.latencies if fires_ms - 12_000 <= at < fires_ms - 1_000]
    over_ms = fires_ms + max(heard.lateness)
    busy = [taken for at, taken in heard.latencies if fires_ms <= at < over_ms]
    late, before, during = percentile(heard.lateness, 0.99), percentile(calm, 0.99), percentile(busy, 0.99)
    return {
        "figures": {
            f"{len(heard.lateness):,} timers due in one second, lateness p50, p99, most": (
                f"{percentile(heard.lateness, 0.5)} ms, {late} ms, {max(heard.lateness)} ms"
            ),
            "live p99 before and meanwhile": f"{before} ms, {during} ms",
        },
        "targets": [
            target("100,000 timers in one second, lateness p99", "under 2 s", f"{late} ms", late < 2_000),
            target(
                "live p99 meanwhile", "at most doubled", f"{during / before:.1f} times", during <= 2 * before
            ),
        ],
    }


def _play(
    ground: Ground, segments: SegmentSet, drive: Callable[[Sender], Awaitable[None]]
) -> tuple[int, Heard]:
    """Start a worker on no input, send, wait, and read what the broker saw."""
    empty = replace(ground, records=[], segments=segments)
    with laid(empty, [SEGOPS], configs=_STAMPED) as places:
        place = places[SEGOPS.name]
        with Program(SEGOPS.command(place), SEGOPS.environment(place), place.folder):
            begun_ms = asyncio.run(_drive(empty, place, drive))
        return begun_ms, asyncio.run(_heard(place))


async def _drive(ground: Ground, place: Place, drive: Callable[[Sender], Awaitable[None]]) -> int:
    producer = AIOKafkaProducer(bootstrap_servers=place.servers, acks="all", compression_type="lz4")
    await producer.start()
    try:
        sender = Sender(producer, place.input, ground)
        await sender.live(200, 5)  # a worker that has not started catches up here
        begun_ms = sender.now_ms()
        await drive(sender)
        await _settled(place)
    finally:
        await producer.stop()
    return begun_ms


async def _settled(place: Place) -> None:
    begun = since = time.monotonic()
    seen = 0
    async with kafka.consumer(place.servers) as reader:
        places = await kafka.reading(reader, SEGOPS.output(place))
        while time.monotonic() - since < _SETTLED_S and time.monotonic() - begun < _LATEST_S:
            found = await kafka.count(reader, places)
            if found != seen:
                seen, since = found, time.monotonic()
            await asyncio.sleep(_SLICE_S)


@dataclass
class Sender:
    """Sends events as of now, in slices of 20 ms."""

    producer: AIOKafkaProducer
    topic: str
    ground: Ground
    number: int = 0

    def now_ms(self) -> int:
        """The wall clock."""
        return int(time.time() * 1000)

    async def live(self, rate: float, seconds: float) -> None:
        """The shop's events at an even pace."""
        made = self._events(int(rate * seconds) + 1)
        begun, sent = time.monotonic(), 0
        while (passed := time.monotonic() - begun) < seconds:
            due = int(passed * rate) - sent
            await self._send([next(made) for _ in range(due)])
            sent += due
            await asyncio.sleep(_SLICE_S)

    async def waiting(self, count: int, at_ms: int) -> None:
        """One event each of ``count`` profiles, all within one second from ``at_ms`` on."""
        unsent, made = format_instant(_UNSENT_MS), []
        for number in range(count):
            form = {"type": "track", "event": "Waits", "userId": f"w{number}", "messageId": f"w{number}"}
            value = msgspec.json.encode({**form, "timestamp": unsent})
            stamp = format_instant(at_ms + number * 1_000 // count).encode()
            user = f"w{number}"
            partition = self.ground.job.partition(user)
            made.append(Record(user, partition, at_ms, value.replace(unsent.encode(), stamp)))
        await self._send(made)

    def _events(self, count: int) -> Iterator[Record]:
        """Made before they are needed: making one costs more than sending it."""
        dice, profiles = random.Random(self.number), self.ground.job.profiles
        names = [name for name, weight in MIX for _ in range(weight)]
        unsent, made = format_instant(_UNSENT_MS).encode(), []
        for _ in range(count):
            self.number += 1
            user = f"u{skewed(dice, profiles)}"
            form = event(dice, dice.choice(names), user, self.number, at_ms=_UNSENT_MS)
            made.append((user, self.ground.job.partition(user), msgspec.json.encode(form)))
        for user, partition, value in made:
            now_ms = self.now_ms()
            stamp = format_instant(now_ms).encode()
            yield Record(user, partition, now_ms, value.replace(unsent, stamp))

    async def _send(self, records: Sequence[Record]) -> None:
        await kafka.send_all(self.producer, self.topic, records)


async def _heard(place: Place) -> Heard:
    sent = msgspec.json.Decoder(_Sent).decode
    arrived = {sent(r.value).messageId: r.timestamp for r in await kafka.read(place.servers, place.input)}
    read = msgspec.json.Decoder(_Change).decode
    heard = Heard([], [])
    for record in await kafka.read(place.servers, SEGOPS.output(place)):
        change: Any = read(record.value)
        if change.reason == "time":
            heard.lateness.append(record.timestamp - change.occurred_at)
        elif not change.event_id.startswith("w"):
            came_ms = arrived[change.event_id]
            heard.latencies.append((came_ms, record.timestamp - came_ms))
    return heard
