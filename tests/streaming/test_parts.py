"""The small parts: fence, ticks, resolve, checkpoint order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from segops.config import load
from segops.core.errors import RejectedEvent, SegopsError
from segops.core.messages import Forget, Split
from segops.core.profile import Erasing
from segops.core.segments import SegmentSet
from segops.kafka.positions import CommittedPosition
from segops.metrics import Metrics
from segops.schemas.events import route
from segops.schemas.in_force import encode_in_force, pack_definitions
from segops.schemas.messages import decode_message, encode_message
from segops.schemas.records import partition_of
from segops.schemas.segments import definition_from_record
from segops.schemas.ticks import TICK_HEADERS, TYPE_HEADER, decode_tick
from segops.stores.memory import MemoryStores
from segops.streaming.assignment import recorded_engine
from segops.streaming.durability.checkpoint import AtLeastOnce
from segops.streaming.failpoints import Failpoints
from segops.streaming.kafka_output import KafkaOutput
from segops.streaming.liveness.fence import LivenessFence
from segops.streaming.partition.control import ControlProcessor
from segops.streaming.partition.marks import with_mark
from segops.streaming.partition.resolve import ResolveProcessor
from segops.streaming.partition.snapshot import IN_FORCE_META
from segops.streaming.publishers import BatchProducer, DeadLetters

from .test_segment_processor import Rec


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_recorded_definitions_that_cannot_be_used_are_as_none() -> None:
    store = MemoryStores().open(0)
    assert recorded_engine(store) is None
    user = definition_from_record(
        b'{"key": "user", "version": 1, "name": "U", "when": {"in_segment": "gone"}}'
    )
    assert user is not None
    for data in (b"9", encode_in_force(pack_definitions([user]), since_ms=7)):
        store.write([], {IN_FORCE_META: data})
        assert recorded_engine(store) is None
    store.write([], {IN_FORCE_META: encode_in_force(pack_definitions([]), since_ms=7)})
    engine, since_ms = recorded_engine(store) or (None, 0)
    assert engine is not None and engine.version == SegmentSet.EMPTY.version
    assert since_ms == 7


def test_a_process_that_stood_still_is_fenced() -> None:
    time = Time()
    pulse = LivenessFence(40.0, time)
    time.now = 39.0
    pulse.beat()
    time.now = 80.0
    with pytest.raises(SegopsError, match="41 s"):
        pulse.check()
    with pytest.raises(SegopsError):
        pulse.beat()  # a late beat does not heal it


class Sink(BatchProducer):
    """Outputs that keep what was appended, and do not send."""

    def __init__(self) -> None:
        super().__init__(producer=lambda: pytest.fail("nothing is to be sent"))
        self.appended: list[tuple[tuple[str, int], bytes | None, bytes | None]] = []

    def append(self, place: tuple[str, int], **record: Any) -> None:
        self.appended.append((place, record["key"], record["value"]))


def source_lane(sink: Sink) -> ResolveProcessor:
    return ResolveProcessor(1, route=route, output=output(sink, "events"), event_clock=True)


def output(sink: Sink, topic: str) -> KafkaOutput:
    settings = load(topics={"prefix": "", "partitions": 2})
    return KafkaOutput((topic, 1), sink, settings, Metrics(CollectorRegistry()))


def at_least_once(
    producer: BatchProducer,
    commit: Callable[[Any], Awaitable[None]],
    *,
    source: ResolveProcessor,
    control: ControlProcessor | None = None,
) -> AtLeastOnce:
    """The checkpoints of a partition without profiles."""
    return AtLeastOnce(
        load(topics={"prefix": ""}).topics,
        "changelog",
        processors={},
        sources={1: source},
        controls={1: control or control_lane(Sink())},
        failpoints=Failpoints(),
        outputs=producer,
        changelog=producer,
        commit=commit,
        fence=lambda: None,
    )


def control_lane(sink: Sink, offset: int = 0) -> ControlProcessor:
    return ControlProcessor(output(sink, "control"), offset=offset)


def event(offset: int, value: bytes, headers: list[tuple[str, bytes]] | None = None) -> Rec:
    return Rec(offset, None, value, headers or [])


VIEW = b'{"type":"track","event":"View","userId":"u%d","timestamp":"2025-10-09T08:53:2%dZ"}'


def ticks(sink: Sink) -> list[tuple[int, int, bool]]:
    found = [(place, decode_tick(value)) for place, key, value in sink.appended if key is None]
    reports = [(place[1], tick) for place, tick in found if place[0] != "dead-letters"]
    return [(number, tick.watermark_ms or 0, tick.idle) for number, tick in reports]


def test_ticks_follow_what_they_cover_and_are_told_once() -> None:
    sink = Sink()
    processor = source_lane(sink)
    processor.tick(now_ms=0, at_end=False, idle_after_ms=100)
    assert sink.appended == []  # nothing was heard of this source yet
    processor.process([event(0, VIEW % (1, 1)), event(1, VIEW % (2, 0))], now_ms=1_760_000_100_000)
    for _ in range(2):
        processor.tick(now_ms=0, at_end=True, idle_after_ms=100)
    watermark = 1_760_000_001_000
    assert ticks(sink) == [(0, watermark, False), (1, watermark, False)]
    assert [key is None for _, key, _ in sink.appended] == [False, False, True, True]


def test_a_quiet_source_is_left_out_until_it_speaks_again() -> None:
    sink = Sink()
    processor = source_lane(sink)
    processor.tick(now_ms=1_000, at_end=True, idle_after_ms=100)
    processor.tick(now_ms=1_099, at_end=True, idle_after_ms=100)
    assert ticks(sink) == []
    processor.tick(now_ms=1_100, at_end=True, idle_after_ms=100)
    assert ticks(sink) == [(0, 0, True), (1, 0, True)]
    processor.process([event(0, VIEW % (1, 1))], now_ms=1_760_000_100_000)
    processor.tick(now_ms=1_200, at_end=True, idle_after_ms=100)
    assert ticks(sink)[2:] == [(0, 1_760_000_001_000, False), (1, 1_760_000_001_000, False)]


def test_a_source_is_never_idle_by_time_when_told_so() -> None:
    sink = Sink()
    processor = source_lane(sink)
    processor.tick(now_ms=0, at_end=True, idle_after_ms=0)
    processor.tick(now_ms=10**12, at_end=True, idle_after_ms=0)
    assert ticks(sink) == []


def test_the_final_tick_goes_to_every_partition_at_once() -> None:
    sink = Sink()
    processor = source_lane(sink)
    processor.process([event(0, b'{"watermark_ms": 5, "end": true}', TICK_HEADERS)], now_ms=0)
    assert ticks(sink) == [(0, 5, False), (1, 5, False)]
    assert processor.metadata == "5"


def test_bad_events_and_bad_control_records_are_put_aside() -> None:
    sink = Sink()
    processor = source_lane(sink)
    with pytest.raises(RejectedEvent):
        route(b"{", now_ms=0, default_time_ms=0)
    processor.process(
        [event(0, b"{"), event(1, b"{}", TICK_HEADERS), event(2, VIEW % (1, 1))], now_ms=2 * 10**12
    )
    assert [place[0] for place, _, _ in sink.appended] == ["dead-letters", "dead-letters", "profile-events"]
    assert sum(processor.counts.rejected.values()) == 2
    assert processor.offset == 3


ERASE = b'{"profile":"email:a@x","request":"r"}'


def letters(sink: Sink) -> list[bytes | None]:
    return [value for place, _, value in sink.appended if place[0] == "dead-letters"]


def test_a_request_goes_to_the_partition_of_its_profile() -> None:
    sink = Sink()
    processor = control_lane(sink, offset=1)
    split = encode_message(Split("user_id:u", "user_id:u", 3))
    processor.process([event(n, ERASE, [(TYPE_HEADER, b"erase")]) for n in (0, 1)])
    processor.process([event(4, split, [("other", b"x"), (TYPE_HEADER, b"split")])])
    assert [key for _, key, _ in sink.appended] == [b"email:a@x", b"user_id:u"]
    for (topic, number), key, value in sink.appended:
        assert (topic, number) == ("profile-events", partition_of(key or b"", 2))
        assert decode_message(value).to.encode() == key
    assert (processor.offset, processor.counts.rejected.total()) == (5, 0)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (ERASE, b"split"),
        (ERASE, b"tick"),
        (ERASE, b"claim"),
        (ERASE, b"\xff"),
        (ERASE, None),
        (b'{"watermark_ms": 5, "end": true}', b"tick"),
        (VIEW % (1, 1), None),
        (None, b"erase"),
        (b"\x01nonsense", b"split"),
        (encode_message(Forget("user_id:u", "user_id:u", Erasing("r"))), b"split"),
    ],
)
def test_what_is_no_request_on_control_is_put_aside(value: bytes | None, kind: bytes | None) -> None:
    sink = Sink()
    processor = control_lane(sink)
    processor.process([event(0, value or b"", [] if kind is None else [(TYPE_HEADER, kind)])])
    assert letters(sink) == [value or b""] and len(sink.appended) == 1
    assert (processor.offset, processor.counts.rejected) == (1, {"no_request": 1})


@pytest.mark.parametrize("kind", [b"erase", b"split"])
def test_a_request_on_events_is_refused_and_tells_nothing_of_time(kind: bytes) -> None:
    sink = Sink()
    processor = source_lane(sink)
    processor.process([event(0, ERASE, [(TYPE_HEADER, kind)])], now_ms=2 * 10**12)
    assert letters(sink) == [ERASE] and len(sink.appended) == 1
    assert (processor.offset, processor.watermark_ms, processor.counts.rejected) == (
        1,
        0,
        {"request_on_events": 1},
    )


def test_a_checkpoint_commits_both_inputs_of_the_resolve_step() -> None:
    commits: list[Any] = []
    control = control_lane(Sink())
    source = source_lane(Sink())

    async def commit(positions: Any) -> None:
        commits.append(positions)

    async def go() -> None:
        outputs = BatchProducer(lambda: pytest.fail("nothing to send"))
        checkpointer = at_least_once(outputs, commit, source=source, control=control)
        await checkpointer.run()
        control.process([event(6, ERASE, [(TYPE_HEADER, b"erase")])])
        await checkpointer.run()

    asyncio.run(go())
    first, second = commits
    assert first == {("events", 1): CommittedPosition(0, "0"), ("control", 1): CommittedPosition(0, "")}
    # The mark of the last record read goes with it: by it a topic that was made anew is told.
    assert second == {("control", 1): CommittedPosition(7, with_mark("", control.mark))}
    assert control.mark is not None and control.mark.offset == 6


def test_a_checkpoint_that_waited_for_the_last_one_does_nothing() -> None:
    processor, commits = source_lane(Sink()), []

    async def commit(positions: Any) -> None:
        commits.append(positions)
        processor.offset += 1
        await asyncio.sleep(0)

    async def go() -> None:
        outputs = BatchProducer(lambda: pytest.fail("nothing to send"))
        checkpointer = at_least_once(outputs, commit, source=processor)
        await asyncio.gather(checkpointer.run(last=True), checkpointer.run())

    asyncio.run(go())
    assert len(commits) == 1


def test_a_checkpoint_that_failed_once_never_commits_again() -> None:
    committed: list[Any] = []

    async def commit(positions: Any) -> None:
        committed.append(positions)

    class Broken(BatchProducer):
        async def settle(self) -> None:
            raise ConnectionError("the broker is gone")

    async def scenario() -> None:
        broken = Broken(producer=lambda: pytest.fail("nothing is to be sent"))
        processor = source_lane(Sink())
        checkpointer = at_least_once(broken, commit, source=processor)
        checkpointer.committed({("events", 1): CommittedPosition(0, "")})
        for _ in range(2):
            with pytest.raises(ConnectionError):
                await checkpointer.run()

    asyncio.run(scenario())
    assert committed == []


def test_of_a_huge_record_the_dead_letter_is_the_beginning() -> None:
    sink = Sink()
    letters = DeadLetters(sink, partition=("dead", 0), origin=("events", 0))
    letters.put(Rec(0, b"k" * 1_000_000, b"v" * 1_000_000, []), "too_large", "")
    letters.put(Rec(1, b"k", b"v" * 400_000, []), "too_large", "")
    sizes = [(len(key or b""), len(value or b"")) for _, key, value in sink.appended]
    assert sizes == [(400_000, 400_000), (1, 400_000)]
