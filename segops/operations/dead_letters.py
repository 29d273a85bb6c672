"""Look at dead letters, and send the events among them once more."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from aiokafka import TopicPartition

from segops.config import Settings, TopicSettings
from segops.core.errors import RejectedEvent, UserError
from segops.kafka.clients import running_consumer, running_producer
from segops.kafka.reading import read_to_end
from segops.kafka.topics import partition_counts
from segops.schemas.events import route
from segops.schemas.identifying import limits_of
from segops.schemas.quarantine import ORIGIN_HEADER, REASON_HEADER
from segops.schemas.record_keys import record_key
from segops.schemas.records import COLLECTOR_HEADER, FROM_HEADER, partition_of
from segops.wall_clock import wall_ms

DETAIL_HEADER: Final = "segops-detail"
CUT_HEADER: Final = "segops-cut"
#: Headers of an event that it keeps when it is sent once more.
_KEPT: Final = (COLLECTOR_HEADER, FROM_HEADER)
#: The reason of a note about an event that was applied.
_NOTE: Final = "identity_"
#: The beginning of an origin that is no topic -> what its dead letters are instead of events.
_NO_EVENTS: Final[Mapping[str, str]] = {"shopify": "a webhook of Shopify", "klaviyo": "an object of Klaviyo"}


class UnknownLetter(UserError):
    """There is no such dead letter, or none any more."""


class DeadLetter(msgspec.Struct, frozen=True):
    """A dead letter. ``id``: its ``partition:offset``; ``at_ms``: when it was written.

    ``origin``: the record or request that it was. ``cut``: only the beginning of its bytes is kept.
    """

    id: str
    at_ms: int
    reason: str
    detail: str
    origin: str
    cut: bool
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Letters(msgspec.Struct, frozen=True):
    """The latest dead letters, the newest first; ``total``: how many offsets the topic has."""

    letters: list[DeadLetter]
    total: int


class Replayed(msgspec.Struct, frozen=True):
    """What becomes of a dead letter: the profile that its event is of, or why it is no event to be sent."""

    id: str
    profile_id: str | None = None
    refused: str = ""


def letter_of(record: Any) -> DeadLetter:
    """Return a record of the topic as a dead letter."""
    found = {name: value.decode(errors="replace") for name, value in record.headers}
    return DeadLetter(
        f"{record.partition}:{record.offset}",
        record.timestamp,
        found.get(REASON_HEADER, ""),
        found.get(DETAIL_HEADER, ""),
        found.get(ORIGIN_HEADER, ""),
        CUT_HEADER in found,
        record.key,
        record.value,
        tuple(each for each in record.headers if each[0] in _KEPT),
    )


async def latest(settings: Settings, most: int, *, reason: str | None = None) -> Letters:
    """Return about the latest ``most`` dead letters, of all partitions alike; ``reason``: those of it only.

    Raises UserError if the topic is missing, Unreachable if no broker answers.
    """
    async with running_consumer(settings.kafka) as consumer:
        partitions = await _partitions(settings)
        consumer.assign(partitions)
        first = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        share = -(-most // len(partitions))
        for each in partitions:
            consumer.seek(each, max(first[each], ends[each] - share))
        records = read_to_end(consumer, partitions)
        found = [letter_of(record) async for record in records]
    chosen = sorted((each for each in found if reason in (None, each.reason)), key=lambda each: -each.at_ms)
    return Letters(chosen[:most], sum(ends[each] - first[each] for each in partitions))


async def _partitions(settings: Settings) -> list[TopicPartition]:
    topic = settings.topics.dead_letters
    count = (await partition_counts(settings.kafka, [topic]))[topic]
    return [TopicPartition(topic, number) for number in range(count)]


async def find(settings: Settings, names: Sequence[str]) -> list[DeadLetter]:
    """Return dead letters by their ids, in this order. Raises UnknownLetter for one that is not there."""
    partitions = {each.partition: each for each in await _partitions(settings)}
    positions = [_position(name, partitions) for name in names]
    found = []
    async with running_consumer(settings.kafka) as consumer:
        for name, (partition, offset) in zip(names, positions, strict=True):
            consumer.assign([partition])
            first = (await consumer.beginning_offsets([partition]))[partition]
            end = (await consumer.end_offsets([partition]))[partition]
            record = None
            if first <= offset < end:
                consumer.seek(partition, offset)
                record = await anext(read_to_end(consumer, [partition]), None)
            if record is None or record.offset != offset:
                raise UnknownLetter(f"the dead letter {name} is not there, or is no longer retained")
            found.append(letter_of(record))
    return found


def _position(name: str, partitions: Mapping[int, TopicPartition]) -> tuple[TopicPartition, int]:
    number, _, offset = name.partition(":")
    is_position = all(each.isdecimal() and len(each) < 19 for each in (number, offset))
    if not is_position or int(number) not in partitions:
        raise UnknownLetter(
            f"expected the partition and offset of a dead letter, such as 0:17, got {name!r:.60}"
        )
    return partitions[int(number)], int(offset)


def tried(letter: DeadLetter, settings: Settings, *, now_ms: int) -> Replayed:
    """Return what would become of a dead letter that is sent to the events topic now."""
    refused = _refusal(letter, settings.topics)
    if refused:
        return Replayed(letter.id, refused=refused)
    try:
        limits = limits_of(settings)
        routed = route(letter.value, now_ms=now_ms, default_time_ms=letter.at_ms, limits=limits)
    except RejectedEvent as error:
        return Replayed(letter.id, refused=f"it would be rejected again: {error}")
    return Replayed(letter.id, routed.profile_id)


def _refusal(letter: DeadLetter, topics: TopicSettings) -> str:
    """Return why the bytes of a dead letter are no event; "" if they may be one."""
    kind = letter.origin.partition(":")[0]
    if letter.cut:
        return "only the beginning of its bytes is kept"
    if letter.reason.startswith(_NOTE):
        return "it is a note: the event itself was applied"
    if kind in _NO_EVENTS:
        return f"it is {_NO_EVENTS[kind]}, not an event"
    if kind not in ("collector", topics.events, topics.profile_events):
        return (
            f"it is a record of {kind or 'an unknown origin'}, not an event: mend the mapping of the source"
        )
    return ""


async def replay(settings: Settings, letters: Sequence[DeadLetter]) -> list[Replayed]:
    """Send the events among dead letters to the events topic, byte for byte; return what became of each.

    Returns once Kafka has them. They keep the time of the dead letter, for events that have none of their
    own, and go past tracking plans. One without a ``messageId`` counts again each time.
    """
    found = [tried(each, settings, now_ms=wall_ms()) for each in letters]
    topic = settings.topics.events
    count = (await partition_counts(settings.kafka, [topic]))[topic]
    async with running_producer(settings.kafka) as producer:
        sent = []
        for letter, verdict in zip(letters, found, strict=True):
            if verdict.profile_id is None or letter.value is None:
                continue
            key = record_key(letter.value)
            to = partition_of(key or verdict.profile_id.encode(), count)
            options = {"key": key, "partition": to, "timestamp_ms": letter.at_ms}
            headers = list(letter.headers)
            sent.append(await producer.send(topic, letter.value, headers=headers, **options))
        await asyncio.gather(*sent)
    return found
