"""Publish the records of a compacted topic that people edit, and of another one: all in one transaction.

Of two concurrent publishers the first fails, because it decided by records that are outdated.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Protocol

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import IllegalOperation, InvalidProducerEpoch, KafkaError, ProducerFenced

from segops.config import KafkaSettings
from segops.core.errors import SegopsError, UserError
from segops.kafka.clients import running_consumer, running_producer
from segops.kafka.deadlines import within
from segops.kafka.reachability import Unreachable, in_words

_TRANSACTION_TIMEOUT_MS: Final = 15_000
_LOOK_MS: Final = 10

Records = Sequence[tuple[bytes, bytes | None]]


#: Topic, key and value of each record.
_Addressed = Sequence[tuple[str, bytes, bytes | None]]


class Outpaced(UserError):
    """Another publisher committed first."""


class Publish(Protocol):
    """Publishes records, and those ``beside`` them, by topic, in one transaction."""

    async def __call__(self, records: Records, beside: Mapping[str, Records] = ..., /) -> None: ...


@asynccontextmanager
async def publisher(kafka: KafkaSettings, topic: str) -> AsyncIterator[Publish]:
    """Provide the function that publishes records to partition 0 of a topic, in one transaction.

    It also takes records of partition 0 of other topics, which only publishers of this one may write.

    Read the topic within the block: entering it fences earlier publishers, so that no publisher writes a
    decision that is based on outdated records. The function returns when any reader would see the records. It
    raises UserError if another publisher commits first. Raises Unreachable.
    """
    options = {"transactional_id": f"{topic}-publisher", "transaction_timeout_ms": _TRANSACTION_TIMEOUT_MS}
    async with running_producer(kafka, **options) as producer:

        async def publish(records: Records, beside: Mapping[str, Records] = {}, /) -> None:
            every = [
                (name, *record) for name, found in {topic: records, **beside}.items() for record in found
            ]
            if every:
                await _until_readable(kafka, await _write(producer, topic, every))

        yield publish


async def _until_readable(kafka: KafkaSettings, written: Mapping[TopicPartition, int]) -> None:
    """Wait until committed records can be read, given the last offset of each partition.

    Kafka acknowledges a commit before it has marked the records as committed in their partitions. It marks
    them whatever happens, so that waiting for longer than a transaction may take gains nothing; nor is it an
    error of the publication if no broker answers now.
    """
    with suppress(TimeoutError, KafkaError, Unreachable):
        reading = running_consumer(kafka, retry_backoff_ms=_LOOK_MS)
        async with within(_TRANSACTION_TIMEOUT_MS / 1_000) as check, reading as reader:
            while not _passed(await reader.end_offsets([*written]), written):
                await asyncio.sleep(_LOOK_MS / 1_000)
                check()


def _passed(ends: Mapping[TopicPartition, int], written: Mapping[TopicPartition, int]) -> bool:
    return all(ends[partition] > offset for partition, offset in written.items())


async def _write(producer: AIOKafkaProducer, topic: str, records: _Addressed) -> dict[TopicPartition, int]:
    """Write records in one transaction; return the last offset of each partition."""
    try:
        async with producer.transaction():
            return await _send(producer, records)
    except (ProducerFenced, InvalidProducerEpoch):
        raise Outpaced("another publisher committed first; nothing was written. Retry.") from None
    except (KafkaError, IllegalOperation) as error:
        raise SegopsError(f"failed to publish to {topic}: {in_words(error)}") from error


async def _send(producer: AIOKafkaProducer, records: _Addressed) -> dict[TopicPartition, int]:
    """Send records and await their acknowledgement. Raises the first error that Kafka reports."""
    sent, refused = [], None
    try:
        for topic, key, value in records:
            sent.append(await producer.send(topic, value, key=key, partition=0))
    except IllegalOperation as error:  # so the client answers once an earlier record has failed
        refused = error
    finally:
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
    for outcome in (*outcomes, refused):
        if isinstance(outcome, BaseException):
            raise outcome
    written: list[Any] = outcomes
    return {TopicPartition(topic, 0): each.offset for (topic, *_), each in zip(records, written, strict=True)}
