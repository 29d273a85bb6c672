"""The output port of both processors, without Kafka."""

from __future__ import annotations

import pytest

from segops.core.engine import Engine
from segops.core.messages import Claim
from segops.schemas.events import route
from segops.schemas.records import SOURCE_HEADER, TIME_HEADER
from segops.schemas.ticks import TICK_HEADERS, TYPE_HEADER, source_tick, watermark_tick
from segops.stores.memory import MemoryStores
from segops.streaming.partition.clock import PartitionClock
from segops.streaming.partition.resolve import ResolveProcessor
from segops.streaming.partition.segment import SegmentProcessor
from segops.streaming.partition.start import Start
from segops.streaming.publishers import DeadLetters
from segops.testing import Forwarded, RecordingOutput, segments

from .fakes import FakeRecord, RecordingProducer
from .test_segment_processor import forwarded

VIEW = b'{"type":"track","event":"View","userId":"u1","timestamp":"2025-10-09T08:53:21Z"}'
VIEW_MS = 1_760_000_001_000


def resolving(output: RecordingOutput) -> ResolveProcessor:
    return ResolveProcessor(3, route=route, output=output, event_clock=True)


def test_event_is_forwarded_unchanged_with_its_source_and_time() -> None:
    output = RecordingOutput()
    resolving(output).process([FakeRecord(7, None, VIEW, [], 5)], now_ms=2 * VIEW_MS)
    headers = [(SOURCE_HEADER, b"3:7"), (TIME_HEADER, b"%d" % VIEW_MS)]
    assert output.forwarded == [Forwarded(b"user_id:u1", VIEW, headers, 5)]
    assert output.dead_letters == output.rejected == []


def test_watermark_follows_its_events_and_is_reported_once() -> None:
    output = RecordingOutput()
    processor = resolving(output)
    processor.process([FakeRecord(0, None, VIEW, [])], now_ms=2 * VIEW_MS)
    for _ in range(2):
        processor.tick(now_ms=0, at_end=True, idle_after_ms=0)
    assert [each.key for each in output.forwarded] == [b"user_id:u1", None]
    assert output.forwarded[-1].value == source_tick(3, VIEW_MS, idle=False)


@pytest.mark.parametrize(
    ("value", "headers", "reason"),
    [
        (b"{", [], "invalid_json"),
        (b"{}", TICK_HEADERS, "internal"),
        (b"{}", [(TYPE_HEADER, b"erase")], "request_on_events"),
    ],
)
def test_record_that_cannot_be_forwarded_becomes_a_dead_letter(
    value: bytes, headers: list[tuple[str, bytes]], reason: str
) -> None:
    output = RecordingOutput()
    processor = resolving(output)
    processor.process([FakeRecord(0, None, value, headers)], now_ms=0)
    assert [(record.offset, found) for record, found, _ in output.dead_letters] == [(0, reason)]
    assert (output.forwarded, processor.counts.rejected, processor.offset) == ([], {reason: 1}, 1)


def test_segment_processor_publishes_through_the_same_port() -> None:
    output, clock = RecordingOutput(), PartitionClock(sources=1, processors=2, by_events=True)
    engine = Engine(segments(viewers={"did": "View"}))
    start = Start(0, clock, since_ms=0)
    processor = SegmentProcessor(MemoryStores().open(0), engine, start=start, output=output)
    claiming = VIEW.replace(b'"userId"', b'"anonymousId":"a1","userId"')
    processor.process([forwarded(VIEW, 0), forwarded(claiming, 1), FakeRecord(2, b"k", b"{", [])])
    for _ in range(2):
        processor.report_watermark(1)
    assert [(each.segment_key, each.action) for each in output.changes] == [("viewers", "entered")]
    assert output.sent == [Claim("anonymous_id:a1", "anonymous_id:a1", "user_id:u1", at_ms=VIEW_MS)]
    assert output.waits == [("user_id:u1", None)]
    assert [(record.offset, reason) for record, reason, _ in output.rejected] == [(2, "internal")]
    assert output.forwarded == [Forwarded(None, watermark_tick(1, VIEW_MS), TICK_HEADERS)]


def test_dead_letter_of_a_huge_record_is_truncated() -> None:
    sink = RecordingProducer()
    letters = DeadLetters(sink, partition=("dead", 0), origin=("events", 0))
    letters.put(FakeRecord(0, b"k" * 1_000_000, b"v" * 1_000_000, []), "too_large", "")
    letters.put(FakeRecord(1, b"k", b"v" * 400_000, []), "too_large", "")
    sizes = [(len(key or b""), len(value or b"")) for _, key, value in sink.appended]
    assert sizes == [(400_000, 400_000), (1, 400_000)]
