"""Read partitions to their current end, and follow them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from segops.config import KafkaSettings
from segops.kafka.clients import running_consumer

_POLL_MS: Final = 500
_FOLLOW_POLL_MS: Final = 1_000


async def read_to_end(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
) -> AsyncGenerator[Any, None]:
    """Yield the records of assigned partitions, from the current positions to the current ends of the logs.

    Records that arrive meanwhile may follow. Compaction and transaction markers leave gaps in the offsets, so
    the consumer's position, not the offset of a record, shows that the end is reached.
    """
    ends = await consumer.end_offsets(partitions)
    while any([await consumer.position(partition) < end for partition, end in ends.items()]):
        for records in (await consumer.getmany(*partitions, timeout_ms=_POLL_MS)).values():
            for record in records:
                yield record


async def follow(
    kafka: KafkaSettings, partition: TopicPartition, apply: Callable[[Iterable[Any]], bool]
) -> AsyncGenerator[None, None]:
    """Apply the records of a partition: yield once all are applied, and again after every change. Never ends.

    ``apply`` returns whether its records changed anything. Of one publication it gets all records or none.
    Close the generator (``contextlib.aclosing``) to stop its consumer. Raises Unreachable.
    """
    async with running_consumer(kafka) as consumer:
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        apply([record async for record in read_to_end(consumer, [partition])])
        yield
        while True:
            found = (await consumer.getmany(partition, timeout_ms=_FOLLOW_POLL_MS)).get(partition, ())
            rest = [record async for record in read_to_end(consumer, [partition])]
            if apply([*found, *rest]):
                yield


async def read_all(kafka: KafkaSettings, *partitions: TopicPartition) -> list[Any]:
    """Return the records that partitions have now, those of each in order. Raises Unreachable."""
    async with running_consumer(kafka) as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        return [record async for record in read_to_end(consumer, partitions)]
