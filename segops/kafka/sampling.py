"""The latest records of a topic, read outside any group."""

from __future__ import annotations

from typing import NamedTuple

from aiokafka import TopicPartition

from segops.config import Settings
from segops.core.errors import UserError
from segops.kafka.clients import running_consumer
from segops.kafka.reading import read_to_end
from segops.kafka.topics import partition_counts
from segops.schemas.records import Record


class Sampled(NamedTuple):
    """A record and its partition."""

    partition: int
    record: Record


async def sample(settings: Settings, topic: str, count: int) -> list[Sampled]:
    """Return about the latest ``count`` records of a topic, from all partitions alike, oldest first.

    Raises UserError if the topic does not exist or is empty; Unreachable.
    """
    number = (await partition_counts(settings.kafka, [topic]))[topic]
    partitions = [TopicPartition(topic, each) for each in range(number)]
    share = -(-count // number)
    async with running_consumer(settings.kafka) as consumer:
        consumer.assign(partitions)
        first = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        for each in partitions:
            consumer.seek(each, max(first[each], ends[each] - share))
        found = [Sampled(record.partition, record) async for record in read_to_end(consumer, partitions)]
    if not found:
        raise UserError(f"the topic {topic} has no records to sample")
    return sorted(found, key=lambda each: each.record.timestamp)
