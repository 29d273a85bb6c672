"""The population day by day in a running system."""

from __future__ import annotations

from aiokafka import TopicPartition

from segops.analytics.population_days import PopulationDay, PopulationDays
from segops.config import Settings
from segops.kafka.clients import running_consumer
from segops.kafka.reading import read_to_end
from segops.kafka.topics import partition_counts


async def population_days(settings: Settings) -> list[PopulationDay]:
    """Return the days that ``segops.trends`` retains, in order. Raises UserError without the topics."""
    topics = [settings.topics.trends, settings.topics.sizes]
    counts = await partition_counts(settings.kafka, topics)
    partitions = [TopicPartition(topic, number) for topic in topics for number in range(counts[topic])]
    found = PopulationDays(counts[settings.topics.sizes])
    async with running_consumer(settings.kafka) as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        async for record in read_to_end(consumer, partitions):
            found.apply(record.key, record.value)
    return found.days()
