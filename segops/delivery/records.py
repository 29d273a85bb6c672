"""Transactions of records in one partition, and reading it from the beginning."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from segops.kafka.reading import read_to_end


class Output(NamedTuple):
    """A record to be written."""

    to: TopicPartition
    key: bytes
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


async def write(producer: AIOKafkaProducer, outputs: Iterable[Output]) -> None:
    """Write records in one transaction."""
    async with producer.transaction():
        deliveries = [
            await producer.send(
                each.to.topic,
                each.value,
                key=each.key,
                partition=each.to.partition,
                headers=list(each.headers),
            )
            for each in outputs
        ]
        await producer.flush()
        for delivery in deliveries:  # the client commits even after a failed delivery
            await delivery


async def from_beginning(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
) -> AsyncGenerator[Any, None]:
    """Yield the records of partitions that are assigned, from the beginning to the present ends."""
    await consumer.seek_to_beginning(*partitions)
    async for record in read_to_end(consumer, partitions):
        yield record
