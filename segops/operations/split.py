"""Undo a hand-over: find it in its topic, and send the request that undoes it."""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer, TopicPartition

from segops.config import Settings
from segops.core.errors import SegopsError
from segops.core.messages import Handover
from segops.kafka.clients import running_consumer, running_producer
from segops.kafka.reading import read_to_end
from segops.kafka.topics import partition_counts
from segops.schemas.messages import HANDOVER, SPLIT, decode_message, encode_message, split_of
from segops.schemas.records import Record, partition_of
from segops.schemas.ticks import TYPE_HEADER


async def split(settings: Settings, profile_id: str) -> Handover:
    """Request that the profile is restored to its state at its last hand-over; return that hand-over.

    Raises SegopsError when no hand-over of the profile is retained.
    """
    topics = settings.topics
    counts = await partition_counts(settings.kafka, [topics.control, topics.profile_events])
    partitions = [TopicPartition(topics.profile_events, n) for n in range(counts[topics.profile_events])]
    async with running_consumer(settings.kafka, auto_offset_reset="earliest") as consumer:
        consumer.assign(partitions)
        found = await _latest(consumer, partitions, profile_id)
    if found is None:
        raise SegopsError(f"no hand-over of {profile_id!r} is retained in {topics.profile_events}")
    async with running_producer(settings.kafka) as producer:
        await producer.send_and_wait(
            topics.control,
            encode_message(split_of(found)),
            key=profile_id.encode(),
            partition=partition_of(profile_id.encode(), counts[topics.control]),
            headers=[(TYPE_HEADER, SPLIT)],
        )
    return found


async def _latest(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], profile_id: str
) -> Handover | None:
    # The hand-over is in the partition of the claiming profile, or further along a chain of redirects.
    latest: Handover | None = None
    async for record in read_to_end(consumer, partitions):
        found = _handover(record, profile_id)
        if found is not None and (latest is None or found.sequence >= latest.sequence):
            latest = found
    return latest


def _handover(record: Record, profile_id: str) -> Handover | None:
    value = record.value or b""
    if (TYPE_HEADER, HANDOVER) not in record.headers or profile_id.encode() not in value:
        return None
    try:
        message = decode_message(value)
    except ValueError:  # of another version
        return None
    return message if isinstance(message, Handover) and message.source == profile_id else None
