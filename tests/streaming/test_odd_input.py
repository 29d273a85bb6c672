"""Unusual events through both processors, without Kafka: applied and counted without a clock error."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from segops.cli._lines import LineSource
from segops.core.engine import Engine
from segops.core.errors import RejectedEvent, UserError
from segops.metrics import Metrics
from segops.schemas.events import route
from segops.schemas.record_keys import record_key
from segops.stores.memory import MemoryStores
from segops.streaming.kafka_output import export_partition, export_source
from segops.streaming.partition.segment import SegmentProcessor
from segops.streaming.partition.start import Start
from segops.testing import RecordingOutput, at, segments

from .fakes import FakeRecord, RecordingProducer, event, resolve_processor
from .test_segment_processor import clock

STAMP = "2026-03-01T10:00:00Z"
NOW = at("2026-06-01")
NUMBERS = (
    "1e400",
    "-1e400",
    "9" * 4_300,
    "9" * 4_301,
    "9" * 10_000,
    "1e308",
    "5e-324",
    "[1e400]",
    '{"a": 1e400}',
)
TIMES = ('"9999-12-31T23:59:59Z"', '"0001-01-01"', '"0001-01-01T00:00:00+14:00"')
#: Events with V in place of the unusual value.
TEMPLATES = (
    '"type": "track", "event": "A", "userId": "u1", "properties": {"p": V}',
    '"type": "track", "event": "Order Completed", "userId": "u1", "properties": {"revenue": V}',
    '"type": "track", "event": "Order Refunded", "userId": "u1", "properties": {"total": V}',
    '"type": "identify", "userId": "u1", "traits": {"p": V}',
    '"type": "page", "userId": "u1", "context": {"location": {"latitude": V, "longitude": 0}}',
    '"type": "page", "anonymousId": "a1", "context": {"device": {"id": V}}',
    '"type": "page", "userId": "u1", "messageId": V',
    '"type": "page", "userId": "u1", "sentAt": V',
)
_FIGURES = ("sum", "avg", "min", "max", "distinct", "latest")


def rules() -> dict[str, Any]:
    windows: list[dict[str, Any]] = [
        {},
        {"within": "1d"},
        {"between": {"from": "2d", "to": "1d"}},
        {"calendar": {"this": "day"}},
    ]
    figures = [
        {figure: "p", "of": "A", "is": {"gt": 5}, **window} for figure in _FIGURES for window in windows
    ]
    tests = [
        {"did": "A", "where": {"p": test}} for test in ({"gt": 5.5}, {"in": [1, 2.5]}, {"in_next": "3d"})
    ]
    others = [
        {"trait": "p", "is": {"between": [1, 2.5]}},
        {"rfm": {"monetary": {"gte": 2}}},
        {"near": {"lat": 1, "lon": 1, "radius": "5km"}},
    ]
    return {f"r{number}": rule for number, rule in enumerate((*figures, *tests, *others))}


def processor_of(output: RecordingOutput, **rules: Any) -> SegmentProcessor:
    start = Start(0, clock(by_events=False))
    return SegmentProcessor(MemoryStores().open(0), Engine(segments(**rules)), start=start, output=output)


def stamped(fields: str) -> bytes:
    return f'{{"timestamp": "{STAMP}", {fields}}}'.encode()


def forwarded(value: bytes, offset: int) -> FakeRecord:
    routed = route(value, now_ms=NOW, default_time_ms=0)
    headers = [("segops-source", b"0:%d" % offset), ("segops-time", b"%d" % routed.time_ms)]
    return FakeRecord(offset, routed.profile_id.encode(), value, headers)


@pytest.mark.parametrize("template", TEMPLATES)
def test_out_of_range_values_neither_reject_an_event_nor_fail_a_rule(template: str) -> None:
    output = RecordingOutput()
    processor = processor_of(output, **rules())
    for offset, value in enumerate((*NUMBERS, *TIMES)):
        processor.process([forwarded(stamped(template.replace("V", value)), offset)])
        processor.write(processor.snapshot(), None)  # the state can be encoded
    assert output.rejected == []
    assert not processor.counts.failures
    assert not processor.counts.broken


def test_repaired_and_skipped_values_are_counted() -> None:
    processor = processor_of(
        RecordingOutput(), a={"sum": "a.b", "of": "A", "is": {"gt": 5}}, b={"trait": "t", "is": {"gt": 5}}
    )
    values = (
        '"type": "Track", "event": "A", "userId": "u1", "properties": []',
        '"type": "track", "event": "A", "userId": "u1", "properties": {"a": {"b": "5"}}',
        '"type": "track", "event": "A", "userId": "u1", "properties": {"a": {"b": [5]}}',
        r'"type": "identify", "userId": "u1", "anonymousId": [1], "traits": {"t": "\ud83d"}',
    )
    processor.process([forwarded(stamped(value), offset) for offset, value in enumerate(values)])
    metrics = Metrics(CollectorRegistry())
    export_partition(processor.take_counts(), metrics)
    value_of = metrics.registry.get_sample_value
    for kind in ("properties", "surrogate", "identifier"):
        assert value_of("segops_events_mended_total", {"kind": kind}) == 1
    for path, found in (("a.b", "text"), ("a.b", "list"), ("t", "text")):
        assert value_of("segops_values_skipped_total", {"path": path, "found": found}) == 1


def test_number_of_path_labels_is_bounded() -> None:
    metrics = Metrics(CollectorRegistry(), max_segments=1)
    assert [metrics.path(path) for path in ("a.b", "c", "a.b")] == ["a.b", "other", "a.b"]
    assert metrics.segment("c") == "c"


def test_invalid_times_are_counted_and_a_future_time_moves_no_clock() -> None:
    sink = RecordingProducer()
    processor = resolve_processor(sink)
    odd = b'{"type": "page", "userId": "u1", "timestamp": "%s", "sentAt": "", "receivedAt": "%s"}'
    ahead = odd % (b"2026-03-20T10:00:00Z", STAMP.encode())
    processor.process([event(0, odd % (STAMP.encode(), b"soon")), event(1, ahead)], now_ms=NOW)
    assert processor.watermark_ms == at(STAMP)
    assert (processor.counts.clamped, processor.counts.repairs) == (1, {"sent_at": 2, "received_at": 1})
    metrics = Metrics(CollectorRegistry())
    export_source(processor.counts, metrics)
    assert metrics.registry.get_sample_value("segops_events_clamped_total") == 1
    assert metrics.registry.get_sample_value("segops_events_mended_total", {"kind": "sent_at"}) == 2


@pytest.mark.parametrize("number", ["1e999", "9" * 10_000, "[1e999]", "{}"])
def test_invalid_device_without_a_user_does_not_end_the_worker(number: str) -> None:
    sink = RecordingProducer()
    processor = resolve_processor(sink)
    value = f'{{"type": "page", "anonymousId": "a1", "context": {{"device": {{"id": {number}}}}}}}'
    processor.process([event(0, value.encode())], now_ms=NOW)
    assert processor.counts.rejected == {}
    assert [key for _, key, _ in sink.appended] == [b"anonymous_id:a1"]


# -- produce -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (b'{"userId": 12345.0}', b"12345"),
        (b'{"userId": 12345}', b"12345"),
        (b'{"userId": 0.5, "anonymousId": "a1"}', b"a1"),
        (b'{"userId": [1], "anonymousId": "a1"}', b"a1"),
        (b'{"userId": "x\\ud83d"}', "x\ufffd".encode()),
        (b'{"userId": "u1", "properties": {"q": "\\ud83d"}}', b"u1"),
        (b'{"userId": 1e999}', None),
        (b'{"userId": true}', None),
    ],
)
def test_record_key_is_the_routing_identifier(line: bytes, key: bytes | None) -> None:
    assert record_key(line) == key


async def _produced(path: Path) -> list[bytes]:
    with LineSource(path) as source:
        return [line async for lines in source.slices() for _, line in lines]


def test_produce_reads_batches_and_byte_order_marks(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(
        b'\xef\xbb\xbf{"batch": [{"type": "page"}, {"type": "screen"}], "sentAt": "s"}\r\n'
        b'\xef\xbb\xbf{"type": "group"}\n\xef\xbb\xbf\n{"batch": []}\n\nnot json\n{"batch": [5]}'
    )
    assert asyncio.run(_produced(path)) == [
        b'{"sentAt":"s","type":"page"}',
        b'{"sentAt":"s","type":"screen"}',
        b'{"type": "group"}',
        b"not json",
        b"5",
    ]


def test_produce_refuses_utf_16(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"type": "page"}\n', "utf-16")
    with pytest.raises(UserError, match="expected UTF-8, got UTF-16"):
        asyncio.run(_produced(path))


def test_batch_in_one_record_is_rejected() -> None:
    """One record is one event: producers must split batches."""
    with pytest.raises(RejectedEvent) as caught:
        route(b'{"batch": [{"type": "page", "userId": "u1"}]}', now_ms=NOW, default_time_ms=0)
    assert caught.value.reason == "wrong_type"
