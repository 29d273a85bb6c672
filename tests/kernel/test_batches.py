"""Fetched and sent batches by the kernel against aiokafka's own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from random import Random
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c

from segops.kafka.batches import Fetched
from segops.kafka.native_batches import READER, RecordsInBytes, disagreement
from segops.kernel import found

NATIVE = found()[0]
pytestmark = pytest.mark.skipif(NATIVE is None, reason="the kernel is not built")
_PARTITION = TopicPartition("t", 0)
_NONE, _GZIP, _SNAPPY, _LZ4 = range(4)


@pytest.fixture(autouse=True)
def reader() -> Iterator[None]:
    READER.use(NATIVE)
    yield
    READER.use(None)


def drawn_records(rng: Random, count: int) -> list[tuple[Any, ...]]:
    def some(size: int) -> bytes | None:
        return None if rng.random() < 0.2 else rng.choice((b"ab", b"\xff", b"")) * rng.randrange(size)

    names = ("segops-source", "ü", "")
    return [
        (
            rng.randrange(-5, 1 << 41),
            some(9),
            some(300),
            [(rng.choice(names), some(5)) for _ in range(rng.randrange(3))],
        )
        for _ in range(count)
    ]


def batch_of(
    records: list[tuple[Any, ...]], *, codec: int = _NONE, offset: int = 0, producer: int = -1, flags: int = 0
) -> bytes:
    """Build a batch; ``flags``: 8 for timestamps of the broker, 16 of a transaction, 32 a marker of one."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, producer, 0, 0, 1 << 20)
    for number, (timestamp, key, value, headers) in enumerate(records):
        builder.append(number, timestamp, key=key, value=value, headers=headers)
    data = builder.build()
    data[0:8] = offset.to_bytes(8, "big")
    data[22] |= flags
    data[17:21] = calc_crc32c(bytes(data[21:])).to_bytes(4, "big")
    return bytes(data)


def fetched(kind: Any, data: bytes, begin: int = 0, aborted: Any = ()) -> Fetched:
    """Return one fetch, read by the kernel if ``kind`` keeps the bytes."""
    found = PartitionRecords(_PARTITION, kind(data), [*aborted], begin, None, None, True, READ_COMMITTED)
    return Fetched(_PARTITION, found)


def fields(record: Any) -> tuple[Any, ...]:
    return record.offset, record.timestamp, record.key, record.value, [*record.headers]


@pytest.mark.parametrize("seed", range(30))
def test_fetched_records_are_those_of_the_client(seed: int) -> None:
    rng, offset, data, aborted = Random(seed), 0, b"", []
    for _ in range(rng.randrange(1, 9)):
        count, codec = rng.randrange(1, 30), rng.choice((_NONE, _GZIP, _SNAPPY, _SNAPPY, _LZ4))
        producer, flags = rng.choice((-1, 3)), rng.choice((0, 0, 8, 16, 24))
        if producer == 3 and flags & 16 and rng.random() < 0.5:
            aborted.append((producer, offset))
        data += batch_of(
            drawn_records(rng, count), codec=codec, offset=offset, producer=producer, flags=flags
        )
        offset += count
    marker = [(1, b"\0\0" + rng.choice((b"\0\0", b"\0\1")), b"\0" * 6, [])]
    data += batch_of(marker, offset=offset, producer=3, flags=48)
    data += batch_of(drawn_records(rng, 3), offset=offset + 1, producer=3, flags=16)
    data = data[: len(data) - rng.choice((0, 0, 5))]
    begin, size = rng.randrange(offset), rng.choice((1, 7, 250))
    client, kernel = (
        [fetched(kind, data, begin, aborted) for _ in range(3)] for kind in (MemoryRecords, RecordsInBytes)
    )
    assert kernel[0].next_offset == client[0].next_offset
    expected = [*map(fields, client[0])]
    assert [*map(fields, kernel[0])] == expected
    slices = [[*map(fields, records)] for records in kernel[1].slices(size)]
    assert [*chain.from_iterable(slices)] == expected
    assert all(0 < len(each) <= size for each in slices)
    assert kernel[2].latest() == client[1].latest()


def test_damage_is_reported_as_by_the_client() -> None:
    data = bytearray(batch_of([(1, b"k", b"v", [])]))
    data[-1] ^= 1
    with pytest.raises(CorruptRecordException):
        fetched(RecordsInBytes, bytes(data))


def test_the_self_test_sees_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    assert disagreement(NATIVE) == ""
    monkeypatch.setattr("segops.kafka.native_batches._fields", lambda record: id(record))
    assert disagreement(NATIVE) == "records differ"
    READER.use(NATIVE)
    assert not READER.is_native(NATIVE.Records.of([]))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("transactional", [False, True])
def test_sent_batches_hold_what_the_client_would_send(seed: int, transactional: bool) -> None:
    rng = Random(seed)
    limit, records = rng.choice((500, 5_000)), drawn_records(rng, rng.randrange(1, 60))
    outbox, builders = NATIVE.Outbox(limit, transactional), []
    for timestamp, key, value, headers in records:
        outbox.append(timestamp, key, value, headers)
        record = {"timestamp": timestamp, "key": key, "value": value, "headers": headers}
        if not builders or builders[-1].append(**record) is None:
            builders.append(BatchBuilder(limit, _SNAPPY, is_transactional=int(transactional)))
            assert builders[-1].append(**record) is not None
    full, rest = outbox.take(True), outbox.take(False)
    assert len(rest) == 1
    assert outbox.take(False) == []
    for ready, builder in zip([*full, *rest], builders, strict=True):
        assert (ready.size(), ready.record_count()) == (builder.size(), builder.record_count())
        for each in (ready, builder):
            each._set_producer_state(11, 3, 40)
        assert ready.closed()
        assert ready.append(timestamp=1, key=b"", value=b"") is None
        built, expected = (MemoryRecords(bytes(each._build())).next_batch() for each in (ready, builder))
        for name in (
            "is_transactional",
            "first_timestamp",
            "max_timestamp",
            "next_offset",
            "producer_id",
            "producer_epoch",
        ):
            assert getattr(built, name) == getattr(expected, name), name
        assert built.base_sequence == expected.base_sequence == 40
        assert built.validate_crc()
        assert [*map(fields, built)] == [*map(fields, expected)]
        assert ready._build() is ready._build()
