"""Lanes that talk to each other, without Kafka: in any order of reading, with crashes and repetitions."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from segops.core.engine import Engine
from segops.core.events import Change
from segops.core.profile import Profile
from segops.core.segments import Definition, SegmentSet
from segops.core.values import format_instant
from segops.replay import Replay
from segops.schemas.changes import encode_change
from segops.schemas.events import route
from segops.schemas.messages import decode_message, encode_message, name_of
from segops.schemas.records import partition_of
from segops.schemas.segments import load
from segops.schemas.state import decode_profile, summary
from segops.schemas.ticks import TICK_HEADERS, source_tick
from segops.stores.memory import MemoryStores
from segops.streaming.partition.clock import PartitionClock
from segops.streaming.partition.segment import SegmentProcessor
from segops.streaming.partition.start import Start

from .helpers import START_MS, comparable
from .output import RecordingOutput
from .test_segment_processor import Rec

WALL_MS = 2_000_000_000_000
HOUR = 3_600_000

SEGMENTS = """
version: 1
segments:
  - key: viewers
    when: {did: Viewed, count: {gte: 3}}
  - key: keen
    when: {did: Viewed, count: {gte: 2}, within: 6h}
  - key: spenders
    when: {sum: total, of: Bought, is: {gte: 300}}
  - key: quiet
    when: {did_not: Bought, within: 24h}
"""


@pytest.fixture
def wanted(tmp_path: Path) -> list[Definition]:
    file = tmp_path / "segments.yaml"
    file.write_text(SEGMENTS)
    return load([file])


class Lanes:
    """Some partitions, the log of each, and what they published."""

    def __init__(self, wanted: list[Definition], number: int, **bounds: int) -> None:
        self.number = number
        self.bounds = bounds
        self.logs: list[list[Rec]] = [[] for _ in range(number)]
        self.published: dict[str, dict[str, Any]] = {}
        self.noted: list[str] = []
        self._engine = Engine(SegmentSet(wanted))
        self.stores = MemoryStores()
        self._committed = [(0, "")] * number
        self._outputs = [RecordingOutput() for _ in range(number)]
        self.lanes = [self._open(processor) for processor in range(number)]

    def _open(self, processor: int) -> SegmentProcessor:
        offset, metadata = self._committed[processor]
        clock = PartitionClock(sources=1, processors=self.number, by_events=True)
        assert clock.load(metadata) or not metadata
        return SegmentProcessor(
            self.stores.open(processor),
            self._engine,
            start=Start(offset, clock, since_ms=0),
            output=self._outputs[processor],
            **self.bounds,
        )

    def append(
        self, processor: int, key: bytes | None, value: bytes, headers: list[tuple[str, bytes]]
    ) -> None:
        self.logs[processor].append(Rec(len(self.logs[processor]), key, value, headers))

    def post(self, value: bytes, number: int) -> None:
        routed = route(value, now_ms=WALL_MS, default_time_ms=0)
        key = routed.profile_id.encode()
        headers = [("segops-source", b"0:%d" % number), ("segops-time", b"%d" % routed.time_ms)]
        self.append(partition_of(key, self.number), key, value, headers)

    def tick(self, watermark_ms: int) -> None:
        for processor in range(self.number):
            self.append(processor, None, source_tick(0, watermark_ms, idle=False), TICK_HEADERS)

    def read(self, number: int, count: int = 1) -> None:
        processor, output = self.lanes[number], self._outputs[number]
        processor.process(self.logs[number][processor.offset : processor.offset + count])
        while processor.fire_due(3):
            pass
        for message in output.sent:
            key = message.to.encode()
            headers = [("segops-type", name_of(message).encode())]
            self.append(partition_of(key, self.number), key, encode_message(message), headers)
        for change in output.changes:
            self._publish(change)
        assert output.rejected == []
        self.noted += [reason for _, reason, _ in output.dead_letters]
        processor.report_watermark(number)
        for tick in output.forwarded:
            for other in range(self.number):
                self.append(other, None, tick.value or b"", TICK_HEADERS)
        for found in (output.sent, output.changes, output.dead_letters, output.forwarded):
            found.clear()  # type: ignore[attr-defined]

    def _publish(self, change: Change) -> None:
        row = comparable(encode_change(change, 0))
        assert self.published.setdefault(change.change_id, row) == row

    def checkpoint(self, number: int) -> None:
        collected = self.lanes[number].snapshot()
        self.lanes[number].write(collected, None)
        self._committed[number] = collected.offset, collected.metadata

    def crash(self, number: int) -> None:
        self.lanes[number].close()
        self.lanes[number] = self._open(number)

    def behind(self) -> list[int]:
        return [n for n, processor in enumerate(self.lanes) if processor.offset < len(self.logs[n])]

    def rest(self) -> None:
        while behind := self.behind():
            for number in behind:
                self.read(number, 50)

    def stored(self) -> dict[str, Profile]:
        for number in range(self.number):
            self.checkpoint(number)
        stores = [processor._store for processor in self.lanes]
        states = [state for store in stores for state in store.get_many(store.profile_ids(None, 9_999))]
        return {profile.id: profile for profile in (decode_profile(state) for state in states if state)}


def crowd(seed: int, *, apart: bool) -> list[bytes]:
    """People with two devices who log in. ``apart``: what they do once logged in carries both ids."""
    dice = random.Random(seed)
    known: set[tuple[int, int]] = set()
    found = []
    for number in range(150):
        who = person, device = dice.randrange(8), dice.randrange(2)
        if dice.random() < 0.2:
            known.add(who)
        ids = {"anonymousId": f"a{person}-{device}"}
        if who in known and (apart or dice.random() < 0.5):
            ids["userId"] = f"u{person}"
        form = {
            "type": "track",
            "event": dice.choice(["Viewed", "Viewed", "Bought"]),
            "messageId": f"m{number}",
            "timestamp": format_instant(START_MS + number * 600_000),
            "properties": {"total": dice.randrange(200)},
            **ids,
        }
        found.append(json.dumps(form).encode())
    return found


END_MS = START_MS + 60 * HOUR


def replayed(wanted: list[Definition], lines: list[bytes]) -> tuple[Replay, dict[str, dict[str, Any]]]:
    replay = Replay(SegmentSet(wanted), wall_ms=WALL_MS)
    changes = [change for line in lines for change in replay.feed(line, default_id="")]
    changes += replay.advance(END_MS)
    return replay, {change.change_id: comparable(encode_change(change, 0)) for change in changes}


def assert_people(lanes: Lanes, replay: Replay) -> None:
    stored = lanes.stored()
    assert stored.keys() == replay.profiles.keys()
    for key, wanted in replay.profiles.items():
        found = stored[key]
        assert (found.merged_into, found.members.keys()) == (wanted.merged_into, wanted.members.keys())
        assert {*(found.links.owned if found.links else ())} == {
            *(wanted.links.owned if wanted.links else ())
        }
    sizes = sum((processor.sizes for processor in lanes.lanes[1:]), lanes.lanes[0].sizes)
    assert +sizes == {key: size for key, size in replay.sizes.items() if size}


@pytest.mark.parametrize("seed", range(12))
def test_messages_that_arrive_before_the_next_event_give_what_replay_gives(
    wanted: list[Definition], seed: int
) -> None:
    lines = crowd(seed, apart=False)
    replay, expected = replayed(wanted, lines)
    lanes = Lanes(wanted, 1 + seed % 4)
    for number, line in enumerate(lines):
        lanes.post(line, number)
        lanes.rest()
    lanes.tick(END_MS)
    lanes.rest()
    assert lanes.published == expected
    assert_people(lanes, replay)


@pytest.mark.parametrize("seed", range(12))
def test_people_who_say_who_they_are_are_as_in_replay_however_late_messages_are(
    wanted: list[Definition], seed: int
) -> None:
    """Each lane reads as it likes, as long as nothing overtakes the events of the source."""
    dice = random.Random(seed)
    lines = crowd(seed, apart=True)
    replay, expected = replayed(wanted, lines)
    lanes = Lanes(wanted, 1 + seed % 4)
    for number, line in enumerate(lines):
        lanes.post(line, number)
        if dice.random() < 0.1:
            lanes.tick(START_MS + number * 600_000)
    lanes.tick(END_MS)
    while behind := lanes.behind():
        lanes.read(dice.choice(behind), dice.randrange(1, 5))
    assert lanes.published == expected
    assert_people(lanes, replay)


@pytest.mark.parametrize("seed", range(12))
def test_after_crashes_in_any_order_the_people_are_the_same(wanted: list[Definition], seed: int) -> None:
    dice = random.Random(seed)
    lines = crowd(seed, apart=False)
    replay, _ = replayed(wanted, lines)
    lanes = Lanes(wanted, 2 + seed % 3)
    left = list(enumerate(lines))
    while left or lanes.behind():
        if left and (dice.random() < 0.3 or not lanes.behind()):
            number, line = left.pop(0)
            lanes.post(line, number)
        else:
            lanes.read(dice.choice(lanes.behind()), dice.randrange(1, 5))
        trouble = dice.random()
        if trouble < 0.1:
            lanes.checkpoint(dice.randrange(lanes.number))
        elif trouble < 0.12:
            lanes.crash(dice.randrange(lanes.number))
    lanes.tick(END_MS)
    lanes.rest()
    assert_people(lanes, replay)


def anonymous_then_known(wanted: list[Definition]) -> Lanes:
    lanes = Lanes(wanted, 4)
    form = {"type": "track", "event": "Viewed", "timestamp": format_instant(START_MS), "anonymousId": "a1"}
    lanes.post(json.dumps({**form, "messageId": "m1"}).encode(), 0)
    lanes.rest()
    lanes.post(json.dumps({**form, "messageId": "m2", "userId": "u1"}).encode(), 1)
    return lanes


def test_a_profile_that_waits_is_not_due_and_a_redirect_is_small(wanted: list[Definition]) -> None:
    lanes = anonymous_then_known(wanted)
    user, device = (partition_of(key, 4) for key in (b"user_id:u1", b"anonymous_id:a1"))
    assert user != device
    lanes.read(user)
    lanes.tick(START_MS + HOUR)
    lanes.read(user, 9)
    stored = lanes.stored()
    assert stored["user_id:u1"].links is not None and stored["user_id:u1"].links.pending
    store = lanes.lanes[user]._store
    (state,) = store.get_many(["user_id:u1"])
    assert state is not None and summary(state) == (None, b"")
    assert store.due(1 << 60, 9) == []
    lanes.rest()
    assert lanes.stored()["user_id:u1"].members.keys() == {"quiet", "keen"}
    store = lanes.lanes[device]._store
    (state,) = store.get_many(["anonymous_id:a1"])
    assert state is not None and len(state) < 200 and summary(state) == (None, b"")
    assert store.due(1 << 60, 9) == []


def test_a_message_that_was_applied_is_skipped_when_read_again(wanted: list[Definition]) -> None:
    lanes = anonymous_then_known(wanted)
    lanes.rest()
    before = [len(log) for log in lanes.logs]
    stored = {key: msgspec.msgpack.encode(profile) for key, profile in lanes.stored().items()}
    lanes._committed = [(0, "")] * 4  # the stores are ahead of what was committed
    for number in range(4):
        lanes.crash(number)
        lanes.read(number, before[number])
    assert {key: msgspec.msgpack.encode(profile) for key, profile in lanes.stored().items()} == stored


def test_what_is_no_message_is_put_aside(wanted: list[Definition]) -> None:
    output = RecordingOutput()
    clock = PartitionClock(sources=1, by_events=False)
    processor = SegmentProcessor(
        MemoryStores().open(0), Engine(SegmentSet(wanted)), start=Start(0, clock), output=output
    )
    headers = [("segops-type", b"claim")]
    values = (None, b"", b"\x07", b"\x01", b"\x01\x91\xa5claim", b"\x01\x91\xa4what")
    processor.process([Rec(n, b"user_id:u", value, headers) for n, value in enumerate(values)])
    assert [reason for _, reason, _ in output.rejected] == ["internal"] * len(values)
    with pytest.raises(ValueError, match="format 7"):
        decode_message(b"\x07")
