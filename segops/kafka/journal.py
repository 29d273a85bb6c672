"""Records and the position behind them, durable together: one Kafka transaction holds both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import InvalidProducerEpoch, ProducerFenced

from segops.config import Settings
from segops.core.errors import UserError
from segops.kafka.clients import running_consumer, running_producer
from segops.kafka.reading import read_to_end
from segops.kafka.topics import partition_counts
from segops.schemas.records import Headers, partition_of

_TRANSACTION_TIMEOUT_MS: Final = 60_000
_PRODUCER: Final = {"linger_ms": 5, "max_batch_size": 256 * 1024, "compression_type": "lz4"}


class Written(NamedTuple):
    """A record to be written to a topic; its key decides the partition."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers = ()


class PositionJournal:
    """The records of one process and its position, which is the latest record of ``key`` in the pulls topic.

    ``fenced``: what to say when another process has begun the same. ``passed`` is called at each failpoint.
    """

    def __init__(
        self,
        settings: Settings,
        producer: AIOKafkaProducer,
        counts: dict[str, int],
        *,
        key: bytes,
        fenced: str,
        passed: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._producer = producer
        self._counts = counts
        self._key = key
        self._fenced = fenced
        self._passed = passed

    async def read(self) -> bytes | None:
        """Return the latest position, or None before the first."""
        partition, found = TopicPartition(self._settings.topics.pulls, 0), None
        async with running_consumer(self._settings.kafka) as consumer:
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            async for record in read_to_end(consumer, [partition]):
                if record.key == self._key:
                    found = record.value
        return found

    async def commit(self, records: Iterable[Written], position: bytes) -> None:
        """Make all of the records and the position durable, or none.

        Raises UserError if another process has begun the same.
        """
        try:
            async with self._producer.transaction():
                sent = [await self._send(each) for each in records]
                pulls = self._settings.topics.pulls
                sent.append(await self._producer.send(pulls, position, key=self._key, partition=0))
                await self._producer.flush()
                await asyncio.gather(*sent)  # the client would commit even after a failed delivery
                self._passed("pull_in_transaction")
        except (ProducerFenced, InvalidProducerEpoch):
            raise UserError(self._fenced) from None
        self._passed("pull_after_commit")

    async def _send(self, record: Written) -> asyncio.Future[object]:
        partition = partition_of(record.key, self._counts[record.topic])
        sent: asyncio.Future[object] = await self._producer.send(
            record.topic,
            record.value,
            key=record.key or None,
            partition=partition,
            headers=list(record.headers),
        )
        return sent


@asynccontextmanager
async def open_journal(
    settings: Settings, name: str, *, key: bytes, fenced: str, passed: Callable[[str], None]
) -> AsyncIterator[PositionJournal]:
    """Open the journal ``name``, which ends the open transaction of any other process with that name.

    Raises UserError if a topic is missing, Unreachable if no broker answers.
    """
    topics = settings.topics
    counts = await partition_counts(settings.kafka, [topics.events, topics.dead_letters, topics.pulls])
    if counts[topics.pulls] != 1:
        raise UserError(f"the topic {topics.pulls} has {counts[topics.pulls]} partitions, expected 1")
    options = {
        "transactional_id": f"{settings.worker.app_id}-{name}",
        "transaction_timeout_ms": _TRANSACTION_TIMEOUT_MS,
        **_PRODUCER,
    }
    async with running_producer(settings.kafka, **options) as producer:
        yield PositionJournal(settings, producer, counts, key=key, fenced=fenced, passed=passed)
