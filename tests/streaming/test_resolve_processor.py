"""The resolve processor: events, ticks and dead letters, without Kafka."""

from __future__ import annotations

import pytest

from segops.core.errors import RejectedEvent
from segops.schemas.events import route
from segops.schemas.ticks import TICK_HEADERS, TYPE_HEADER, decode_tick
from segops.streaming.partition.resolve import ResolveProcessor
from segops.testing.output import RecordingOutput

from .fakes import ERASE, VIEW, RecordingProducer, event, letters, resolve_processor


def ticks(sink: RecordingProducer) -> list[tuple[int, int, bool]]:
    found = [(tp, decode_tick(value)) for tp, key, value in sink.appended if key is None]
    reports = [(tp[1], tick) for tp, tick in found if tp[0] != "dead-letters"]
    return [(number, tick.watermark_ms or 0, tick.idle) for number, tick in reports]


def test_ticks_follow_the_events_they_cover_and_are_sent_once() -> None:
    sink = RecordingProducer()
    processor = resolve_processor(sink)
    processor.tick(now_ms=0, at_end=False, idle_after_ms=100)
    assert sink.appended == []  # this source has had no event yet
    processor.process([event(0, VIEW % (1, 1)), event(1, VIEW % (2, 0))], now_ms=1_760_000_100_000)
    for _ in range(2):
        processor.tick(now_ms=0, at_end=True, idle_after_ms=100)
    watermark = 1_760_000_001_000
    assert ticks(sink) == [(0, watermark, False), (1, watermark, False)]
    assert [key is None for _, key, _ in sink.appended] == [False, False, True, True]


def test_silent_source_is_idle_until_its_next_event() -> None:
    sink = RecordingProducer()
    processor = resolve_processor(sink)
    processor.tick(now_ms=1_000, at_end=True, idle_after_ms=100)
    processor.tick(now_ms=1_099, at_end=True, idle_after_ms=100)
    assert ticks(sink) == []
    processor.tick(now_ms=1_100, at_end=True, idle_after_ms=100)
    assert ticks(sink) == [(0, 0, True), (1, 0, True)]
    processor.process([event(0, VIEW % (1, 1))], now_ms=1_760_000_100_000)
    processor.tick(now_ms=1_200, at_end=True, idle_after_ms=100)
    assert ticks(sink)[2:] == [(0, 1_760_000_001_000, False), (1, 1_760_000_001_000, False)]


def test_idle_timeout_of_zero_disables_idleness() -> None:
    sink = RecordingProducer()
    processor = resolve_processor(sink)
    processor.tick(now_ms=0, at_end=True, idle_after_ms=0)
    processor.tick(now_ms=10**12, at_end=True, idle_after_ms=0)
    assert ticks(sink) == []


def test_final_tick_goes_to_every_partition() -> None:
    sink = RecordingProducer()
    processor = resolve_processor(sink)
    processor.process([event(0, b'{"watermark_ms": 5, "end": true}', TICK_HEADERS)], now_ms=0)
    assert ticks(sink) == [(0, 5, False), (1, 5, False)]
    assert processor.metadata == "5"


def test_invalid_events_and_ticks_become_dead_letters() -> None:
    sink = RecordingProducer()
    processor = resolve_processor(sink)
    with pytest.raises(RejectedEvent):
        route(b"{", now_ms=0, default_time_ms=0)
    processor.process(
        [event(0, b"{"), event(1, b"{}", TICK_HEADERS), event(2, VIEW % (1, 1))], now_ms=2 * 10**12
    )
    assert [tp[0] for tp, _, _ in sink.appended] == [
        "dead-letters",
        "dead-letters",
        "profile-events",
    ]
    assert sum(processor.counts.rejected.values()) == 2
    assert processor.offset == 3


@pytest.mark.parametrize("kind", [b"erase", b"split"])
def test_request_on_events_is_rejected_and_does_not_move_the_clock(kind: bytes) -> None:
    sink = RecordingProducer()
    processor = resolve_processor(sink)
    processor.process([event(0, ERASE, [(TYPE_HEADER, kind)])], now_ms=2 * 10**12)
    assert letters(sink) == [ERASE] and len(sink.appended) == 1
    assert (processor.offset, processor.watermark_ms, processor.counts.rejected) == (
        1,
        0,
        {"request_on_events": 1},
    )


def test_forwarded_event_names_the_record_that_it_was_mapped_from() -> None:
    output = RecordingOutput()
    resolve = ResolveProcessor(0, route=route, output=output, event_clock=False)
    headers = [("trace", b"1"), ("segops-from", b"orders:0:7")]
    resolve.process([event(0, VIEW % (1, 1), headers), event(1, VIEW % (2, 1), headers[:1])], now_ms=10**13)
    assert [dict(each.headers).get("segops-from") for each in output.forwarded] == [b"orders:0:7", None]
