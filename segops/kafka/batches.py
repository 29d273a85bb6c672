"""Fetched records as they came: record batches of Kafka, without an object per record.

aiokafka's ``getmany`` makes a ConsumerRecord of every record, which costs more than all the rest of a
recovery, and a good part of what an event may cost. Here the fetcher's buffers are emptied before that
happens. The positions are moved on first, so that the next fetch is under way while these records are
worked off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from itertools import chain, islice
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult
from aiokafka.errors import CorruptRecordException


class Fetched:
    """What one fetch brought of one partition; ``next_offset`` is where the next one goes on."""

    def __init__(self, place: TopicPartition, records: Any) -> None:
        self._place = place
        self._begin: Final[int] = records.next_fetch_offset
        self.next_offset = self._begin
        self._batches = list(self._useful(records))

    def _useful(self, records: Any) -> Iterator[Any]:
        committed_only = records._isolation_level == READ_COMMITTED  # noqa: SLF001
        memory = records._records  # noqa: SLF001
        while memory.has_next():
            batch = memory.next_batch()
            if not batch.validate_crc():
                raise CorruptRecordException(f"a batch of {self._place} from offset {batch.base_offset} on")
            # Also past what holds no record: markers, aborted transactions, what compaction left empty.
            self.next_offset = max(self.next_offset, batch.next_offset)
            aborted = committed_only and batch.producer_id is not None and _is_aborted(records, batch)
            if not aborted and not batch.is_control_batch:
                yield batch

    def __iter__(self) -> Iterator[Any]:
        return chain.from_iterable(map(self._wanted, self._batches))

    def _wanted(self, batch: Any) -> Iterator[Any]:
        begin = self._begin
        return batch if batch.base_offset >= begin else (each for each in batch if each.offset >= begin)

    def slices(self, size: int) -> Iterator[list[Any]]:
        """The records in lists of at most this size; unpacked as they are asked for."""
        records = iter(self)
        return iter(lambda: list(islice(records, size)), [])

    def latest(self) -> tuple[int, dict[bytes, bytes | None]]:
        """How many records there are, and the latest value of each key."""
        count = 0
        values: dict[bytes, bytes | None] = {}
        for record in self:
            count += 1
            if record.key is not None:
                values[record.key] = record.value
        return count, values


def _is_aborted(records: Any, batch: Any) -> bool:
    records._consume_aborted_up_to(batch.base_offset)  # noqa: SLF001
    aborted: set[int] = records._aborted_producers  # noqa: SLF001
    if batch.is_control_batch and records._contains_abort_marker(batch):  # noqa: SLF001
        aborted.discard(batch.producer_id)
    return bool(batch.is_transactional and batch.producer_id in aborted)


async def fetch(consumer: AIOKafkaConsumer, timeout_s: float) -> list[tuple[TopicPartition, Fetched]]:
    """What is there of the assigned partitions, after at most ``timeout_s``. Raises what the fetch did."""
    found = drain(consumer, consumer.assignment())
    if not found:
        waiter = arrival(consumer)
        await asyncio.wait([waiter], timeout=timeout_s)
        waiter.cancel()
        found = drain(consumer, consumer.assignment())
    return found


def arrival(consumer: AIOKafkaConsumer) -> asyncio.Future[None]:
    """Done when the next fetch is; to be cancelled by whoever does not wait for it any more."""
    waiter: asyncio.Future[None] = consumer._fetcher._create_fetch_waiter()  # noqa: SLF001
    return waiter


def drain(
    consumer: AIOKafkaConsumer, wanted: Collection[TopicPartition]
) -> list[tuple[TopicPartition, Fetched]]:
    """What has arrived of these partitions. Raises what the fetch did, once nothing else is there."""
    fetcher: Any = consumer._fetcher  # noqa: SLF001
    if fetcher.error_future.done():
        fetcher.error_future.result()
    found: list[tuple[TopicPartition, Fetched]] = []
    for place in [place for place in fetcher._records if place in wanted]:  # noqa: SLF001
        result = fetcher._records[place]  # noqa: SLF001
        if isinstance(result, FetchResult):
            del fetcher._records[place]  # noqa: SLF001
            found.extend(_taken(result, place))
        elif not found:
            del fetcher._records[place]  # noqa: SLF001
            result.check_raise()
    fetcher._notify(fetcher._wait_consume_future)  # noqa: SLF001
    return found


def _taken(result: FetchResult, place: TopicPartition) -> Iterator[tuple[TopicPartition, Fetched]]:
    if result.check_assignment(place):
        fetched = Fetched(place, result._partition_records)  # noqa: SLF001
        result._assignment.state_value(place).consumed_to(fetched.next_offset)  # noqa: SLF001
        yield place, fetched
