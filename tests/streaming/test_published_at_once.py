"""What is published can be read as soon as the publisher says so."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import TopicPartition

from segops.config import Settings
from segops.kafka import topics
from segops.kafka.clients import running_consumer
from segops.kafka.publication import publisher

from .helpers import Stack

pytestmark = pytest.mark.broker

ROUNDS = 30


def test_a_reader_sees_a_publication_once_it_has_returned(stack: Stack) -> None:
    """Kafka acknowledges a commit before its records can be read: a fast reader would miss them."""
    assert asyncio.run(missed(stack.settings)) == []


async def missed(settings: Settings) -> list[int]:
    """Publish again and again; return the rounds whose records could not be read at once."""
    await topics.create(settings)
    topic, plans = settings.topics.segments, settings.topics.plans
    partitions = [TopicPartition(topic, 0), TopicPartition(plans, 0)]
    found = []
    async with running_consumer(settings.kafka) as reader, publisher(settings.kafka, topic) as publish:
        for count in range(1, ROUNDS + 1):
            record = (b"key", b"%d" % count)
            await publish([record], {plans: [record]})
            ends = await reader.end_offsets(partitions)
            if any(end != 2 * count for end in ends.values()):  # each record, and the mark of its transaction
                found.append(count)
    return found
