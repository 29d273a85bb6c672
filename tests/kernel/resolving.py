"""The resolve step of whole batches by both implementations: the same records, clocks and batches."""

from __future__ import annotations

import json
from functools import partial
from random import Random
from typing import Any

from aiokafka.record.memory_records import MemoryRecords

from segops.kernel import found
from segops.schemas.events import route
from segops.schemas.records import partition_of
from segops.schemas.ticks import TICK_HEADERS, source_tick
from segops.streaming.native_route import native_route
from segops.streaming.partition.native_resolve import NativeResolveProcessor
from segops.streaming.partition.resolve import ResolveProcessor
from segops.testing import RecordingOutput
from tests.core.strategies import BASE_MS
from tests.kernel import plain_cases
from tests.kernel.people import LIMITS, event_json
from tests.kernel.sides import Record

NATIVE = found()[0]
_PARTITIONS = 3


class OutboxForwarding(RecordingOutput):
    """A recording output whose forwarded records are in the kernel's batches."""

    def __init__(self) -> None:
        super().__init__()
        self.forward_outboxes = [NATIVE.Outbox(1_000, False) for _ in range(_PARTITIONS)]

    def forward(self, key: bytes, value: bytes | None, *, headers: Any, timestamp: int) -> None:
        outbox = self.forward_outboxes[partition_of(key, _PARTITIONS)]
        outbox.append(timestamp, key, value, [*headers])

    def broadcast(self, value: bytes, *, headers: Any = TICK_HEADERS) -> None:
        for outbox in self.forward_outboxes:
            outbox.append(0, None, value, [*headers])

    def by_partition(self) -> list[list[Any]]:
        return [[*map(_fields, self._sent(outbox))] for outbox in self.forward_outboxes]

    def _sent(self, outbox: Any) -> list[Any]:
        batches = [MemoryRecords(bytes(each._build())).next_batch() for each in outbox.take(False)]
        return [record for batch in batches for record in batch]


def _fields(record: Any) -> tuple[Any, ...]:
    return record.key, record.value, record.timestamp, [*record.headers]


def python_by_partition(output: RecordingOutput) -> list[list[Any]]:
    return [
        [
            (each.key, each.value, each.timestamp or 0, [*each.headers])
            for each in output.forwarded
            if each.key is None or partition_of(each.key, _PARTITIONS) == number
        ]
        for number in range(_PARTITIONS)
    ]


def drawn(rng: Random, offset: int) -> Record:
    """Return a record of raw events: most are events, some are ticks, requests or broken."""
    events = [event for kind, event in plain_cases.steps(rng, 6) if kind == "event"]
    value: Any = event_json(rng.choice(events), rng, offset) if events else b"{"
    headers: list[tuple[str, Any]] = []
    roll = rng.random()
    if roll < 0.1:
        value, headers = source_tick(0, BASE_MS + offset, idle=False), [*TICK_HEADERS]
    elif roll < 0.2:
        value, headers = rng.choice((b"{", b"", None)), [("x", None)]
    elif roll < 0.3:
        headers = [("segops-type", rng.choice((b"erase", b"other", None)))]
    elif roll < 0.5:
        headers = [("segops-from", b"t:1:2"), ("x", b"1")]
    elif roll < 0.6:
        value = json.dumps({**json.loads(value), "timestamp": None}).encode() if events else value
    return Record(offset, rng.choice((None, b"k")), value, headers, BASE_MS - rng.randrange(9))


def assert_resolved_alike(rng: Random) -> None:
    """Assert that the kernel forwards what Python does of a drawn log, and counts and refuses the same."""
    start, limits = rng.randrange(4), rng.choice(LIMITS)
    log = [drawn(rng, offset) for offset in sorted(rng.sample(range(90), 60))]
    python, native = RecordingOutput(), OutboxForwarding()
    options: dict[str, Any] = {"event_clock": True, "offset": start}
    sides: list[ResolveProcessor] = [
        ResolveProcessor(2, route=partial(route, limits=limits), output=python, **options),
        NativeResolveProcessor(
            2,
            native=NATIVE,
            route=native_route(NATIVE, limits),
            output=native,  # type: ignore[arg-type]
            **options,
        ),
    ]
    while log:
        batch, log = log[: (size := rng.choice((1, 7, 30)))], log[size:]
        now_ms = BASE_MS + rng.choice((-(10**9), 10**9))
        for each in sides:
            each.process(batch, now_ms=now_ms)
        ours = [(each.offset, each.watermark_ms, each.forwarded_ms, each.counts) for each in sides]
        assert ours[1] == ours[0]
    assert native.by_partition() == python_by_partition(python)
    letters = [
        [(*_fields(record), reason) for record, reason, _ in each.dead_letters] for each in (python, native)
    ]
    assert letters[1] == letters[0]
    assert sides[1].mark == sides[0].mark
