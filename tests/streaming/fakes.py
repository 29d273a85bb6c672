"""Fakes for tests of the processors, the output and the checkpoint without Kafka."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from segops.config import load
from segops.metrics import Metrics
from segops.schemas.events import route
from segops.streaming.kafka_output import KafkaOutput
from segops.streaming.partition.control import ControlProcessor
from segops.streaming.partition.resolve import ResolveProcessor
from segops.streaming.publishers import BatchProducer

from .helpers import START_MS


class FakeRecord(msgspec.Struct):
    """A consumed record."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp: int = START_MS


class RecordingProducer(BatchProducer):
    """A batch producer that records appended records and fails the test if it would send any."""

    def __init__(self) -> None:
        super().__init__(producer=lambda: pytest.fail("unexpected send"))
        self.appended: list[tuple[tuple[str, int], bytes | None, bytes | None]] = []

    def append(self, partition: tuple[str, int], **record: Any) -> None:
        self.appended.append((partition, record["key"], record["value"]))


def kafka_output(sink: RecordingProducer, topic: str) -> KafkaOutput:
    settings = load(topics={"prefix": "", "partitions": 2})
    return KafkaOutput((topic, 1), sink, settings, Metrics(CollectorRegistry()))


def resolve_processor(sink: RecordingProducer) -> ResolveProcessor:
    return ResolveProcessor(1, route=route, output=kafka_output(sink, "events"), event_clock=True)


def control_processor(sink: RecordingProducer, offset: int = 0) -> ControlProcessor:
    return ControlProcessor(kafka_output(sink, "control"), offset=offset)


def event(offset: int, value: bytes, headers: list[tuple[str, bytes]] | None = None) -> FakeRecord:
    return FakeRecord(offset, None, value, headers or [])


def letters(sink: RecordingProducer) -> list[bytes | None]:
    return [value for partition, _, value in sink.appended if partition[0] == "dead-letters"]


VIEW = b'{"type":"track","event":"View","userId":"u%d","timestamp":"2025-10-09T08:53:2%dZ"}'


ERASE = b'{"profile":"email:a@x","request":"r"}'
