"""What becomes of a batch of records, without Kafka."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

from aiokafka import TopicPartition

from segops.config import SourceSettings
from segops.schemas.identifying import IdentityLimits
from segops.sources.copying import Mapped, Mapper, Target, map_records
from segops.sources.decoding import Decoder
from segops.sources.model import Source
from segops.sources.registry import Registry

from .helpers import Written, source_of
from .small_registry import frame

TARGET = Target("events", "dead", 4, IdentityLimits())


def map_batch(source: Source, values: Sequence[bytes | None]) -> Mapped:
    """Map records with these values, at the offsets from 0 on in partition 2."""

    async def run() -> Mapped:
        async with Registry(SourceSettings()) as registry:
            records = [Written(value, offset=number) for number, value in enumerate(values)]
            return await map_records(Mapper(source, Decoder(source, registry)), 2, records, target=TARGET)

    return asyncio.run(run())


def test_each_record_becomes_events_or_a_dead_letter(tmp_path: Path) -> None:
    text = "{identifiers: {user_id: id}, map: [{event: A}, {event: B, when: {two: true}}]}"
    good, two, none = b'{"id": 1}', b'{"id": 2, "two": true}', b'{"id": null, "two": true}'
    long = json.dumps({"id": "x" * 40_000}).encode()
    found = map_batch(source_of(text, tmp_path), [good, b"{", two, None, none, long])
    assert (found.count, found.away) == (6, None)
    assert dict(found.rejected) == {"undecodable": 1, "no_identifier": 1, "too_large": 1}
    written = [(output.topic, output.key, dict(output.headers)) for output in found.outputs]
    assert [
        (topic, key, headers.get("segops-from")) for topic, key, headers in written if topic == "events"
    ] == [
        ("events", b"user_id:1", b"orders:2:0"),
        ("events", b"user_id:2", b"orders:2:2"),
        ("events", b"user_id:2", b"orders:2:2"),
    ]
    dead = [(output.value, dict(output.headers)) for output in found.outputs if output.topic == "dead"]
    assert [(value, headers["segops-origin"], headers["segops-reason"]) for value, headers in dead] == [
        (b"{", b"orders:2:1", b"undecodable"),
        (none, b"orders:2:4", b"no_identifier"),
        (long, b"orders:2:5", b"too_large"),
    ]


def test_records_before_one_that_waits_are_mapped(tmp_path: Path) -> None:
    source = source_of("{format: avro, map: {event: A, userId: id}}", tmp_path)
    found = map_batch(source, [None, b"not framed", frame(5, b"x"), None])
    assert (found.count, len(found.outputs)) == (2, 1)
    assert "SEGOPS_SCHEMA_REGISTRY_URL" in str(found.away)


def test_partition_keeps_its_order_and_partitions_spread() -> None:
    numbers = {number: TARGET.partition_of(TopicPartition("orders", number)) for number in range(8)}
    assert set(numbers.values()) == {0, 1, 2, 3}
    assert all(numbers[number] == numbers[number + 4] for number in range(4))
