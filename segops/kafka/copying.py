"""Copy the partitions of a consumer group in transactions that hold their offsets, one task per partition.

The transactional id names the partition. Starting the producer fences the former owner and ends the
transaction that it left open. Only then is the committed offset read. So a record is copied exactly once,
however often its partition moves or a process dies.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata

from segops.config import KafkaSettings
from segops.kafka.clients import running_admin, running_producer
from segops.kafka.coordinator import once_available
from segops.kafka.partition_tasks import cancel_all
from segops.schemas.records import Headers

log = logging.getLogger(__name__)

#: A partition may wait for another service for as long as it takes: transactional ids fence, not this limit.
_PATIENCE_MS: Final = 2_000_000_000
_REBALANCE_MS: Final = 60_000
_TRANSACTION_MS: Final = 60_000
_PRODUCER: Final = {"linger_ms": 5, "max_batch_size": 256 * 1024, "compression_type": "snappy"}
_POLL_MS: Final = 500
_POLL_RECORDS: Final = 1_000


class Output(NamedTuple):
    """A record to be written."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers


class PartitionReader:
    """Reads one partition of a group's consumer, until cancelled.

    Each round of reading passes the number of records that are still unread to ``lagging``, and the number of
    records that were deleted unread to ``lost``, if any were.
    """

    def __init__(
        self,
        source: TopicPartition,
        consumer: AIOKafkaConsumer,
        *,
        lagging: Callable[[int], None],
        lost: Callable[[int], None],
    ) -> None:
        self._source = source
        self._consumer = consumer
        self._lagging = lagging
        self._lost = lost

    async def run(self, position: int, copy: Callable[[Sequence[Any]], Awaitable[int]]) -> None:
        """Read from a position on. ``copy`` takes some of the records that it gets, and returns how many."""
        self._consumer.seek(self._source, await self._retained(position))
        self._consumer.resume(self._source)
        while True:
            try:
                found = await self._consumer.getmany(
                    self._source, timeout_ms=_POLL_MS, max_records=_POLL_RECORDS
                )
            except OffsetOutOfRangeError as error:
                self._consumer.seek(self._source, await self._retained(error.args[0][self._source]))
                continue
            records = found.get(self._source, [])
            while records:
                records = records[await copy(records) :]
            await self._export_lag()

    async def _retained(self, position: int) -> int:
        """Return the position, or the first record if the topic lost that one or was created again."""
        first = (await self._consumer.beginning_offsets([self._source]))[self._source]
        end = (await self._consumer.end_offsets([self._source]))[self._source]
        if first <= position <= end:
            return position
        if position > end:
            log.error("%s:%d was recreated or truncated: reading it from its beginning", *self._source)
        elif position:
            log.error("%s:%d: %d records were deleted unread", *self._source, first - position)
            self._lost(first - position)
        return int(first)

    async def _export_lag(self) -> None:
        mark = self._consumer.highwater(self._source)
        if mark is not None:
            self._lagging(mark - await self._consumer.position(self._source))


async def send_all(producer: AIOKafkaProducer, outputs: Iterable[Output], partition: int) -> None:
    """Send records to a partition of their topics, and wait for their acknowledgement. Raises KafkaError."""
    deliveries = [
        await producer.send(each.topic, each.value, key=each.key, partition=partition, headers=each.headers)
        for each in outputs
    ]
    await producer.flush()
    for delivery in deliveries:  # the client commits even after a failed delivery
        await delivery


def group_options(group: str, session_timeout_ms: int) -> dict[str, Any]:
    """Return the options of the consumer of a group whose offsets its transactions commit."""
    return {
        "group_id": group,
        "auto_offset_reset": "none",
        "session_timeout_ms": session_timeout_ms,
        "rebalance_timeout_ms": _REBALANCE_MS,
        "max_poll_interval_ms": _PATIENCE_MS,
    }


@asynccontextmanager
async def taking_over(
    kafka: KafkaSettings, group: str, source: TopicPartition
) -> AsyncIterator[tuple[AIOKafkaProducer, OffsetAndMetadata | None]]:
    """Provide the producer of a partition, its former owner fenced, and the offset that is committed then."""
    options = {
        **_PRODUCER,
        "transactional_id": f"{group}-{source.topic}-{source.partition}",
        "transaction_timeout_ms": _TRANSACTION_MS,
    }
    async with running_producer(kafka, **options) as producer:
        yield producer, await _committed(kafka, group, source)


async def _committed(kafka: KafkaSettings, group: str, source: TopicPartition) -> OffsetAndMetadata | None:
    async with running_admin(kafka) as admin:
        found = await once_available(lambda: admin.list_consumer_group_offsets(group, partitions=[source]))
    at = found.get(source)
    return at if at is not None and at.offset >= 0 else None


async def until_first(*ending: Awaitable[Any]) -> None:
    """Wait for the first of these to end, and cancel the others. Raises the error of the first."""
    tasks = [asyncio.ensure_future(each) for each in ending]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            each.result()
    finally:
        await cancel_all(tasks)
