"""The lane without Kafka: against the engine alone, in any batching, with crashes in between."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from segops.core.engine import Engine
from segops.core.segments import Definition, SegmentSet
from segops.schemas.changes import encode_change
from segops.schemas.events import route
from segops.schemas.in_force import IN_FORCE_KEY, decode_in_force
from segops.schemas.segments import definition_from_record, load
from segops.schemas.state import decode_profile
from segops.schemas.ticks import TICK_HEADERS, source_tick, wall_tick
from segops.stores.memory import MemoryStores
from segops.streaming.partition.clock import PartitionClock
from segops.streaming.partition.segment import SegmentProcessor
from segops.streaming.partition.snapshot import IN_FORCE_META
from segops.streaming.partition.start import Start

from .helpers import DAY_MS, SEGMENTS, START_MS, comparable, oracle, shop
from .output import RecordingOutput

FINAL_MS = START_MS + 2 * DAY_MS


class Rec(msgspec.Struct):
    """A record as a consumer gives it."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp: int = START_MS


@pytest.fixture
def wanted(tmp_path: Path) -> list[Definition]:
    file = tmp_path / "segments.yaml"
    file.write_text(SEGMENTS)
    return load([file])


def forwarded(value: bytes, offset: int) -> Rec:
    routed = route(value, now_ms=FINAL_MS, default_time_ms=0)
    headers = [("segops-source", b"0:%d" % offset), ("segops-time", b"%d" % routed.time_ms)]
    return Rec(offset, routed.profile_id.encode(), value, headers)


def tick(offset: int, watermark_ms: int) -> Rec:
    return Rec(offset, None, source_tick(0, watermark_ms, idle=False), TICK_HEADERS)


def clock(*, by_events: bool = True) -> PartitionClock:
    return PartitionClock(sources=1, by_events=by_events)


def found(output: RecordingOutput) -> dict[str, dict[str, Any]]:
    return {change.change_id: comparable(encode_change(change, 0)) for change in output.changes}


def work_off(processor: SegmentProcessor) -> None:
    while processor.fire_due(7):
        pass


def batches(records: list[Rec], dice: random.Random) -> Iterator[list[Rec]]:
    rest = iter(records)
    while batch := list(itertools.islice(rest, dice.randrange(1, 60))):
        yield batch


@pytest.mark.parametrize("seed", range(8))
def test_any_batching_and_any_crash_gives_what_the_engine_alone_gives(
    wanted: list[Definition], seed: int
) -> None:
    dice = random.Random(seed)
    sent = shop(800, users=25, partitions=1, seed=seed)
    records = [forwarded(one.value, offset) for offset, one in enumerate(sent)]
    records.append(tick(len(records), FINAL_MS))
    stores, engine, output = MemoryStores(), Engine(SegmentSet(wanted)), RecordingOutput()
    committed = Start(0, clock())
    while committed.offset < len(records):
        processor = SegmentProcessor(stores.open(0), engine, start=committed, output=output, cache_profiles=5)
        offset, metadata = committed.offset, committed.clock.dump()
        for batch in batches(records[offset:], dice):
            processor.process(batch)
            processor.fire_due(dice.randrange(5))
            if dice.random() < 0.3:
                collected = processor.snapshot()
                if dice.random() < 0.5:  # the lane goes on while acknowledgements are awaited
                    processor.fire_due(3)
                processor.write(collected, None)
                if dice.random() < 0.2:
                    break  # killed between the store and the commit
                offset, metadata = collected.offset, collected.metadata
            if dice.random() < 0.05:
                break  # killed
        else:
            work_off(processor)
            processor.write(processor.snapshot(), None)
            offset = processor.offset
        processor.close()
        restored = clock()
        assert restored.load(metadata)
        committed = Start(offset, restored)
    assert found(output) == oracle(sent, wanted, FINAL_MS)


def test_the_clock_comes_back_exactly(wanted: list[Definition]) -> None:
    clocks = PartitionClock(sources=3, by_events=True)
    clocks.observe(0, START_MS + 10)
    clocks.mark(1, START_MS + 7, idle=False)
    assert clocks.now_ms == 0  # the third was never heard of
    clocks.mark(2, 0, idle=True)
    assert clocks.now_ms == START_MS + 7
    restored = PartitionClock(sources=3, by_events=True)
    assert restored.load(clocks.dump())
    for each in (clocks, restored):
        each.observe(1, START_MS + 30)
        assert each.now_ms == START_MS + 10
        each.observe(2, START_MS + 5)  # it woke, and is behind: time stands still, it never goes back
        each.observe(0, START_MS + 40)
        assert each.now_ms == START_MS + 10
    assert clocks.dump() == restored.dump()


@pytest.mark.parametrize("text", ["", "2;5;", "1;x;", "1;5", "nonsense"])
def test_a_lost_clock_is_no_clock(text: str) -> None:
    assert not clock().load(text)


def test_a_profile_is_stored_from_its_first_event_on(wanted: list[Definition]) -> None:
    stores = MemoryStores()
    processor = SegmentProcessor(
        stores.open(0), Engine(SegmentSet(wanted)), start=Start(0, clock()), output=RecordingOutput()
    )
    value = json.dumps({"type": "track", "event": "Unheard Of", "userId": "u1"}).encode()
    processor.process([forwarded(value, 0)])
    collected = processor.snapshot()
    assert [write.profile_id for write in collected.writes] == ["user_id:u1"]


def test_time_moves_by_wall_ticks_alone_with_the_wall_clock(wanted: list[Definition]) -> None:
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
    processor.process([Rec(1, None, wall_tick(at + 6 * 3_600_000 - 1), TICK_HEADERS)])
    assert processor.fire_due(10) == 0
    processor.process([Rec(2, None, wall_tick(at + 6 * 3_600_000 + 5_000), TICK_HEADERS)])
    assert processor.fire_due(10) == 1
    assert [(c.action, c.occurred_at) for c in output.changes] == [
        ("entered", at),
        ("exited", at + 6 * 3_600_000),
    ]


def test_a_record_that_breaks_the_engine_is_put_aside_and_the_rest_goes_on(wanted: list[Definition]) -> None:
    output = RecordingOutput()
    processor = SegmentProcessor(
        MemoryStores().open(0), Engine(SegmentSet(wanted)), start=Start(0, clock()), output=output
    )
    good = [forwarded(one.value, offset) for offset, one in enumerate(shop(4, users=1, partitions=1))]
    broken = [
        Rec(4, b"user_id:u1", b"{", good[0].headers),
        Rec(5, b"\xff", b"{}", good[0].headers),
        Rec(6, b"user_id:u1", good[0].value, []),
        Rec(7, None, b"no tick", []),
        Rec(8, None, source_tick(99, 1, idle=False), TICK_HEADERS),
    ]
    processor.process([*good, *broken, tick(9, FINAL_MS)])
    assert [record.offset for record, _, _ in output.rejected] == [4, 5, 6, 7, 8]
    assert [reason for _, reason, _ in output.rejected] == ["invalid_json", *["internal"] * 4]
    assert processor.offset == 10 and processor.clock.now_ms == FINAL_MS


def test_what_was_not_written_stays_in_memory_and_the_rest_is_bounded(wanted: list[Definition]) -> None:
    processor = SegmentProcessor(
        MemoryStores().open(0),
        Engine(SegmentSet(wanted)),
        start=Start(0, clock()),
        output=RecordingOutput(),
        cache_profiles=10,
    )
    sent = shop(500, users=100, partitions=1)
    processor.process([forwarded(one.value, offset) for offset, one in enumerate(sent)])
    dirty = processor.cached
    assert dirty > 90
    collected = processor.snapshot()
    assert processor.cached == dirty
    processor.write(collected, None)
    assert processor.cached == 10


def test_many_due_at_once_are_worked_off_in_slices(wanted: list[Definition]) -> None:
    output = RecordingOutput()
    processor = SegmentProcessor(
        MemoryStores().open(0),
        Engine(SegmentSet(wanted)),
        start=Start(0, clock()),
        output=output,
        cache_profiles=10,
    )
    sent = shop(2_000, users=500, partitions=1)
    processor.process([forwarded(one.value, offset) for offset, one in enumerate(sent)])
    processor.write(processor.snapshot(), None)
    processor.process([tick(len(sent), FINAL_MS)])
    looked = []
    while slice_ := processor.fire_due(50):
        looked.append(slice_)
    assert max(looked) <= 50 and sum(looked) > 200
    assert found(output) == oracle(sent, wanted, FINAL_MS)


def test_new_definitions_reach_profiles_in_memory_and_in_the_store(
    wanted: list[Definition], tmp_path: Path
) -> None:
    stores, output = MemoryStores(), RecordingOutput()
    engine = Engine(SegmentSet(wanted))
    processor = SegmentProcessor(
        stores.open(0), engine, start=Start(0, clock()), output=output, cache_profiles=10
    )
    sent = shop(400, users=80, partitions=1)
    records = [forwarded(one.value, offset) for offset, one in enumerate(sent)]
    processor.process(records[:200])
    processor.write(processor.snapshot(), None)
    processor.process(records[200:])  # some of these are only in memory when the definitions change
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


def test_what_is_collected_is_as_it_was_though_it_is_encoded_later(wanted: list[Definition]) -> None:
    """By an event, by time: before a profile in flight changes, it is encoded."""
    records = [forwarded(one.value, at) for at, one in enumerate(shop(400, users=300, partitions=1))]
    engine, written = Engine(SegmentSet(wanted)), []
    for later in ([], records[300:], [tick(400, FINAL_MS)]):
        processor = SegmentProcessor(
            MemoryStores().open(0), engine, start=Start(0, clock()), output=RecordingOutput()
        )
        processor.process(records[:300])
        work_off(processor)
        collected = processor.snapshot()
        assert collected.encode()  # there is more to be encoded than fits into a slice
        processor.process(later)
        work_off(processor)
        written.append(collected.writes)
        processor.write(collected, None)
        changed = processor.snapshot().writes  # and what came later is in the next collection
        assert bool(changed) is bool(later)
    assert written[0] == written[1] == written[2]


def test_definitions_are_recorded_behind_what_others_judged(wanted: list[Definition]) -> None:
    store = MemoryStores().open(0)
    processor = SegmentProcessor(
        store, Engine(SegmentSet(wanted)), start=Start(0, clock(), since_ms=0), output=RecordingOutput()
    )
    assert not processor.recording
    processor.process(
        [forwarded(one.value, offset) for offset, one in enumerate(shop(9, users=3, partitions=1))]
    )
    in_flight = processor.snapshot()
    processor.use(Engine(SegmentSet(wanted[:1])))
    assert in_flight.logged == in_flight.writes
    processor.write(in_flight, 2)
    processor.committed()
    assert processor.recording  # that checkpoint did not know of it
    processor.process([tick(9, START_MS + DAY_MS)])
    collected = processor.snapshot()
    assert collected.logged[-1].profile_id.encode() == IN_FORCE_KEY
    processor.write(collected, 3)
    assert processor.recording  # not committed yet
    processor.committed()
    assert not processor.recording
    recorded = decode_in_force(store.meta(IN_FORCE_META) or b"")
    assert [definition.key for definition in recorded.definitions] == [wanted[0].key]
    assert recorded.since_ms == START_MS + DAY_MS * 8 // 9


@pytest.mark.parametrize("slices", [[0, 99], [1, 2, 99], [99]])
def test_when_a_profile_s_turn_comes_changes_nothing(wanted: list[Definition], slices: list[int]) -> None:
    """Judged by new definitions before, between or after the next records and ticks: the same changes."""
    sent = shop(60, users=6, partitions=1)
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


def test_a_repetition_ends_behind_what_anybody_can_have_judged(wanted: list[Definition]) -> None:
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


def test_an_event_that_would_make_a_profile_too_large_is_put_aside(wanted: list[Definition]) -> None:
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
