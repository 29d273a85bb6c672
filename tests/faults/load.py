"""The event load: a seeded stream of events, sent by a background thread."""

from __future__ import annotations

import asyncio
import json
import random
import re
import threading
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import yaml
from aiokafka import AIOKafkaProducer

from segops.core.values import format_instant
from segops.schemas.ticks import TICK_HEADERS

BASE_MS = 1_760_000_000_000
#: One unit of the windows in ``segments.yaml``, by clock.
UNIT_MS = {"event": 60_000, "wall": 500}
LONGEST_UNITS = 12
_NAMES = ["Product Viewed"] * 5 + ["Product Added"] * 2 + ["Order Completed"] * 2 + ["identify"]


def segment_text(clock: str) -> str:
    """Return the segment file with its windows in the units of ``clock``."""
    return _in_units((Path(__file__).parent / "segments.yaml").read_text(), clock)


def _in_units(text: str, clock: str) -> str:
    unit_ms = UNIT_MS[clock]
    return re.sub(r"\b(\d+)u\b", lambda found: f"{int(found[1]) * unit_ms}ms", text)


#: Keys of the segments that ``earlier_text`` lacks, and the rules of those it has otherwise.
_LATER = ("curious", "funnel", "champions", "cooling", "nearby", "half", "big-spenders", "loyal")
_EARLIER: dict[str, Any] = {
    "regulars": {"did": "Order Completed", "count": {"gte": 2}},
    "spenders": {"sum": "total", "of": "Order Completed", "within": "3u", "is": {"gte": 100}},
    "often": {"did": "Product Viewed", "count": {"gte": 2}, "within": "4u"},
}


def earlier_text(clock: str) -> str:
    """Return a segment file that ``segment_text`` may follow: with fewer segments, and others' former rules.

    What follows counts the past: features that profiles lack, a longer window, more entries.
    """
    form = yaml.safe_load((Path(__file__).parent / "segments.yaml").read_text())
    form["segments"] = [
        {**each, "when": _EARLIER.get(each["key"], each["when"])}
        for each in form["segments"]
        if each["key"] not in _LATER
    ]
    return _in_units(yaml.safe_dump(form), clock)


@dataclass
class Shape:
    """The size and kind of a load.

    ``skew_ms`` shifts some events by this much either way; with ``logins``, users log in on several devices.
    An ``endless`` load goes on with further users after its ``events``, until it is to finish.
    """

    events: int = 300
    users: int = 20
    per_second: float = 60.0
    step_ms: int = 2_000
    copies: int = 2
    skew_ms: int = 0
    logins: bool = False
    endless: bool = False


@dataclass
class Draft:
    """An event without its timestamp. ``repeats`` is the number of an earlier draft to send once more."""

    number: int
    partition: int
    form: dict[str, Any]
    late_ms: int = 0
    repeats: int | None = None


def drafts(seed: int, partitions: int, shape: Shape) -> Iterator[Draft]:
    """Yield the stream of ``seed``, without end: identified, email-only and anonymous users.

    Some events are late or repeated. After each ``shape.events``, other users take their turn.
    """
    rng = random.Random(seed)
    for number in count():
        user = rng.randrange(shape.users) + number // shape.events * shape.users
        # Most users' events stay in one partition, as a keyed producer's do; the others' go to any.
        anywhere = shape.logins or user % 5 == 0
        partition = rng.randrange(partitions) if anywhere else user % partitions
        if number > 20 and rng.random() < 0.05:
            for _ in range(rng.randrange(1, shape.copies)):
                yield Draft(number, partition, {}, repeats=rng.randrange(number))
        late_ms = rng.choice([1, 30_000, 200_000]) if rng.random() < 0.06 else 0
        if shape.skew_ms and rng.random() < 0.1:
            late_ms = rng.choice([-shape.skew_ms, shape.skew_ms])
        identifiers = _device_identifiers(rng, user) if shape.logins else _identifiers(user)
        yield Draft(number, partition, {**_form(rng, seed, number), **identifiers}, late_ms)


def _form(rng: random.Random, seed: int, number: int) -> dict[str, Any]:
    name = rng.choice(_NAMES)
    form: dict[str, Any] = {"type": "identify"} if name == "identify" else {"type": "track", "event": name}
    form["properties"] = {"total": rng.randrange(10, 200), "product": f"p{rng.randrange(6)}"}
    if rng.random() < 0.97:  # without a message id, the record's partition and offset identify the event
        form["messageId"] = f"m{seed}-{number}"
    if name == "identify":
        form["traits"] = {"plan": rng.choice(["pro", "free", None])}
    if rng.random() < 0.1:
        form["context"] = {
            "location": {"latitude": rng.choice([48.85, 45.0]), "longitude": rng.choice([2.35, 2.36])}
        }
    return form


def _device_identifiers(rng: random.Random, user: int) -> dict[str, Any]:
    """Return identifiers of a user with two devices; every fourth user also uses another user's."""
    owner = user + 1 if user % 4 == 0 and rng.random() < 0.2 else user
    device = {"anonymousId": f"a{owner}-{rng.randrange(2)}"}
    known, mailed = {"userId": f"u{user}"}, {"context": {"traits": {"email": f"p{user}@shop.example"}}}
    return rng.choice([device, device, known, {**device, **known}, {**device, **mailed}, {**known, **mailed}])


def _identifiers(user: int) -> dict[str, Any]:
    if user % 5 == 3:
        return {"anonymousId": f"a{user}"}
    if user % 5 == 4:
        return {"context": {"traits": {"email": f"p{user}@shop.example"}}}
    return {"userId": f"u{user}"}


@dataclass(frozen=True)
class Target:
    """The topic of a load and the clock that dates its events."""

    bootstrap_servers: str
    topic: str
    partitions: int
    clock: str


class EventLoad:
    """Sends events at a steady rate until ``finish``, which sends the rest at once and the final tick."""

    def __init__(self, target: Target, seed: int, shape: Shape) -> None:
        self.target = target
        self.sent = 0
        self.last_ms = 0
        self.values: list[bytes] = []
        self.error: BaseException | None = None
        self._shape = shape
        self._drafts = takewhile(self._is_wanted, drafts(seed, target.partitions, shape))
        self._finishing = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._producer: AIOKafkaProducer | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._done = threading.Event()
        self._loop_thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._loop_thread.start()

    @property
    def final_ms(self) -> int:
        """An instant after every window of every event sent so far has closed."""
        span_ms = self._shape.step_ms * self.sent
        return BASE_MS + span_ms + (LONGEST_UNITS + 4) * UNIT_MS["event"] + self._shape.skew_ms

    def start(self) -> None:
        """Start sending."""
        self._thread.start()
        self._ready.wait(30)

    def finish(self) -> None:
        """Send the remaining events without pauses, then the final tick that advances all clocks."""
        self._finishing.set()
        if not self._done.wait(600):
            raise AssertionError(f"sent only {self.sent} events")
        if self.error is not None:
            raise self.error
        if self.target.clock == "event":
            self.tick(self.final_ms)

    def tick(self, at_ms: int) -> None:
        """Advance all clocks to ``at_ms``."""
        value = json.dumps({"watermark_ms": at_ms, "end": True}).encode()
        for partition in range(self.target.partitions):
            self.put(partition, value, headers=TICK_HEADERS)

    def close(self) -> None:
        """Stop sending and close the producer."""
        self._finishing.set()
        if self._thread.is_alive():
            self._thread.join(30)
        if self._producer is not None:
            self._call(self._producer.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._loop_thread.join(10)
        self._loop.close()

    def put(self, partition: int, value: bytes | None, **more: Any) -> str:
        """Send one record, wait for its acknowledgement and return its ``topic:partition:offset``."""
        assert self._producer is not None
        sent = self._producer.send_and_wait(self.target.topic, value, partition=partition, **more)
        return f"{self.target.topic}:{partition}:{self._call(sent).offset}"

    def put_soon(self, partition: int, value: bytes) -> None:
        """Send one record without waiting for its acknowledgement."""
        assert self._producer is not None
        self._call(self._producer.send(self.target.topic, value, partition=partition))

    def wait_sent(self, count: int) -> None:
        """Wait until this many events have been sent, or all."""
        while self.sent < count and not self._done.is_set():
            time.sleep(0.02)

    def wait_done(self) -> None:
        """Wait until all events have been sent, without the final tick."""
        self._done.wait(600)

    def _is_wanted(self, draft: Draft) -> bool:
        """Return whether a draft is to be sent: those of an endless load until it is to finish."""
        goes_on = self._shape.endless and not self._finishing.is_set()
        return goes_on or draft.number < self._shape.events

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(600)

    def _run(self) -> None:
        try:
            self._call(self._open())
            self._ready.set()
            started = time.monotonic()
            for draft in self._drafts:
                self._call(self._send(draft, self.sent))
                self.sent += 1
                due = started + self.sent / self._shape.per_second
                self._finishing.wait(max(0.0, due - time.monotonic()))
            assert self._producer is not None
            self._call(self._producer.flush())
        except BaseException as error:
            self.error = error
        finally:
            self._ready.set()
            self._done.set()

    async def _open(self) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self.target.bootstrap_servers,
            acks="all",
            enable_idempotence=True,
            request_timeout_ms=600_000,  # brokers may be down for minutes
        )
        await self._producer.start()

    async def _send(self, draft: Draft, number: int) -> None:
        if draft.repeats is not None:
            value = self.values[draft.repeats % len(self.values)]
        else:
            value = self._dated(draft, number)
        self.values.append(value)
        assert self._producer is not None
        await self._producer.send(self.target.topic, value, partition=draft.partition)

    def _dated(self, draft: Draft, number: int) -> bytes:
        if self.target.clock == "event":
            time_ms = BASE_MS + number * self._shape.step_ms - draft.late_ms
        else:
            time_ms = int(time.time() * 1000) - draft.late_ms * UNIT_MS["wall"] // UNIT_MS["event"]
            self.last_ms = max(self.last_ms, time_ms)
        return json.dumps({**draft.form, "timestamp": format_instant(time_ms)}).encode()
