"""The segment processor without Kafka: any batching and any crash give the engine's results."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from segops.core.engine import Engine
from segops.core.segments import Definition, SegmentSet
from segops.schemas.changes import encode_change
from segops.schemas.events import route
from segops.schemas.in_force import IN_FORCE_KEY, decode_in_force
from segops.schemas.segments import definition_from_record, load
from segops.schemas.state import decode_profile
from segops.schemas.tallies import BUCKET_KEYS
from segops.schemas.ticks import TICK_HEADERS, source_tick, wall_tick
from segops.stores.memory import MemoryStores
from segops.streaming.partition.clock import PartitionClock
from segops.streaming.partition.segment import SegmentProcessor
from segops.streaming.partition.snapshot import IN_FORCE_META
from segops.streaming.partition.start import Start
from segops.testing import RecordingOutput

from .fakes import FakeRecord
from .helpers import DAY_MS, SEGMENTS, START_MS, comparable, expected_changes, shop_events
from .snapshots import logged_of

FINAL_MS = START_MS + 2 * DAY_MS


@pytest.fixture
def wanted(tmp_path: Path) -> list[Definition]:
    file = tmp_path / "segments.yaml"
    file.write_text(SEGMENTS)
    return load([file])


def forwarded(value: bytes, offset: int) -> FakeRecord:
    routed = route(value, now_ms=FINAL_MS, default_time_ms=0)
    headers = [("segops-source", b"0:%d" % offset), ("segops-time", b"%d" % routed.time_ms)]
    return FakeRecord(offset, routed.profile_id.encode(), value, headers)


def tick(offset: int, watermark_ms: int) -> FakeRecord:
    return FakeRecord(offset, None, source_tick(0, watermark_ms, idle=False), TICK_HEADERS)


def clock(*, by_events: bool = True) -> PartitionClock:
    return PartitionClock(sources=1, by_events=by_events)


def found(output: RecordingOutput) -> dict[str, dict[str, Any]]:
    return {change.change_id: comparable(encode_change(change, 0)) for change in output.changes}


def work_off(processor: SegmentProcessor) -> None:
    while processor.fire_due(7):
        pass


def batches(records: list[FakeRecord], rng: random.Random) -> Iterator[list[FakeRecord]]:
    rest = iter(records)
    while batch := list(itertools.islice(rest, rng.randrange(1, 60))):
        yield batch


@pytest.mark.parametrize("seed", range(8))
def test_batching_and_crashes_do_not_affect_the_results(wanted: list[Definition], seed: int) -> None:
    rng = random.Random(seed)
    sent = shop_events(800, users=25, partitions=1, seed=seed)
    records = [forwarded(one.value, offset) for offset, one in enumerate(sent)]
    records.append(tick(len(records), FINAL_MS))
    stores, engine, output = MemoryStores(), Engine(SegmentSet(wanted)), RecordingOutput()
    committed = Start(0, clock())
    while committed.offset < len(records):
        processor = SegmentProcessor(stores.open(0), engine, start=committed, output=output, cache_profiles=5)
        offset, metadata = committed.offset, committed.clock.dump()
        for batch in batches(records[offset:], rng):
            processor.process(batch)
            processor.fire_due(rng.randrange(5))
            if rng.random() < 0.3:
                snapshot = processor.snapshot()
                if rng.random() < 0.5:  # the processor continues while acknowledgements are pending
                    processor.fire_due(3)
                processor.write(snapshot, None)
                if rng.random() < 0.2:
                    break  # killed between store write and commit
                offset, metadata = snapshot.offset, snapshot.metadata
            if rng.random() < 0.05:
                break  # killed
        else:
            work_off(processor)
            processor.write(processor.snapshot(), None)
            offset = processor.offset
        processor.close()
        restored = clock()
        assert restored.load(metadata)
        committed = Start(offset, restored)
    assert found(output) == expected_changes(sent, wanted, FINAL_MS)


def test_clock_is_restored_exactly(wanted: list[Definition]) -> None:
    clocks = PartitionClock(sources=3, by_events=True)
    clocks.observe(0, START_MS + 10)
    clocks.mark(1, START_MS + 7, idle=False)
    assert clocks.now_ms == 0  # the third source has had no event
    clocks.mark(2, 0, idle=True)
    assert clocks.now_ms == START_MS + 7
    restored = PartitionClock(sources=3, by_events=True)
    assert restored.load(clocks.dump())
    for each in (clocks, restored):
        each.observe(1, START_MS + 30)
        assert each.now_ms == START_MS + 10
        each.observe(
            2, START_MS + 5
        )  # the source is active again and behind: the clock stops but never goes back
        each.observe(0, START_MS + 40)
        assert each.now_ms == START_MS + 10
    assert clocks.dump() == restored.dump()


@pytest.mark.parametrize("text", ["", "2;5;", "1;x;", "1;5", "nonsense"])
def test_invalid_clock_metadata_is_refused(text: str) -> None:
    assert not clock().load(text)


def test_profile_is_stored_from_its_first_event(wanted: list[Definition]) -> None:
    stores = MemoryStores()
    processor = SegmentProcessor(
        stores.open(0), Engine(SegmentSet(wanted)), start=Start(0, clock()), output=RecordingOutput()
    )
    value = json.dumps({"type": "track", "event": "Unheard Of", "userId": "u1"}).encode()
    processor.process([forwarded(value, 0)])
    snapshot = processor.snapshot()
    assert [write.profile_id for write in snapshot.writes] == ["user_id:u1"]


def test_only_wall_ticks_advance_the_wall_clock(wanted: list[Definition]) -> None:
    processor = SegmentProcessor(
        MemoryStores().open(0),
        Engine(SegmentSet(wanted)),
        start=Start(0, clock(by_events=False)),
        output=(output := RecordingOutput()),
    )
    order = {"type": "track", "event": "Order Completed", "userId": "u1", "properties": {"total": 1}}
    order["timestamp"] = "2025-10-09T08:53:20Z"
    processor.process([forwarded(json.dumps(order).encode(), 0)])
    assert processor.clock.now_ms == 0
    at = output.changes[0].occurred_at
    processor.process([FakeRecord(1, None, wall_tick(at + 6 * 3_600_000 - 1), TICK_HEADERS)])
    assert processor.fire_due(10) == 0
    processor.process([FakeRecord(2, None, wall_tick(at + 6 * 3_600_000 + 5_000), TICK_HEADERS)])
    assert processor.fire_due(10) == 1
    assert [(c.action, c.occurred_at) for c in output.changes] == [
        ("entered", at),
        ("exited", at + 6 * 3_600_000),
    ]


def test_record_that_fails_in_the_engine_is_a_dead_letter(wanted: list[Definition]) -> None:
    output = RecordingOutput()
    processor = SegmentProcessor(
        MemoryStores().open(0), Engine(SegmentSet(wanted)), start=Start(0, clock()), output=output
    )
    good = [forwarded(one.value, offset) for offset, one in enumerate(shop_events(4, users=1, partitions=1))]
    broken = [
        FakeRecord(4, b"user_id:u1", b"{", good[0].headers),
        FakeRecord(5, b"\xff", b"{}", good[0].headers),
        FakeRecord(6, b"user_id:u1", good[0].value, []),
        FakeRecord(7, None, b"no tick", []),
        FakeRecord(8, None, source_tick(99, 1, idle=False), TICK_HEADERS),
    ]
    processor.process([*good, *broken, tick(9, FINAL_MS)])
    assert [record.offset for record, _, _ in output.rejected] == [4, 5, 6, 7, 8]
    assert [reason for _, reason, _ in output.rejected] == ["invalid_json", *["internal"] * 4]
    assert processor.offset == 10 and processor.clock.now_ms == FINAL_MS


def test_cache_keeps_unwritten_profiles_and_is_bounded(wanted: list[Definition]) -> None:
    processor = SegmentProcessor(
        MemoryStores().open(0),
        Engine(SegmentSet(wanted)),
        start=Start(0, clock()),
        output=RecordingOutput(),
        cache_profiles=10,
    )
    sent = shop_events(500, users=100, partitions=1)
    processor.process([forwarded(one.value, offset) for offset, one in enumerate(sent)])
    dirty = processor.cached.profiles
    assert dirty > 90
    assert processor.cached == (dirty, dirty / 10, dirty / 10)
    snapshot = processor.snapshot()
    assert processor.cached == (dirty, 0, dirty / 10)
    processor.write(snapshot, None)
    assert processor.cached == (10, 0, 0)


def test_many_due_timers_fire_in_slices(wanted: list[Definition]) -> None:
    output = RecordingOutput()
    processor = SegmentProcessor(
        MemoryStores().open(0),
        Engine(SegmentSet(wanted)),
        start=Start(0, clock()),
        output=output,
        cache_profiles=10,
    )
    sent = shop_events(2_000, users=500, partitions=1)
    processor.process([forwarded(one.value, offset) for offset, one in enumerate(sent)])
    processor.write(processor.snapshot(), None)
    processor.process([tick(len(sent), FINAL_MS)])
    looked = []
    while slice_ := processor.fire_due(50):
        looked.append(slice_)
    assert max(looked) <= 50 and sum(looked) > 200
    assert found(output) == expected_changes(sent, wanted, FINAL_MS)


def test_new_definitions_reach_cached_and_stored_profiles(wanted: list[Definition], tmp_path: Path) -> None:
    stores, output = MemoryStores(), RecordingOutput()
    engine = Engine(SegmentSet(wanted))
    processor = SegmentProcessor(
        stores.open(0), engine, start=Start(0, clock()), output=output, cache_profiles=10
    )
    sent = shop_events(400, users=80, partitions=1)
    records = [forwarded(one.value, offset) for offset, one in enumerate(sent)]
    processor.process(records[:200])
    processor.write(processor.snapshot(), None)
    processor.process(records[200:])  # some profiles are only in memory when the definitions change
    file = tmp_path / "more.yaml"
    file.write_text(SEGMENTS.rstrip() + "\n  - key: everyone\n    name: E\n    when:\n      known_for: 1ms\n")
    processor.process([tick(400, START_MS + DAY_MS)])
    work_off(processor)
    before = len(output.changes)
    newer = Engine(SegmentSet(load([file])))
    processor.use(newer)
    while processor.rescan(7):
        pass
    assert not processor.scanning
    fresh = output.changes[before:]
    users = {one.value.split(b'"userId": "')[1].split(b'"')[0].decode() for one in sent}
    assert sorted(change.profile_id for change in fresh) == sorted(f"user_id:{user}" for user in users)
    assert {(change.segment_key, change.reason) for change in fresh} == {("everyone", "definition")}
    assert processor.sizes["everyone"] == len(users)
    processor.write(processor.snapshot(), None)
    processor.close()
    again = SegmentProcessor(stores.open(0), newer, start=Start(401, clock(), 0), output=output)
    assert not again.scanning
    assert again.sizes["everyone"] == len(users)


def test_snapshot_is_unaffected_by_later_changes(wanted: list[Definition]) -> None:
    """A profile in flight is encoded before an event or a timer changes it."""
    records = [forwarded(one.value, at) for at, one in enumerate(shop_events(400, users=300, partitions=1))]
    engine, written = Engine(SegmentSet(wanted)), []
    for later in ([], records[300:], [tick(400, FINAL_MS)]):
        processor = SegmentProcessor(
            MemoryStores().open(0), engine, start=Start(0, clock()), output=RecordingOutput()
        )
        processor.process(records[:300])
        work_off(processor)
        snapshot = processor.snapshot()
        assert snapshot.encode()  # more to encode than fits into a slice
        processor.process(later)
        work_off(processor)
        written.append(list(snapshot.writes))
        processor.write(snapshot, None)
        changed = list(processor.snapshot().writes)  # later changes are in the next snapshot
        assert bool(changed) is bool(later)
    assert written[0] == written[1] == written[2]


def test_definitions_are_recorded_after_results_of_earlier_ones(wanted: list[Definition]) -> None:
    store = MemoryStores().open(0)
    processor = SegmentProcessor(
        store, Engine(SegmentSet(wanted)), start=Start(0, clock(), since_ms=0), output=RecordingOutput()
    )
    assert not processor.recording
    processor.process(
        [forwarded(one.value, offset) for offset, one in enumerate(shop_events(9, users=3, partitions=1))]
    )
    in_flight = processor.snapshot()
    processor.use(Engine(SegmentSet(wanted[:1])))
    assert [each for each in logged_of(in_flight) if each.profile_id.encode() not in BUCKET_KEYS] == list(
        in_flight.writes
    )
    processor.write(in_flight, 2)
    processor.committed()
    assert processor.recording  # that checkpoint preceded the new definitions
    processor.process([tick(9, START_MS + DAY_MS)])
    snapshot = processor.snapshot()
    assert logged_of(snapshot)[-1].profile_id.encode() == IN_FORCE_KEY
    processor.write(snapshot, 3)
    assert processor.recording  # not yet committed
    processor.committed()
    assert not processor.recording
    recorded = decode_in_force(store.meta(IN_FORCE_META) or b"")
    assert [definition.key for definition in recorded.definitions] == [wanted[0].key]
    assert recorded.since_ms == START_MS + DAY_MS * 8 // 9


@pytest.mark.parametrize("slices", [[0, 99], [1, 2, 99], [99]])
def test_rescan_order_does_not_affect_changes(wanted: list[Definition], slices: list[int]) -> None:
    """New definitions may be evaluated before, between or after the next records and ticks."""
    sent = shop_events(60, users=6, partitions=1)
    records = [forwarded(one.value, offset) for offset, one in enumerate(sent)]
    records += [tick(60 + hour, START_MS + DAY_MS + hour * 3_600_000) for hour in range(30)]
    more = definition_from_record(b'{"key": "old", "version": 1, "name": "Old", "when": {"known_for": "1d"}}')
    assert more is not None
    newer = Engine(SegmentSet([*wanted, more]))
    by_turn = []
    for each in (slices, [99]):
        output = RecordingOutput()
        start = Start(0, clock(), since_ms=0)
        processor = SegmentProcessor(
            MemoryStores().open(0), Engine(SegmentSet(wanted)), start=start, output=output
        )
        processor.process(records[:40])
        work_off(processor)
        processor.use(newer)
        rest = iter(records[40:])
        for limit in each:
            if limit:
                processor.rescan(limit)
            processor.process(list(itertools.islice(rest, 10)))
            processor.fire_due(1)
        processor.process(list(rest))
        while processor.rescan(99):
            pass
        work_off(processor)
        by_turn.append(found(output))
    assert by_turn[0] == by_turn[1]
    assert any(change["segment_key"] == "old" for change in by_turn[0].values())


def test_repetition_ends_after_all_possible_results(wanted: list[Definition]) -> None:
    start = Start(0, clock(), since_ms=0, replay_until=2)
    processor = SegmentProcessor(
        MemoryStores().open(0), Engine(SegmentSet(wanted)), start=start, output=RecordingOutput()
    )
    for offset in range(2):
        processor.caught_up()
        assert processor.replaying
        processor.process([tick(offset, START_MS)])
    processor.caught_up()
    assert not processor.replaying


def test_event_that_makes_a_profile_too_large_is_a_dead_letter(wanted: list[Definition]) -> None:
    value = (
        b'{"type":"identify","userId":"u1","messageId":"m%d","timestamp":"2025-10-09T09:00:00Z",'
        b'"traits":{"t%d":"%s"}}'
    )
    output, stores, engine = RecordingOutput(), MemoryStores(), Engine(SegmentSet(wanted))
    records = [forwarded(value % (n, n, b"x" * 3_000), n) for n in range(10)]
    bounds = {"max_state_bytes": 10_000}
    processor = SegmentProcessor(stores.open(0), engine, start=Start(0, clock()), output=output, **bounds)
    for record in records[:7]:
        processor.process([record])
    processor.write(processor.snapshot(), None)
    processor.close()
    store = stores.open(0)
    processor = SegmentProcessor(store, engine, start=Start(7, clock()), output=output, **bounds)
    processor.process(records[7:])
    small = forwarded(value % (10, 0, b"y"), 10)
    processor.process([small])
    processor.write(processor.snapshot(), None)
    assert [(record.offset, reason) for record, reason, _ in output.rejected] == [
        (offset, "state_too_large") for offset in range(3, 10)
    ]
    (state,) = store.get_many(["user_id:u1"])
    assert state is not None and len(state) < 10_000
    profile = decode_profile(state)
    assert sorted(profile.traits) == ["t0", "t1", "t2"]
    assert profile.traits["t0"] == "y"
    assert profile.applied == 10
