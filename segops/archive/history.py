"""Past records of a topic in log order: the port ``History``, and its implementation over the topic."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final, NamedTuple, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from segops.config import KafkaSettings
from segops.kafka.batches import fetch
from segops.kafka.clients import running_consumer
from segops.schemas.records import Record
from segops.wall_clock import wall_ms

_FETCH_S: Final = 0.5
_SLICE: Final = 1_000


class HistoryBatch(NamedTuple):
    """Consecutive records of one partition.

    ``next_offset``: where to continue reading after this batch. ``complete_since_ms``: None, or records were
    deleted before they could be read directly before this batch; the history is complete from this instant.
    """

    records: Sequence[Record]
    next_offset: int
    complete_since_ms: int | None = None


class History(Protocol):
    """The past records of one topic. Several partitions may be read at the same time."""

    def read(
        self, partition: int, *, from_ms: int, to_offset: int, from_offset: int = 0
    ) -> AsyncGenerator[HistoryBatch, None]:
        """Yield the committed records with a Kafka timestamp of at least ``from_ms``, in log order.

        Begins at ``from_offset`` and ends before ``to_offset``, for which it waits if the log is not that
        long yet. Batches may be empty; each record stands in exactly one. Close the generator when it is not
        read to its end (``contextlib.aclosing``): it holds connections or files open.
        """
        ...

    async def complete_since_ms(self, partition: int) -> int:
        """Return the Kafka timestamp from which no record is missing at present; 0: none was ever deleted."""
        ...


class TopicHistory(History):
    """The history that a topic retains."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._kafka = kafka
        self._topic = topic

    async def read(
        self, partition: int, *, from_ms: int, to_offset: int, from_offset: int = 0
    ) -> AsyncGenerator[HistoryBatch, None]:
        """Yield the records (``History.read``). Raises Unreachable if no broker answers at the start."""
        log_partition = TopicPartition(self._topic, partition)
        async with running_consumer(self._kafka, auto_offset_reset="none") as consumer:
            consumer.assign([log_partition])
            begin, start = await _bounds(consumer, log_partition, from_ms)
            lost = 0 < from_offset < begin
            consumer.seek(log_partition, begin if lost else max(from_offset, start))
            async with aclosing(_batches(consumer, log_partition, to_offset, lost=lost)) as batches:
                async for batch in batches:
                    recent = [record for record in batch.records if record.timestamp >= from_ms]
                    yield batch._replace(records=recent)

    async def first_offset(self, partition: int) -> int:
        """Return the first retained offset."""
        log_partition = TopicPartition(self._topic, partition)
        async with running_consumer(self._kafka) as consumer:
            return int((await consumer.beginning_offsets([log_partition]))[log_partition])

    async def complete_since_ms(self, partition: int) -> int:
        """Return the timestamp of the first retained record; the present if every record was deleted."""
        log_partition = TopicPartition(self._topic, partition)
        async with running_consumer(self._kafka, auto_offset_reset="none") as consumer:
            consumer.assign([log_partition])
            begin = (await consumer.beginning_offsets([log_partition]))[log_partition]
            consumer.seek(log_partition, begin)
            return await _next_timestamp(consumer, log_partition) if begin else 0


async def _bounds(consumer: AIOKafkaConsumer, log_partition: TopicPartition, from_ms: int) -> tuple[int, int]:
    """Return the first retained offset, and one up to which no record is as recent as ``from_ms``.

    Kafka also finds none when the first such record is deleted but its segment is not: then all are read.
    """
    begin = (await consumer.beginning_offsets([log_partition]))[log_partition]
    found = (await consumer.offsets_for_times({log_partition: max(from_ms, 0)}))[log_partition]
    return begin, begin if found is None else found.offset


async def _batches(
    consumer: AIOKafkaConsumer, log_partition: TopicPartition, to_offset: int, *, lost: bool
) -> AsyncGenerator[HistoryBatch, None]:
    """Yield all records before ``to_offset``. ``lost``: records before the position were deleted."""
    while await consumer.position(log_partition) < to_offset:
        try:
            found = await fetch(consumer, _FETCH_S)
        except OffsetOutOfRangeError:
            await consumer.seek_to_beginning(log_partition)
            lost = True
            continue
        for _, fetched in found:
            for records in fetched.slices(_SLICE):
                since_ms, lost = (records[0].timestamp if lost else None), False
                before = [record for record in records if record.offset < to_offset]
                yield HistoryBatch(before, min(records[-1].offset + 1, to_offset), since_ms)
            if fetched.next_offset >= to_offset:
                return
    if lost:
        yield HistoryBatch((), to_offset, await _next_timestamp(consumer, log_partition))


async def _next_timestamp(consumer: AIOKafkaConsumer, log_partition: TopicPartition) -> int:
    """Return the timestamp of the record at the position, or after it; the present if there is none."""
    end = (await consumer.end_offsets([log_partition]))[log_partition]
    while await consumer.position(log_partition) < end:
        for _, fetched in await fetch(consumer, _FETCH_S):
            for record in fetched:
                return int(record.timestamp)
    return wall_ms()
