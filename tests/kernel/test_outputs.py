"""What a partition publishes through the kernel's outboxes is what Python publishes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiokafka.record.memory_records import MemoryRecords
from prometheus_client import CollectorRegistry

from segops.config import load
from segops.core.engine import Engine
from segops.core.segments import SegmentSet
from segops.core.values import format_instant
from segops.kernel import found
from segops.metrics import Metrics
from segops.schemas.records import partition_of
from segops.stores.base import Write
from segops.stores.memory import MemoryStores
from segops.streaming.kafka_output import KafkaOutput
from segops.streaming.native_outputs import NativeBatchProducer, NativeKafkaOutput
from segops.streaming.partition.clock import PartitionClock
from segops.streaming.partition.native_segment import NativeSegmentProcessor
from segops.streaming.partition.segment import SegmentProcessor
from segops.streaming.partition.start import Start
from segops.streaming.publishers import BatchProducer
from segops.testing import definition
from tests.core.strategies import BASE_MS
from tests.kernel.sides import Record

NATIVE = found()[0]
PARTITIONS = 3

pytestmark = pytest.mark.skipif(NATIVE is None, reason="the kernel is not built")


class Appended(BatchProducer):
    """Keeps what is appended, by topic and partition, instead of sending it."""

    def __init__(self) -> None:
        super().__init__(lambda: None)  # type: ignore[arg-type, return-value]
        self.records: dict[Any, list[Any]] = {}

    def append(
        self, partition: Any, *, key: Any, value: Any, headers: Any = None, timestamp: Any = None
    ) -> None:
        self.records.setdefault(partition, []).append((key, value, [*(headers or [])], timestamp))


def _by_kernel() -> NativeBatchProducer:
    nothing: Any = lambda: None  # noqa: E731
    return NativeBatchProducer(nothing, native=NATIVE, limit=2_000, transactional=False)


def _native_records(outputs: NativeBatchProducer) -> dict[Any, list[Any]]:
    """Return what was appended, by topic and partition: key, value, headers and timestamp."""
    return {
        partition: [
            (each.key, each.value, [*each.headers], each.timestamp)
            for batch in outbox.take(False)
            for each in MemoryRecords(bytes(batch._build())).next_batch()
        ]
        for partition, outbox in outputs._outboxes.items()
    }


def _records(users: int = 20) -> list[Record]:
    """Return events of customers with two devices each, all of one partition."""
    records: list[Record] = []
    for number in range(3 * users):
        user, device = f"u{number % users}", f"d{number}"
        event = {"type": "track", "event": "A", "messageId": f"m{number}"}
        event |= {"userId": user, "anonymousId": device}
        event["timestamp"] = format_instant(BASE_MS + number)
        value, key = json.dumps(event).encode(), f"user_id:{user}".encode()
        headers = [("segops-source", b"0:%d" % number), ("segops-time", b"%d" % (BASE_MS + number))]
        records.append(Record(number, key, value, headers, 5_000 + number))
    return records


def _processed(outputs: BatchProducer, *, native: bool, users: int = 20) -> SegmentProcessor:
    settings = load(topics={"partitions": PARTITIONS})
    made = NativeKafkaOutput if native else KafkaOutput
    output = made(("profile-events", 0), outputs, settings, Metrics(CollectorRegistry()))
    start = Start(0, PartitionClock(sources=PARTITIONS, by_events=True), partitions=PARTITIONS)
    engine = Engine(SegmentSet([definition("s", {"did": "A", "count": {"gte": 2}})]))
    options: dict[str, Any] = {"native": NATIVE} if native else {}
    kind = NativeSegmentProcessor if native else SegmentProcessor
    processor = kind(MemoryStores().open(0), engine, start=start, output=output, **options)
    processor.process(_records(users))
    return processor


def test_messages_reach_the_partitions_of_their_receivers() -> None:
    by_python, by_kernel = Appended(), _by_kernel()
    _processed(by_python, native=False)
    _processed(by_kernel, native=True)
    topic = load().topics.profile_events
    records = _native_records(by_kernel)
    sent = {each: rows for each, rows in records.items() if each[0] == topic and rows}
    assert sent == {each: rows for each, rows in by_python.records.items() if each[0] == topic}
    assert len(sent) == PARTITIONS
    assert all(partition_of(row[0], PARTITIONS) == each[1] for each, rows in sent.items() for row in rows)
    assert by_kernel.has_waiters and by_python.has_waiters


def test_a_snapshot_is_appended_to_the_changelog_as_it_is_written_to_the_store() -> None:
    outputs, changelog = _by_kernel(), ("log", 1)
    snapshot = _processed(_by_kernel(), native=True, users=1_200).snapshot()
    for few in snapshot.profiles.slices():
        outputs.append_writes(changelog, few)
    writes = [(write.profile_id.encode(), write.state) for write in snapshot.writes]
    assert [(row[0], row[1]) for row in _native_records(outputs)[changelog]] == writes
    assert len({key for key, _ in writes}) == len(writes) == len(snapshot.profiles) >= 1_200


def test_store_writes_are_appended_to_the_changelog() -> None:
    outputs = _by_kernel()
    outputs.append_writes(("log", 1), [Write("user_id:ü", b"state"), Write("a", None, 5, None)])
    (rows,) = _native_records(outputs).values()
    assert [row[:3] for row in rows] == [("user_id:ü".encode(), b"state", []), (b"a", None, [])]
    with pytest.raises(TypeError):
        outputs.append_writes(("log", 1), [Write("a", "text")])  # type: ignore[arg-type]
