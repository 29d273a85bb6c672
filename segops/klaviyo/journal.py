"""What a pull has made durable: records and the position behind them, in one Kafka transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final, Protocol

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import InvalidProducerEpoch, ProducerFenced

from segops.config import Settings
from segops.core.errors import UserError
from segops.kafka.clients import running_consumer, running_producer
from segops.kafka.reading import read_to_end
from segops.kafka.topics import partition_counts
from segops.klaviyo.records import Outgoing
from segops.klaviyo.state import PullState, decode_state, encode_state
from segops.schemas.records import partition_of

#: The key of the pull in the pulls topic.
KEY: Final = b"klaviyo"
_TRANSACTION_TIMEOUT_MS: Final = 60_000
_PRODUCER: Final = {"linger_ms": 5, "max_batch_size": 256 * 1024, "compression_type": "lz4"}


class Journal(Protocol):
    """Where a pull keeps its records and its position, together."""

    async def read(self) -> PullState | None:
        """Return the latest position, or None before the first."""
        ...

    async def commit(self, records: Iterable[Outgoing], state: PullState) -> None:
        """Make all of the records and the position durable, or none."""
        ...


class KafkaJournal:
    """The journal of a pull in Kafka. ``passed`` is called at each failpoint."""

    def __init__(
        self,
        settings: Settings,
        producer: AIOKafkaProducer,
        counts: dict[str, int],
        *,
        passed: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._producer = producer
        self._counts = counts
        self._passed = passed

    async def read(self) -> PullState | None:
        """See ``Journal``. Raises SegopsError for a position of another version."""
        partition, found = TopicPartition(self._settings.topics.pulls, 0), None
        async with running_consumer(self._settings.kafka) as consumer:
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            async for record in read_to_end(consumer, [partition]):
                if record.key == KEY:
                    found = record.value
        return None if found is None else decode_state(found)

    async def commit(self, records: Iterable[Outgoing], state: PullState) -> None:
        """See ``Journal``. Raises UserError if another process has begun to pull."""
        topics = self._settings.topics
        try:
            async with self._producer.transaction():
                sent = []
                for record in records:
                    topic = topics.events if record.reason is None else topics.dead_letters
                    partition = partition_of(record.key, self._counts[topic])
                    sent.append(
                        await self._producer.send(
                            topic,
                            record.value,
                            key=record.key or None,
                            partition=partition,
                            headers=list(record.headers),
                        )
                    )
                value = encode_state(state)
                sent.append(await self._producer.send(topics.pulls, value, key=KEY, partition=0))
                await self._producer.flush()
                await asyncio.gather(*sent)  # the client would commit even after a failed delivery
                self._passed("pull_in_transaction")
        except (ProducerFenced, InvalidProducerEpoch):
            raise UserError("another process has begun to pull from Klaviyo; this one stops") from None
        self._passed("pull_after_commit")


@asynccontextmanager
async def open_journal(settings: Settings, *, passed: Callable[[str], None]) -> AsyncIterator[KafkaJournal]:
    """Open the journal, which ends the transaction of any other process that pulls.

    Raises UserError if a topic is missing, Unreachable if no broker answers.
    """
    topics = settings.topics
    counts = await partition_counts(settings.kafka, [topics.events, topics.dead_letters, topics.pulls])
    if counts[topics.pulls] != 1:
        raise UserError(f"the topic {topics.pulls} has {counts[topics.pulls]} partitions, expected 1")
    options = {
        "transactional_id": f"{settings.worker.app_id}-pull-klaviyo",
        "transaction_timeout_ms": _TRANSACTION_TIMEOUT_MS,
        **_PRODUCER,
    }
    async with running_producer(settings.kafka, **options) as producer:
        yield KafkaJournal(settings, producer, counts, passed=passed)
