"""Which audiences a person is in, and what destinations were told of it, from the topics of the delivery."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from typing import Any

import msgspec
from aiokafka import TopicPartition

from segops.config import Settings
from segops.console.people.handles import Names
from segops.core.delivery.model import Delivery, Target, Told
from segops.kafka.clients import running_consumer
from segops.kafka.reading import read_to_end
from segops.kafka.topics import partition_counts
from segops.schemas.delivery import BadKey, decode_key, decode_target, decode_told


class SentEntry(msgspec.Struct):
    """An address of a person in a delivery: what the audience wants there, and what was told last.

    ``target`` is None once the person has left, and ``told`` before anything was told. What was told of an
    address that several people share may be of another of them.
    """

    delivery: Delivery
    address: str
    target: Target | None = None
    told: Told | None = None


async def read_sent(settings: Settings, profile_ids: Collection[str]) -> list[SentEntry]:
    """Return all addresses of a person, by audience and destination. Raises UserError without the topics."""
    topics, found = settings.topics, dict[tuple[str, str, str], SentEntry]()
    counts = await partition_counts(settings.kafka, [topics.targets, topics.told])

    def entry(destination: str, audience: str, address: str) -> SentEntry:
        key = destination, audience, address
        return found.setdefault(key, SentEntry(Delivery(destination, audience), address))

    async with aclosing(_records(settings, topics.targets, counts[topics.targets])) as records:
        async for record in records:
            try:
                *of, profile_id = decode_key(record.key, 4)
                if profile_id in profile_ids:
                    entry(*of).target = decode_target(record.value, record.headers)
            except (BadKey, msgspec.DecodeError):
                continue
    async with aclosing(_records(settings, topics.told, counts[topics.told])) as records:
        async for record in records:
            _take_told(found, record, profile_ids)
    return sorted(found.values(), key=lambda each: (each.delivery.audience, *each.delivery, each.address))


def _take_told(
    found: dict[tuple[str, str, str], SentEntry], record: Any, profile_ids: Collection[str]
) -> None:
    try:
        destination, audience, address = decode_key(record.key, 3)
        told = decode_told(record.value)
    except (BadKey, msgspec.DecodeError):  # also the records of entries and requests, under other keys
        return
    key = destination, audience, address
    if told is not None and (key in found or told.profile_id in profile_ids):
        known = found.setdefault(key, SentEntry(Delivery(destination, audience), address))
        known.told = told


async def _records(settings: Settings, topic: str, count: int) -> AsyncGenerator[Any, None]:
    partitions = [TopicPartition(topic, number) for number in range(count)]
    async with running_consumer(settings.kafka) as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        async for record in read_to_end(consumer, partitions):
            yield record


_SKIPPED = {
    "existing": "a member since before the activation",
    "capped": "told too often already",
    "discarded": "discarded by a person",
    "dead": "refused by the destination",
    "dropped": "refused by the destination, then dropped",
}


def sent_data(entries: list[SentEntry], names: Names) -> list[dict[str, Any]]:
    """Return what a person was sent, as pages show it."""
    return [
        {
            "audience": each.delivery.audience,
            "destination": each.delivery.destination,
            "address": names.value(each.address),
            "wanted": each.target is not None and each.target.member,
            "since_ms": None if each.target is None else each.target.since_ms,
            "told": each.told is not None and each.told.member,
            "told_ms": None if each.told is None else each.told.at_ms,
            "why_not": "" if each.told is None else _SKIPPED.get(each.told.skipped, each.told.skipped),
        }
        for each in entries
    ]
