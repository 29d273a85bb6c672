"""Whole partitions by both implementations: the same records, batches, timers, checkpoints and crashes.

A *side* is two partitions with their logs, by one implementation. Two sides take the same script; all that
they emit, count and store must be equal, in order.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from random import Random
from typing import Any

import msgspec

from segops.core.engine import Engine
from segops.core.errors import RejectedEvent
from segops.core.segments import SegmentSet
from segops.kernel import found
from segops.schemas.backfills import BACKFILL_HEADERS
from segops.schemas.changes import encode_change
from segops.schemas.events import route
from segops.schemas.identifying import IdentityLimits
from segops.schemas.messages import encode_message, name_of
from segops.schemas.records import partition_of
from segops.schemas.sizes import Progress, SizeRecord
from segops.schemas.state import decode_profile, encode_profile, redirect_of
from segops.schemas.ticks import TICK_HEADERS, source_tick, wall_tick
from segops.stores.base import Write
from segops.stores.memory import MemoryStores
from segops.streaming.assignment import recorded_engine
from segops.streaming.native_route import native_route
from segops.streaming.partition.clock import PartitionClock
from segops.streaming.partition.native_segment import NativeSegmentProcessor
from segops.streaming.partition.segment import SegmentProcessor
from segops.streaming.partition.start import Start
from segops.testing import RecordingOutput
from tests.kernel.outboxes import OutboxRecording
from tests.kernel.people import LIMITS
from tests.kernel.scripts import script_of

PARTITIONS = 2
#: The profiles that stay in memory, in number and in bytes.
_CACHES = ((1_000, 1 << 30), (1_000, 1 << 30), (3, 0), (3, 12_000))
_FAR_MS = 4 * 10**12


class Record(msgspec.Struct):
    """A consumed record."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp: int


@dataclass
class Committed:
    """Where a partition begins after a crash."""

    offset: int = 0
    metadata: str = ""


class Side:
    """Two partitions by one implementation."""

    def __init__(
        self,
        segments: SegmentSet,
        *,
        native: bool,
        by_events: bool,
        cache: int,
        cache_bytes: int = 1 << 30,
        packs: bool = False,
        keeps: bool,
        mixed: bool,
        limits: IdentityLimits,
    ) -> None:
        self.limits = limits
        self.route: Any = native_route(found()[0], limits) if native else partial(route, limits=limits)
        self.native, self.by_events, self.cache, self.cache_bytes = native, by_events, cache, cache_bytes
        #: Whether the kernel keeps profiles as bytes from each checkpoint to their next use.
        self.packs = packs
        #: Whether profiles stay in memory, in which a duplicate changes the offset, but not in the store.
        self.keeps = keeps
        #: Whether each crash changes the implementation, as an upgrade or a rebalance may.
        self.mixed = mixed
        self.engine = Engine(segments)
        self.logs: list[list[Record]] = [[] for _ in range(PARTITIONS)]
        self.stores = MemoryStores()
        self.outputs = [OutboxRecording() if native else RecordingOutput() for _ in range(PARTITIONS)]
        self.committed = [Committed() for _ in range(PARTITIONS)]
        self.processors = [self.open(number) for number in range(PARTITIONS)]
        self.left: dict[str, int] = {}

    def open(self, number: int) -> SegmentProcessor:
        """Open a partition where it was committed."""
        clock = PartitionClock(sources=PARTITIONS, by_events=self.by_events)
        clock.load(self.committed[number].metadata)
        options: dict[str, Any] = {
            "start": Start(
                self.committed[number].offset, clock, since_ms=0, number=number, partitions=PARTITIONS
            ),
            "output": self.outputs[number],
            "cache_profiles": self.cache,
            "figures_interval_ms": 0,
            "limits": self.limits,
        }
        store = self.stores.open(number)
        engine, _ = recorded_engine(store, self.engine) or (self.engine, 0)
        if self.native:
            options["cache_bytes"] = self.cache_bytes
            opened: SegmentProcessor = NativeSegmentProcessor(store, engine, native=found()[0], **options)
        else:
            opened = SegmentProcessor(store, engine, **options)
        if opened.wants(self.engine):
            opened.use(self.engine)
        return opened

    def append(
        self, number: int, key: bytes | None, value: bytes, headers: Sequence[Any], at_ms: int
    ) -> None:
        """Append a record to the log of a partition."""
        log = self.logs[number]
        log.append(Record(len(log), key, value, list(headers), at_ms))

    def post(self, value: bytes, source: str) -> None:
        """Forward an event as the resolve step does."""
        try:
            routed = self.route(value, now_ms=_FAR_MS, default_time_ms=0, repairs=Counter())
        except RejectedEvent:  # it has no identifier that is used
            return
        key = routed.profile_id.encode()
        headers = [("segops-source", source.encode()), ("segops-time", b"%d" % routed.time_ms)]
        self.append(partition_of(key, PARTITIONS), key, value, headers, routed.time_ms)

    def tick(self, at_ms: int) -> None:
        """Advance the clock of every partition."""
        for number in range(PARTITIONS):
            for source in range(PARTITIONS if self.by_events else 1):
                value = source_tick(source, at_ms, idle=False) if self.by_events else wall_tick(at_ms)
                self.append(number, None, value, TICK_HEADERS, at_ms)

    def read(self, number: int, count: int) -> None:
        """Process the next records of a partition, and deliver its messages."""
        processor = self.processors[number]
        batch = self.logs[number][processor.offset : processor.offset + count]
        processor.process(batch)
        self._deliver(number)

    def _deliver(self, number: int) -> None:
        """Append the messages, moved rows and announcements of a partition to the logs."""
        output = self.outputs[number]
        for message in (*output.sent, *output.moved):
            key = message.to.encode()
            headers = [("segops-type", name_of(message).encode())]
            self.append(partition_of(key, PARTITIONS), key, encode_message(message), headers, 1)
        for sent in output.forwarded:
            if sent.headers == BACKFILL_HEADERS:
                for to in range(PARTITIONS):
                    self.append(to, None, sent.value, BACKFILL_HEADERS, 1)

    def fire(self, number: int, limit: int) -> None:
        """Fire some timers of a partition."""
        self.processors[number].fire_due(limit)

    def checkpoint(self, number: int, between: int) -> dict[str, Any]:
        """Take a checkpoint with some records read before all of it is encoded; return what it writes."""
        processor = self.processors[number]
        snapshot = processor.snapshot()
        snapshot.encode()
        if between:
            self.read(number, between)
            self.fire(number, 2)
        made = list(snapshot.writes)
        writes = {write.profile_id: self.comparable(write) for write in made}
        assert len(writes) == len(made)
        processor.write(snapshot, None)
        processor.committed()
        if self.packs and isinstance(processor, NativeSegmentProcessor):
            processor._profiles.native.pack_all()
        self.committed[number] = Committed(snapshot.offset, snapshot.metadata)
        return {
            "states": self.states(number),
            "writes": writes,
            "meta": snapshot.meta,
            "offset": snapshot.offset,
            "metadata": snapshot.metadata,
        }

    def states(self, number: int) -> dict[str, bytes]:
        """Return the profiles of a partition as they are: without the offset if they leave memory."""
        ids = {record.key.decode() for record in self.logs[number] if record.key is not None}
        found = {}
        for profile in self.processors[number]._profiles.glimpse(sorted(ids)):
            if profile is not None:
                of_log = profile.applied if self.keeps else 0
                found[profile.id] = encode_profile(msgspec.structs.replace(profile, applied=of_log))
        return found

    def comparable(self, write: Write) -> Write:
        """Return a write, without the offset if profiles do not stay in memory."""
        if write.state is None or self.keeps or redirect_of(write.state) is not None:
            return write
        profile = decode_profile(write.state)
        profile.applied = 0
        return msgspec.structs.replace(write, state=encode_profile(profile))

    def crash(self, number: int) -> None:
        """Lose what no checkpoint has written."""
        self.processors[number].close()
        self.native ^= self.mixed
        self.processors[number] = self.open(number)

    def use(self, segments: SegmentSet) -> None:
        """Evaluate by other definitions."""
        self.engine = Engine(segments)
        for processor in self.processors:
            if processor.wants(self.engine):
                processor.use(self.engine)

    def work(self, number: int) -> None:
        """Do a part of a backfill, or a whole scan by new definitions, which visits profiles in any order."""
        processor, output = self.processors[number], self.outputs[number]
        gap = processor.backfill.gap
        if gap is not None:
            upto = min(gap[1], gap[0] + 9)
            processor.backfill.read(self.logs[number][gap[0] : upto], gap[0], upto, since_ms=None)
        processor.work_backfill(5)
        self._deliver(number)
        while processor.rescan(1_000):
            pass
        output.changes.sort(key=lambda change: change.profile_id)
        output.values.sort(key=lambda value: value.profile_id)

    def taken(self, number: int) -> dict[str, Any]:
        """Return, and forget, all that a partition has put out and counted."""
        output, counts = self.outputs[number], self.processors[number].take_counts()
        for reason, left in {
            **counts.left_to_python,
            "records": counts.records,
            "timers": counts.timers,
        }.items():
            self.left[reason] = self.left.get(reason, 0) + left
        seen: dict[str, Any] = {
            "changes": [encode_change(change, 0) for change in output.changes],
            "sizes": dict(+self.processors[number].sizes),
            "clock": self.processors[number].clock.dump(),
            "offset": self.processors[number].offset,
        }
        seen |= {each.name: getattr(counts, each.name) for each in fields(counts)}
        del seen["left_to_python"]
        for name, value in vars(output).items():
            if name not in ("changes",) and isinstance(value, list):
                seen[f"output.{name}"] = [*value]
                value.clear()
        output.changes.clear()
        for name in ("output.dead_letters", "output.rejected"):
            seen[name] = [(_fields(record), *rest) for record, *rest in seen[name]]
        seen["output.figures"] = [_without_rate(each) for each in seen["output.figures"]]
        if not self.keeps:
            seen["output.sent"] = [_without_offset(message) for message in seen["output.sent"]]
        return seen


def _fields(record: Any) -> tuple[Any, ...]:
    """Return the parts of a record, of whichever client."""
    return record.offset, record.timestamp, record.key, record.value, [*record.headers]


def _without_rate(figures: Any) -> Any:
    """Return figures, without how fast history is read by the wall clock."""
    if not isinstance(figures, SizeRecord) or figures.progress is None:
        return figures
    read = figures.progress
    return msgspec.structs.replace(figures, progress=Progress(read.read, read.total))


def _without_offset(message: Any) -> Any:
    """Return a message, without the offset in the state that it hands over."""
    state = getattr(message, "state", None)
    return (
        message
        if state is None
        else msgspec.structs.replace(message, state=msgspec.structs.replace(state, applied=0))
    )


def assert_equal(python: dict[str, Any], native: dict[str, Any], when: object) -> None:
    """Assert that both sides have put out the same."""
    for name, value in python.items():
        if name == "meta":
            assert_equal(value, native[name], (when, name))
        assert native[name] == value, (when, name)


def assert_sides_agree(
    segments: SegmentSet, steps: list[tuple[str, Any]], watermark: bool, later: SegmentSet | None = None
) -> dict[str, int]:
    """Take a script of these steps on both sides, and assert that they agree; return what Python did."""
    rng = Random(zlib.crc32(repr(steps).encode()))
    cache, cache_bytes = rng.choice(_CACHES)
    options: dict[str, Any] = {"by_events": watermark, "cache": cache, "cache_bytes": cache_bytes}
    options |= {"keeps": cache > 3 and later is None, "packs": rng.random() < 0.8}
    options["limits"] = rng.choice(LIMITS)
    mixed = rng.random() < 0.3
    sides = [Side(segments, native=native, mixed=native and mixed, **options) for native in (False, True)]
    script = script_of(steps, rng, later, PARTITIONS)
    for number, (name, *arguments) in enumerate(script):
        found = [getattr(side, name)(*arguments) for side in sides]
        if found[0] is not None:
            assert_equal(found[0], found[1], (number, name, *arguments))
        for partition in range(PARTITIONS):
            taken = [side.taken(partition) for side in sides]
            assert_equal(taken[0], taken[1], (number, name, *arguments))
    stored = [
        {
            name: side.comparable(Write(name, state))
            for each in side.stores._by_partition.values()
            for name, state in each.states.items()
        }
        for side in sides
    ]
    assert stored[0] == stored[1]
    rows = [[each.rows for each in side.stores._by_partition.values()] for side in sides]
    assert rows[0] == rows[1]
    return sides[1].left
