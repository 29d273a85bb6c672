"""Kafka access of a run: topics, input, output and its progress, with the broker's timestamps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code

from .job import Record

#: Events have past timestamps, so retention is unlimited. The broker timestamps the output, to measure it.
#: Topic -> number of partitions and configs.
Topics = Mapping[str, tuple[int, Mapping[str, str]]]

INPUT = {"retention.ms": "-1", "message.timestamp.type": "CreateTime"}
OUTPUT = {"retention.ms": "-1", "message.timestamp.type": "LogAppendTime"}
_BATCH_BYTES = 512 * 1024


async def create(servers: str, topics: Topics) -> None:
    """Create topics, each with its number of partitions and configs."""
    async with _admin(servers) as admin:
        made = [
            NewTopic(name, number, 1, topic_configs=dict(configs))
            for name, (number, configs) in topics.items()
        ]
        answer = await admin.create_topics(made)
        failed = [(name, for_code(code)) for name, code, *_ in answer.topic_errors if code]
        assert not failed, failed
        while {t["topic"] for t in await admin.describe_topics() if len(t["partitions"])} < set(topics):
            await asyncio.sleep(0.1)


async def delete(servers: str, prefix: str) -> None:
    """Delete all topics with a prefix."""
    async with _admin(servers) as admin:
        names = [name for name in await admin.list_topics() if name.startswith(prefix)]
        if names:
            await admin.delete_topics(names)


async def load(servers: str, topic: str, records: Iterable[Record]) -> None:
    """Produce the input, keyed by user, in order within each partition, timestamped with its event time."""
    producer = AIOKafkaProducer(
        bootstrap_servers=servers, compression_type="lz4", max_batch_size=_BATCH_BYTES, acks="all"
    )
    await producer.start()
    try:
        await send_all(producer, topic, records)
    finally:
        await producer.stop()


async def send_all(producer: AIOKafkaProducer, topic: str, records: Iterable[Record]) -> None:
    """Send in batches of one partition each; return when all are acknowledged."""
    batches: dict[int, Any] = {}
    for record in records:
        batch = batches.get(record.partition)
        if batch is None or _append(batch, record) is None:
            if batch is not None:
                await _send(producer, topic, record.partition, batch)
            batches[record.partition] = producer.create_batch()
            _append(batches[record.partition], record)
    for partition, batch in batches.items():
        await _send(producer, topic, partition, batch)


def _append(batch: Any, record: Record) -> Any:
    return batch.append(key=record.user.encode(), value=record.value, timestamp=record.at_ms)


async def _send(producer: AIOKafkaProducer, topic: str, partition: int, batch: Any) -> None:
    await (await producer.send_batch(batch, topic, partition=partition))


async def read(servers: str, topic: str) -> list[Any]:
    """Return all committed records of a topic."""
    async with consumer(servers) as reader:
        partitions = await partitions_of(reader, topic)
        reader.assign(partitions)
        ends, records = await reader.end_offsets(partitions), []
        while any([await reader.position(place) < end for place, end in ends.items()]):
            for found in (await reader.getmany(timeout_ms=200)).values():
                records += found
    return records


async def partitions_of(reader: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    """Return the partitions of a topic."""
    numbers = None
    while not numbers:
        await reader._client.force_metadata_update()  # the client does not know the topic yet
        numbers = reader.partitions_for_topic(topic) or await _known(reader, topic)
    return [TopicPartition(topic, number) for number in sorted(numbers)]


async def _known(reader: AIOKafkaConsumer, topic: str) -> set[int]:
    await reader._client.add_topic(topic)
    return set(reader._client.cluster.partitions_for_topic(topic) or ())


async def count(reader: AIOKafkaConsumer, partitions: list[TopicPartition]) -> int:
    """Return the sum of the end offsets of partitions."""
    return sum((await reader.end_offsets(partitions)).values())


@asynccontextmanager
async def consumer(servers: str) -> AsyncIterator[AIOKafkaConsumer]:
    """Open a consumer without a group."""
    made = AIOKafkaConsumer(
        bootstrap_servers=servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
        max_partition_fetch_bytes=4 << 20,
    )
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


@asynccontextmanager
async def _admin(servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()
