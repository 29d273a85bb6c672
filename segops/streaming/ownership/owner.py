"""The owner of the topics of a prefix: the one application that may publish to them, named by one record.

The record is in the segments topic: every worker reads that topic anyway, writers of that topic control what
is published anyway, and no further topic or ACL is needed. The latest record wins. A worker that finds none
writes one as soon as its partitions are open; if two do so at the same moment, the first writer stops.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from segops.config import Settings
from segops.core.errors import SegopsError, UserError
from segops.core.values import format_instant
from segops.kafka.clients import running_consumer, running_producer
from segops.kafka.coordinator import read_topics
from segops.schemas.owner import OWNER_KEY, Owner, decode_owner, encode_owner
from segops.wall_clock import wall_ms

log = logging.getLogger(__name__)

_POLL_MS: Final = 1_000
_RETRY_S: Final = 5.0
REMEDIES: Final = (
    "Discard the stored profiles with `segops worker --start-fresh`, or set the matching topics and "
    "application (SEGOPS_TOPIC_PREFIX, SEGOPS_APP_ID)"
)


async def admit(settings: Settings) -> Owner:
    """Check that this application may publish to its topics, before it joins the group; return their owner.

    Raises UserError when another application owns them, when an unrecorded application has published to
    them, or when this application has read other topics so far.
    """
    app_id, found = settings.worker.app_id, await read_owner(settings)
    read = await read_topics(settings)
    vouched = found is None and settings.accept_topics
    if not vouched and await _is_foreign(settings, found, read):
        raise UserError(_not_owned_text(settings, found))
    fresh = found is not None and found.generation
    if read and not read & _inputs(settings) and not fresh:
        raise UserError(
            f"the application {app_id} has read {', '.join(sorted(read))}: its stored profiles belong to "
            f"those topics, not to {settings.topics.prefix}*. {REMEDIES}"
        )
    return found or Owner(app_id)


async def decide(settings: Settings, *, fresh: bool, take_over: bool) -> None:
    """Record an operator's decision. Raises UserError for another's topics without ``take_over``."""
    app_id, found = settings.worker.app_id, await read_owner(settings)
    foreign = await _is_foreign(settings, found, await read_topics(settings))
    if foreign and not take_over:
        raise UserError(_not_owned_text(settings, found))
    if not fresh and not foreign:
        log.info("the topics %s* already belong to %s", settings.topics.prefix, app_id)
        return
    # Sequences continue above those of the former owner, as after every fresh start.
    generation = max(wall_ms(), found.generation + 1 if found is not None else 0)
    await _write(settings, Owner(app_id, generation, wall_ms()))
    log.info("%s starts fresh on the topics %s*", app_id, settings.topics.prefix)


def _inputs(settings: Settings) -> set[str]:
    return {settings.topics.events, settings.topics.profile_events}


async def _is_foreign(settings: Settings, found: Owner | None, read: set[str]) -> bool:
    if found is None:  # this application would have committed offsets
        return not read & _inputs(settings) and await _has_memberships(settings)
    return found.app_id != settings.worker.app_id


def _not_owned_text(settings: Settings, owner: Owner | None) -> str:
    app_id, prefix = settings.worker.app_id, settings.topics.prefix
    if owner is None:
        return (
            f"{settings.topics.membership_state} holds memberships published by another application: the "
            f"group {app_id} has no committed offsets in the topics {prefix}*. Stop the workers of that "
            f"application and start these with `segops worker --take-over`, or, if it was {app_id} itself, "
            f"with `segops worker --accept-topics`"
        )
    return (
        f"the topics {prefix}* belong to the application {owner.app_id} since "
        f"{format_instant(owner.since_ms)}: if {app_id} ran as well, every change would be published twice. "
        f"Stop its workers and start these with `segops worker --take-over`, or use another "
        f"SEGOPS_TOPIC_PREFIX or SEGOPS_APP_ID={owner.app_id}"
    )


async def read_owner(settings: Settings) -> Owner | None:
    """Return the recorded owner, or None. Raises UserError when no broker can be reached."""
    part = TopicPartition(settings.topics.segments, 0)
    async with running_consumer(settings.kafka) as consumer:
        return await anext(_follow(consumer, part))


async def _follow(consumer: AIOKafkaConsumer, part: TopicPartition) -> AsyncGenerator[Owner | None, None]:
    """Yield the current owner, then again after each poll. Never ends."""
    owner: Owner | None = None
    consumer.assign([part])
    await consumer.seek_to_beginning(part)
    end = (await consumer.end_offsets([part]))[part]
    while True:
        if await consumer.position(part) >= end:
            yield owner
        for record in (await consumer.getmany(part, timeout_ms=_POLL_MS)).get(part, []):
            if record.key == OWNER_KEY:
                owner = _read(record.value)


def _read(value: bytes | None) -> Owner | None:
    try:
        return None if value is None else decode_owner(value)
    except ValueError as error:
        log.error("invalid owner record: %s", error)
        return None


async def watch_owner(settings: Settings, owner: Owner) -> None:
    """Watch the owner record. Raises UserError after a takeover, SegopsError after a fresh start."""
    part = TopicPartition(settings.topics.segments, 0)
    while True:
        try:
            async with running_consumer(settings.kafka) as consumer:
                async for found in _follow(consumer, part):
                    if found is not None:
                        _compare(settings, owner, found)
        except TakenOver:
            raise
        except (KafkaError, OSError, UserError) as error:
            log.warning("cannot read the owner of the topics: %s", error)
            await asyncio.sleep(_RETRY_S)


class TakenOver(UserError):
    """Another application has become the owner of the topics."""


def _compare(settings: Settings, owner: Owner, found: Owner) -> None:
    if found.app_id != owner.app_id:
        raise TakenOver(
            f"the topics {settings.topics.prefix}* were taken over by the application {found.app_id}: the "
            f"workers of {owner.app_id} stop"
        )
    if found.generation > owner.generation:
        raise SegopsError(f"a fresh start of {owner.app_id} was requested: this worker restarts")


async def claim(settings: Settings, owner: Owner) -> Owner:
    """Record this application as the owner of its topics if there is none; return the owner.

    Raises UserError when another application has become the owner. A worker that may not write the record
    logs a warning and continues.
    """
    found = await read_owner(settings)
    if found is not None:
        _compare(settings, owner, found)
        return found
    claimed = Owner(owner.app_id, owner.generation, wall_ms())
    try:
        await _write(settings, claimed)
        log.info("the topics %s* now belong to %s", settings.topics.prefix, owner.app_id)
    except KafkaError as error:
        log.warning("cannot record the owner of the topics %s*: %s", settings.topics.prefix, error)
    return claimed


async def _write(settings: Settings, owner: Owner) -> None:
    async with running_producer(settings.kafka) as producer:
        await producer.send_and_wait(
            settings.topics.segments, encode_owner(owner), key=OWNER_KEY, partition=0
        )


async def _has_memberships(settings: Settings) -> bool:
    topics = settings.topics
    partitions = [TopicPartition(topics.membership_state, number) for number in range(topics.partitions)]
    async with running_consumer(settings.kafka) as consumer:
        return any((await consumer.end_offsets(partitions)).values())
