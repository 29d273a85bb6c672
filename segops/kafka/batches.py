"""Fetched record batches, without an object per record.

aiokafka's ``getmany`` builds a ConsumerRecord for every record, which costs more than the rest of a recovery
and a large share of the budget of an event. This module drains the fetcher's buffers before that happens. It
advances the positions first, so that the next fetch is in flight while these records are processed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, groupby, islice
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult
from aiokafka.errors import CorruptRecordException

from segops.kafka.native_batches import READER


class Fetched:
    """The records of one fetch of one partition; ``next_offset`` is where the next fetch begins."""

    def __init__(self, partition: TopicPartition, records: Any) -> None:
        self._partition = partition
        self._begin: Final[int] = records.next_fetch_offset
        self.next_offset = self._begin
        self._memory = records._records  # noqa: SLF001
        self._batches = list(self._data_batches(records))

    def _data_batches(self, records: Any) -> Iterator[Any]:
        committed_only = records._isolation_level == READ_COMMITTED  # noqa: SLF001
        for batch in READER.batches(self._memory):
            if not batch.validate_crc():
                raise CorruptRecordException(
                    f"corrupt batch in {self._partition} at offset {batch.base_offset}"
                )
            # Also skip batches without records: markers, aborted transactions, batches emptied by compaction.
            self.next_offset = max(self.next_offset, batch.next_offset)
            aborted = committed_only and batch.producer_id is not None and _is_aborted(records, batch)
            if not aborted and not batch.is_control_batch:
                yield batch

    def __iter__(self) -> Iterator[Any]:
        return chain.from_iterable(map(self._records, self._batches))

    def _records(self, batch: Any) -> Any:
        return READER.records(self._memory, batch, self._begin)

    def slices(self, size: int) -> Iterator[Sequence[Any]]:
        """Yield the records in sequences of at most ``size``, decoding them lazily."""
        for is_native, group in groupby(map(self._records, self._batches), READER.is_native):
            divide: Any = _native_slices if is_native else _slices
            yield from divide(group, size)

    def latest(self) -> tuple[int, dict[bytes, bytes | None]]:
        """Return the number of records and the latest value of each key."""
        count = 0
        values: dict[bytes, bytes | None] = {}
        for records in map(self._records, self._batches):
            if READER.is_native(records):
                count += records.latest(values)
                continue
            for record in records:
                count += 1
                if record.key is not None:
                    values[record.key] = record.value
        return count, values


def _slices(batches: Iterable[Iterable[Any]], size: int) -> Iterator[list[Any]]:
    records = chain.from_iterable(batches)
    return iter(lambda: list(islice(records, size)), [])


def _native_slices(batches: Iterable[Any], size: int) -> Iterator[Any]:
    waiting: Any = None
    for records in batches:
        if waiting is None:
            waiting = records
        else:
            waiting.extend(records)
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]
    if waiting:
        yield waiting


def _is_aborted(records: Any, batch: Any) -> bool:
    records._consume_aborted_up_to(batch.base_offset)  # noqa: SLF001
    aborted: set[int] = records._aborted_producers  # noqa: SLF001
    if batch.is_control_batch and records._contains_abort_marker(batch):  # noqa: SLF001
        aborted.discard(batch.producer_id)
    return bool(batch.is_transactional and batch.producer_id in aborted)


async def fetch(consumer: AIOKafkaConsumer, timeout_s: float) -> list[tuple[TopicPartition, Fetched]]:
    """Return the fetched records of the assigned partitions, waiting at most ``timeout_s`` seconds for some.

    Raises the error of a failed fetch.
    """
    found = drain(consumer, consumer.assignment())
    if not found:
        waiter = arrival(consumer)
        await asyncio.wait([waiter], timeout=timeout_s)
        waiter.cancel()
        found = drain(consumer, consumer.assignment())
    return found


def arrival(consumer: AIOKafkaConsumer) -> asyncio.Future[None]:
    """Return a future that is done when the next fetch is. A caller that stops waiting must cancel it."""
    waiter: asyncio.Future[None] = consumer._fetcher._create_fetch_waiter()  # noqa: SLF001
    return waiter


def drain(
    consumer: AIOKafkaConsumer, wanted: Collection[TopicPartition]
) -> list[tuple[TopicPartition, Fetched]]:
    """Take the records that have arrived for these partitions, without waiting.

    Raises the error of a failed fetch when there are no records.
    """
    fetcher: Any = consumer._fetcher  # noqa: SLF001
    if fetcher.error_future.done():
        fetcher.error_future.result()
    found: list[tuple[TopicPartition, Fetched]] = []
    for partition in [each for each in fetcher._records if each in wanted]:  # noqa: SLF001
        result = fetcher._records[partition]  # noqa: SLF001
        if isinstance(result, FetchResult):
            del fetcher._records[partition]  # noqa: SLF001
            found.extend(_take(result, partition))
        elif not found:
            del fetcher._records[partition]  # noqa: SLF001
            result.check_raise()
    fetcher._notify(fetcher._wait_consume_future)  # noqa: SLF001
    return found


def _take(result: FetchResult, partition: TopicPartition) -> Iterator[tuple[TopicPartition, Fetched]]:
    if result.check_assignment(partition):
        fetched = Fetched(partition, result._partition_records)  # noqa: SLF001
        result._assignment.state_value(partition).consumed_to(fetched.next_offset)  # noqa: SLF001
        yield partition, fetched


async def current(
    consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, int]:
    """Return the partitions of which all is fetched, with when Kafka said so (ms UTC).

    To be called before anything else runs: later answers of Kafka may have brought more.
    """
    found: dict[TopicPartition, int] = {}
    for each in partitions:
        end: Any = consumer.last_stable_offset(each)
        end = consumer.highwater(each) if end is None or end < 0 else end
        at_ms = consumer.last_poll_timestamp(each)
        if end is not None and at_ms is not None and await consumer.position(each) >= end:
            found[each] = at_ms
    return found
