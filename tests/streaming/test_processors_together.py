"""Segment processors that exchange messages without Kafka, in any order, with crashes and re-reads."""

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
from segops.testing import RecordingOutput

from .fakes import FakeRecord
from .helpers import START_MS, comparable

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


class ProcessorNetwork:
    """The processors of several partitions with their logs and published changes."""

    def __init__(self, wanted: list[Definition], number: int, **bounds: int) -> None:
        self.number = number
        self.bounds = bounds
        self.logs: list[list[FakeRecord]] = [[] for _ in range(number)]
        self.published: dict[str, dict[str, Any]] = {}
        self.noted: list[str] = []
        self._engine = Engine(SegmentSet(wanted))
        self.stores = MemoryStores()
        self._committed = [(0, "")] * number
        self._outputs = [RecordingOutput() for _ in range(number)]
        self.processors = [self._open(partition) for partition in range(number)]

    def _open(self, partition: int) -> SegmentProcessor:
        offset, metadata = self._committed[partition]
        clock = PartitionClock(sources=1, processors=self.number, by_events=True)
        assert clock.load(metadata) or not metadata
        return SegmentProcessor(
            self.stores.open(partition),
            self._engine,
            start=Start(offset, clock, since_ms=0),
            output=self._outputs[partition],
            **self.bounds,
        )

    def append(
        self, partition: int, key: bytes | None, value: bytes, headers: list[tuple[str, bytes]]
    ) -> None:
        self.logs[partition].append(FakeRecord(len(self.logs[partition]), key, value, headers))

    def post(self, value: bytes, number: int) -> None:
        routed = route(value, now_ms=WALL_MS, default_time_ms=0)
        key = routed.profile_id.encode()
        headers = [("segops-source", b"0:%d" % number), ("segops-time", b"%d" % routed.time_ms)]
        self.append(partition_of(key, self.number), key, value, headers)

    def tick(self, watermark_ms: int) -> None:
        for partition in range(self.number):
            self.append(partition, None, source_tick(0, watermark_ms, idle=False), TICK_HEADERS)

    def read(self, number: int, count: int = 1) -> None:
        processor, output = self.processors[number], self._outputs[number]
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
        snapshot = self.processors[number].snapshot()
        self.processors[number].write(snapshot, None)
        self._committed[number] = snapshot.offset, snapshot.metadata

    def crash(self, number: int) -> None:
        self.processors[number].close()
        self.processors[number] = self._open(number)

    def lagging(self) -> list[int]:
        return [n for n, processor in enumerate(self.processors) if processor.offset < len(self.logs[n])]

    def drain(self) -> None:
        while lagging := self.lagging():
            for number in lagging:
                self.read(number, 50)

    def stored(self) -> dict[str, Profile]:
        for number in range(self.number):
            self.checkpoint(number)
        stores = [processor._store for processor in self.processors]
        states = [state for store in stores for state in store.get_many(store.profile_ids(None, 9_999))]
        return {profile.id: profile for profile in (decode_profile(state) for state in states if state)}


def crowd(seed: int, *, apart: bool) -> list[bytes]:
    """Return events of users with two devices who log in; with ``apart``, later events carry both ids."""
    rng = random.Random(seed)
    known: set[tuple[int, int]] = set()
    found = []
    for number in range(150):
        who = person, device = rng.randrange(8), rng.randrange(2)
        if rng.random() < 0.2:
            known.add(who)
        ids = {"anonymousId": f"a{person}-{device}"}
        if who in known and (apart or rng.random() < 0.5):
            ids["userId"] = f"u{person}"
        form = {
            "type": "track",
            "event": rng.choice(["Viewed", "Viewed", "Bought"]),
            "messageId": f"m{number}",
            "timestamp": format_instant(START_MS + number * 600_000),
            "properties": {"total": rng.randrange(200)},
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


def assert_profiles(network: ProcessorNetwork, replay: Replay) -> None:
    stored = network.stored()
    assert stored.keys() == replay.profiles.keys()
    for key, wanted in replay.profiles.items():
        found = stored[key]
        assert (found.merged_into, found.members.keys()) == (wanted.merged_into, wanted.members.keys())
        assert {*(found.links.owned if found.links else ())} == {
            *(wanted.links.owned if wanted.links else ())
        }
    sizes = sum((processor.sizes for processor in network.processors[1:]), network.processors[0].sizes)
    assert +sizes == {key: size for key, size in replay.sizes.items() if size}


@pytest.mark.parametrize("seed", range(12))
def test_promptly_delivered_messages_match_replay(wanted: list[Definition], seed: int) -> None:
    lines = crowd(seed, apart=False)
    replay, expected = replayed(wanted, lines)
    network = ProcessorNetwork(wanted, 1 + seed % 4)
    for number, line in enumerate(lines):
        network.post(line, number)
        network.drain()
    network.tick(END_MS)
    network.drain()
    assert network.published == expected
    assert_profiles(network, replay)


@pytest.mark.parametrize("seed", range(12))
def test_message_delay_does_not_affect_the_profiles(wanted: list[Definition], seed: int) -> None:
    """Each processor reads at its own pace, but no record overtakes the events of the source."""
    rng = random.Random(seed)
    lines = crowd(seed, apart=True)
    replay, expected = replayed(wanted, lines)
    network = ProcessorNetwork(wanted, 1 + seed % 4)
    for number, line in enumerate(lines):
        network.post(line, number)
        if rng.random() < 0.1:
            network.tick(START_MS + number * 600_000)
    network.tick(END_MS)
    while lagging := network.lagging():
        network.read(rng.choice(lagging), rng.randrange(1, 5))
    assert network.published == expected
    assert_profiles(network, replay)


@pytest.mark.parametrize("seed", range(12))
def test_crashes_do_not_affect_the_profiles(wanted: list[Definition], seed: int) -> None:
    rng = random.Random(seed)
    lines = crowd(seed, apart=False)
    replay, _ = replayed(wanted, lines)
    network = ProcessorNetwork(wanted, 2 + seed % 3)
    left = list(enumerate(lines))
    while left or network.lagging():
        if left and (rng.random() < 0.3 or not network.lagging()):
            number, line = left.pop(0)
            network.post(line, number)
        else:
            network.read(rng.choice(network.lagging()), rng.randrange(1, 5))
        trouble = rng.random()
        if trouble < 0.1:
            network.checkpoint(rng.randrange(network.number))
        elif trouble < 0.12:
            network.crash(rng.randrange(network.number))
    network.tick(END_MS)
    network.drain()
    assert_profiles(network, replay)


def anonymous_then_known(wanted: list[Definition]) -> ProcessorNetwork:
    network = ProcessorNetwork(wanted, 4)
    form = {"type": "track", "event": "Viewed", "timestamp": format_instant(START_MS), "anonymousId": "a1"}
    network.post(json.dumps({**form, "messageId": "m1"}).encode(), 0)
    network.drain()
    network.post(json.dumps({**form, "messageId": "m2", "userId": "u1"}).encode(), 1)
    return network


def test_waiting_profile_has_no_timer_and_redirects_are_small(wanted: list[Definition]) -> None:
    network = anonymous_then_known(wanted)
    user, device = (partition_of(key, 4) for key in (b"user_id:u1", b"anonymous_id:a1"))
    assert user != device
    network.read(user)
    network.tick(START_MS + HOUR)
    network.read(user, 9)
    stored = network.stored()
    assert stored["user_id:u1"].links is not None and stored["user_id:u1"].links.pending
    store = network.processors[user]._store
    (state,) = store.get_many(["user_id:u1"])
    assert state is not None and summary(state) == (None, b"")
    assert store.due(1 << 60, 9) == []
    network.drain()
    assert network.stored()["user_id:u1"].members.keys() == {"quiet", "keen"}
    store = network.processors[device]._store
    (state,) = store.get_many(["anonymous_id:a1"])
    assert state is not None and len(state) < 200 and summary(state) == (None, b"")
    assert store.due(1 << 60, 9) == []


def test_reread_message_is_skipped(wanted: list[Definition]) -> None:
    network = anonymous_then_known(wanted)
    network.drain()
    before = [len(log) for log in network.logs]
    stored = {key: msgspec.msgpack.encode(profile) for key, profile in network.stored().items()}
    network._committed = [(0, "")] * 4  # the stores are ahead of the committed offsets
    for number in range(4):
        network.crash(number)
        network.read(number, before[number])
    assert {key: msgspec.msgpack.encode(profile) for key, profile in network.stored().items()} == stored


def test_invalid_messages_become_dead_letters(wanted: list[Definition]) -> None:
    output = RecordingOutput()
    clock = PartitionClock(sources=1, by_events=False)
    processor = SegmentProcessor(
        MemoryStores().open(0), Engine(SegmentSet(wanted)), start=Start(0, clock), output=output
    )
    headers = [("segops-type", b"claim")]
    values = (None, b"", b"\x07", b"\x01", b"\x01\x91\xa5claim", b"\x01\x91\xa4what")
    processor.process([FakeRecord(n, b"user_id:u", value, headers) for n, value in enumerate(values)])
    assert [reason for _, reason, _ in output.rejected] == ["internal"] * len(values)
    with pytest.raises(ValueError, match="format 7"):
        decode_message(b"\x07")
