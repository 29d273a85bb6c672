"""Partitions that backfill together without Kafka: their logs, crashes, lost disks, and when each sees what.

``SEGOPS_KERNEL=require`` runs them with the kernel.

A partition's output is in the other logs at once, or, with ``transactional``, after its next checkpoint only.
"""

from __future__ import annotations

import random
from collections import Counter
from functools import partial, reduce
from typing import Any
from uuid import uuid4

import msgspec

from segops.config import load
from segops.core.engine import Engine
from segops.core.events import Change
from segops.core.messages import Handover, Message, Rows
from segops.core.profile import Profile
from segops.core.scans import Plan
from segops.core.segments import SegmentSet
from segops.kernel import chosen
from segops.schemas.changes import encode_change
from segops.schemas.events import route
from segops.schemas.messages import decode_message, encode_message, name_of
from segops.schemas.records import Headers, partition_of
from segops.schemas.scans import DONE, SCAN, PlanRequest, ScanRequest, Watch, decode_result, encode_request
from segops.schemas.segments import definition_to_record
from segops.schemas.sizes import SizeRecord
from segops.schemas.state import decode_profile
from segops.schemas.ticks import TICK_HEADERS, TYPE_HEADER, source_tick
from segops.stores.memory import MemoryStores
from segops.streaming.assignment import recorded_engine
from segops.streaming.durability.restorer import StoreRestorer
from segops.streaming.partition.backfill.adoption import DraftSet
from segops.streaming.partition.clock import PartitionClock
from segops.streaming.partition.native_segment import NativeSegmentProcessor
from segops.streaming.partition.segment import SegmentProcessor
from segops.streaming.partition.start import Start
from segops.testing import RecordingOutput

from .fakes import FakeRecord
from .helpers import comparable
from .snapshots import logged_of

WALL_MS = 2_000_000_000_000
_Sent = tuple[int, bytes | None, bytes, Headers]


class _Output(RecordingOutput):
    """Keeps the records for profile events in one order, whatever they are."""

    def __init__(self, partitions: int) -> None:
        super().__init__()
        self._partitions = partitions
        self.records: list[_Sent] = []

    def _to_all(self, value: bytes, headers: Headers) -> None:
        self.records += [(number, None, value, headers) for number in range(self._partitions)]

    def _to(self, message: Message | Rows) -> None:
        key = message.to.encode()
        headers = [("segops-type", name_of(message).encode())]
        self.records.append((partition_of(key, self._partitions), key, encode_message(message), headers))

    def broadcast(self, value: bytes, *, headers: Headers = TICK_HEADERS) -> None:
        self._to_all(value, headers)

    def move(self, rows: Rows) -> None:
        super().move(rows)
        self._to(rows)

    def send(self, messages: Any, *, arrived_ms: int) -> None:
        for message in messages:
            self._to(message)

    def send_encoded(self, to: str, kind: str, value: bytes, *, arrived_ms: int) -> None:
        super().send_encoded(to, kind, value, arrived_ms=arrived_ms)
        self.send([self.sent.pop()], arrived_ms=arrived_ms)


class BackfillNetwork:
    """``number`` partitions, all evaluating by ``segments`` at first. ``seed`` draws what happens when."""

    def __init__(
        self, segments: SegmentSet, number: int, *, seed: int = 0, transactional: bool = False, **bounds: int
    ) -> None:
        self.number = number
        self.bounds = bounds
        self.random = random.Random(seed)
        self.transactional = transactional
        self.logs: list[list[FakeRecord]] = [[] for _ in range(number)]
        self.published: dict[str, dict[str, Any]] = {}
        self.moved: list[Rows] = []
        #: How likely each partition is to be the next one to work: some hardly move for a while.
        self._speeds = [1.0] * number
        self._first = Engine(segments)
        #: What each partition has read of the definitions.
        self.newest = [self._first] * number
        self.drafts: list[DraftSet | None] = [None] * number
        #: How many records of the past were read.
        self.past_read = 0
        self._stores = [MemoryStores() for _ in range(number)]
        self._changelogs: list[dict[bytes, bytes | None]] = [{} for _ in range(number)]
        self._logged = [0] * number
        self._committed = [(0, "")] * number
        self._outputs = [_Output(number) for _ in range(number)]
        self.processors = [self._open(partition) for partition in range(number)]

    def _open(self, partition: int) -> SegmentProcessor:
        offset, metadata = self._committed[partition]
        clock = PartitionClock(sources=1, processors=self.number, by_events=True)
        assert clock.load(metadata) or not metadata
        store = self._stores[partition].open(partition)
        engine, since_ms = recorded_engine(store) or (self._first, None)
        replay_until = 0 if since_ms is None else len(self.logs[partition])
        native = chosen(load().engine.kernel)
        of = SegmentProcessor if native is None else partial(NativeSegmentProcessor, native=native)
        return of(
            store,
            engine,
            start=Start(
                offset,
                clock,
                since_ms=since_ms,
                replay_until=replay_until,
                number=partition,
                partitions=self.number,
            ),
            output=self._outputs[partition],
            **self.bounds,
        )

    # -- input -----------------------------------------------------------------------------------

    def _append(self, partition: int, key: bytes | None, value: bytes, headers: Headers) -> None:
        log = self.logs[partition]
        log.append(FakeRecord(len(log), key, value, list(headers)))

    def post(self, value: bytes, number: int) -> None:
        """Append an event, the ``number``-th of its source, to the partition of its profile."""
        routed = route(value, now_ms=WALL_MS, default_time_ms=0)
        key = routed.profile_id.encode()
        headers = [("segops-source", b"0:%d" % number), ("segops-time", b"%d" % routed.time_ms)]
        self._append(partition_of(key, self.number), key, value, headers)

    def send(self, message: Message) -> None:
        """Append a message, as an operator's request comes from the control topic."""
        key = message.to.encode()
        headers = [("segops-type", name_of(message).encode())]
        self._append(partition_of(key, self.number), key, encode_message(message), headers)

    def tick(self, watermark_ms: int) -> None:
        """Advance the clock of the source."""
        for partition in range(self.number):
            self._append(partition, None, source_tick(0, watermark_ms, idle=False), TICK_HEADERS)

    def publish(self, segments: SegmentSet, partition: int | None = None) -> None:
        """Let a partition (None: all) read new definitions, and evaluate by them as soon as it may."""
        engine = Engine(segments)
        for number in range(self.number) if partition is None else [partition]:
            self.newest[number] = engine

    def draft(self, segments: SegmentSet | None, partition: int | None = None, plan_id: str = "plan") -> None:
        """Let a partition (None: all) read that a plan of these definitions is open, or has ended."""
        draft = None if segments is None else DraftSet(plan_id, Engine(segments), 10**15)
        for number in range(self.number) if partition is None else [partition]:
            self.drafts[number] = draft

    # -- work ------------------------------------------------------------------------------------

    def read(self, number: int, count: int) -> None:
        """Apply the next records, unless the processor must wait."""
        processor = self.processors[number]
        if processor.recording:
            self.checkpoint(number)
        if not processor.backfill.is_blocked:
            processor.process(self.logs[number][processor.offset : processor.offset + count])
            processor.report_watermark(number)
        self._flush(number)

    def read_history(self, number: int, count: int) -> bool:
        """Read the next records of the past; return whether there were any."""
        backfill = self.processors[number].backfill
        if backfill.gap is None:
            return False
        start, end = backfill.gap
        upto = min(start + count, end)
        assert backfill.read(self.logs[number][start:upto], start, upto, since_ms=None)
        self.past_read += upto - start
        return True

    def work(self, number: int, limit: int = 3) -> bool:
        """Do one slice of the work between batches; return whether there may be more."""
        processor = self.processors[number]
        if processor.recording:
            self.checkpoint(number)
        fired, rescanned = processor.fire_due(limit), processor.rescan(limit)
        busy = bool(fired == limit or rescanned)
        if processor.replaying and not busy:
            processor.caught_up()
        if not processor.replaying and processor.wants(self.newest[number], self.drafts[number]):
            processor.use(self.newest[number], self.drafts[number])
            busy = True
        beside = self.processors[number % 2 :: 2]  # of the same worker
        may_switch = not any(each.folding for each in beside)
        busy |= bool(processor.work_backfill(limit, may_switch=may_switch))
        self._flush(number)
        return busy

    def _flush(self, number: int, *, committed: bool = False) -> None:
        output = self._outputs[number]
        assert output.rejected == []
        if self.transactional and not committed:
            return
        for record in output.records:
            self._append(*record)
        for change in output.changes:
            self._publish(change)
        self.moved += output.moved
        for found in (output.records, output.changes, output.dead_letters, output.moved):
            found.clear()  # type: ignore[attr-defined]

    def _publish(self, change: Change) -> None:
        row = comparable(encode_change(change, 0))
        assert self.published.setdefault(change.change_id, row) == row

    # -- durability ------------------------------------------------------------------------------

    def checkpoint(self, number: int) -> None:
        """Make everything durable."""
        processor = self.processors[number]
        self._flush(number)
        snapshot = processor.snapshot()
        for write in logged_of(snapshot):
            self._changelogs[number][write.profile_id.encode()] = write.state
            self._logged[number] += 1
        self._committed[number] = snapshot.offset, snapshot.metadata
        self._flush(number, committed=True)
        processor.write(snapshot, self._logged[number])
        processor.committed()

    def crash(self, number: int, *, keep_store: bool = True) -> None:
        """Restart a partition from its last checkpoint; without its disk, from the changelog."""
        self.processors[number].close()
        output = self._outputs[number]
        for found in (output.records, output.changes, output.dead_letters, output.moved):
            found.clear()  # type: ignore[attr-defined]
        if not keep_store:
            self._stores[number] = MemoryStores()
            store = self._stores[number].open(number)
            StoreRestorer(store, expected=1).apply(self._changelogs[number], self._logged[number] + 1)
            store.close()
        self.processors[number] = self._open(number)

    # -- results ---------------------------------------------------------------------------------

    def is_idle(self, number: int) -> bool:
        """Return whether a partition has nothing more to do."""
        processor = self.processors[number]
        behind = processor.offset < len(self.logs[number])
        busy = behind or processor.scanning or processor.replaying or processor.backfill.collects
        if (draft := self.drafts[number]) is not None:
            busy = behind or processor.scanning or not processor.backfill.has_history_for(draft.plan_id)
        return not busy and self.newest[number].version == processor.in_force.version

    def settle(self, rounds: int = 2_000) -> None:
        """Work until no partition has anything more to do."""
        for _ in range(rounds):
            for number in range(self.number):
                self.read_history(number, 7)
                self.read(number, 50)
                self.work(number, 50)
                self.checkpoint(number)
            if all(map(self.is_idle, range(self.number))) and not any(o.records for o in self._outputs):
                return
        raise AssertionError([(p.offset, p.backfill.progress, p.scanning) for p in self.processors])

    def drain(self) -> None:
        """Apply everything in the logs, without reading history but where nothing is applied without it.

        What partitions have not committed yet is in the logs then, too.
        """
        while any(
            processor.offset < len(self.logs[number]) or self._outputs[number].records
            for number, processor in enumerate(self.processors)
        ):
            for number in range(self.number):
                if self.processors[number].backfill.is_blocked:
                    self.read_history(number, 50)
                self.read(number, 50)
                self.checkpoint(number)

    def step(self) -> None:
        """Do one random thing at a random partition."""
        if self.random.random() < 0.01:
            self._speeds = [self.random.choice([0.02, 0.2, 1, 1]) for _ in range(self.number)]
        (number,) = self.random.choices(range(self.number), self._speeds)
        chosen = self.random.random()
        if chosen < 0.45:
            self.read(number, self.random.randrange(1, 6))
        elif chosen < 0.65:
            self.work(number, self.random.randrange(1, 4))
        elif chosen < 0.85:
            self.read_history(number, self.random.randrange(1, 8))
        else:
            self.checkpoint(number)

    def profiles(self) -> dict[str, Profile]:
        """Return all stored profiles, redirects among them."""
        found = {}
        for number in range(self.number):
            self.checkpoint(number)
            store = self.processors[number]._store
            for state in store.get_many(store.profile_ids(None, 10**6)):
                if state is not None:
                    profile = decode_profile(state)
                    found[profile.id] = profile
        return found

    def handovers(self) -> list[Handover]:
        """Return all hand-overs of a state in the logs."""
        found = [
            decode_message(record.value)
            for log in self.logs
            for record in log
            if ("segops-type", b"handover") in record.headers
        ]
        return [each for each in found if isinstance(each, Handover) and each.state is not None]

    def plan(
        self, after: SegmentSet, plan_id: str = "plan", *, samples: int = 0, watch: Watch | None = None
    ) -> Plan:
        """Return what the partitions answer when they are asked for the plan of a draft."""
        former = self.newest[0]
        removed = former.segments.by_key.keys() - after.by_key.keys()
        records = tuple(msgspec.Raw(definition_to_record(each)) for each in after.definitions)
        ask = PlanRequest(former.version, records, tuple(removed), samples, plan_id, watch)
        request = encode_request(ScanRequest(uuid4().hex, 10**15, ask))
        for number in range(self.number):
            self._append(number, None, request, [(TYPE_HEADER, SCAN)])
        self.settle()
        found = []
        for number, processor in enumerate(self.processors):
            while processor.scans.work(number, processor.clock.now_ms):
                pass
            answer = self._outputs[number].answers[-1]
            assert (answer.state, answer.unreadable) == (DONE, 0), answer
            found.append(decode_result(ask, answer.result))
        return reduce(Plan.merged, found)

    def sizes(self) -> dict[str, int]:
        """Return the number of members of each segment."""
        return dict(+sum((Counter(processor.sizes) for processor in self.processors), Counter()))

    def sizes_of(self, number: int) -> dict[str, SizeRecord]:
        """Return the latest published size of each segment in a partition."""
        records = self._outputs[number].figures
        return {each.segment_key: each for each in records if isinstance(each, SizeRecord)}

    def rows(self) -> int:
        """Return how many owners have rows."""
        return sum(len(processor._store.row_owners(None, 10**6)) for processor in self.processors)
