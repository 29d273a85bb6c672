"""Memberships at a past instant in a running system."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from segops.config import Settings
from segops.core.errors import UserError
from segops.core.events import Change
from segops.core.values import MAX_MS, format_instant
from segops.core.views.history import MembershipsAt, PastMembership
from segops.kafka.clients import running_consumer
from segops.kafka.reading import read_to_end
from segops.kafka.topics import partition_counts
from segops.schemas.changes import decode_change
from segops.wall_clock import wall_ms


async def members_at(settings: Settings, segment_key: str, at_ms: int | None) -> list[PastMembership]:
    """Return the members of a segment at an instant, or now (None), by profile.

    Raises UserError for an instant in the future, or from before the retained changes, and when no broker is
    reachable.
    """
    found = MembershipsAt(MAX_MS if at_ms is None else at_ms, segment_key=segment_key)
    await _collect(settings, found)
    return found.members()


async def memberships_at(settings: Settings, profile_id: str, at_ms: int) -> tuple[str, list[PastMembership]]:
    """Return the memberships of a profile at an instant, with the id of the profile that had them.

    That is another one if the profile had been merged by then. Raises UserError as ``members_at`` does, and
    for a profile without any retained change.
    """
    while True:
        found = MembershipsAt(at_ms, profile_id=profile_id)
        await _collect(settings, found)
        if not found.found_any:
            raise UserError(
                f"no membership change of {profile_id!r} is retained; `segops profile {profile_id}` shows "
                f"the id of its profile"
            )
        if found.merged_into is None:
            return profile_id, found.members()
        profile_id = found.merged_into


async def _collect(settings: Settings, found: MembershipsAt) -> None:
    now_ms = wall_ms()
    if now_ms < found.at_ms < MAX_MS:
        raise UserError(f"{format_instant(found.at_ms)} is in the future")
    names = [settings.topics.membership_changes, settings.topics.membership_state]
    counts = await partition_counts(settings.kafka, names)
    changes, state = ([TopicPartition(name, p) for p in range(counts[name])] for name in names)
    async with running_consumer(settings.kafka) as consumer:
        # The state is read first: a change in between is then in the changes, which take precedence.
        async for row in _read(consumer, state):
            found.row(row)
        consumer.assign(changes)
        await _require_retained(consumer, changes, at_ms=found.at_ms, now_ms=now_ms)
        async for change in _read(consumer, changes):
            found.change(change)


async def _read(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
) -> AsyncGenerator[Change, None]:
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    async for record in read_to_end(consumer, partitions):
        change = _decoded(record.value)
        if change is not None:
            yield change


def _decoded(value: bytes | None) -> Change | None:
    try:
        return None if value is None else decode_change(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


async def _require_retained(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], *, at_ms: int, now_ms: int
) -> None:
    """Raise UserError if a change after ``at_ms`` may have expired.

    A change occurs before it is appended. So the expired ones occurred before the first retained one was
    appended.
    """
    begins = await consumer.beginning_offsets(partitions)
    expired = [partition for partition, begin in begins.items() if begin > 0]
    retained_from = [await _first_timestamp(consumer, partition, now_ms) for partition in expired]
    if retained_from and at_ms < max(retained_from):
        raise UserError(
            f"memberships at {format_instant(at_ms)} are unknown: the changes are retained from "
            f"{format_instant(max(retained_from))} on (SEGOPS_RETENTION)"
        )


async def _first_timestamp(consumer: AIOKafkaConsumer, partition: TopicPartition, now_ms: int) -> int:
    await consumer.seek_to_beginning(partition)
    end = (await consumer.end_offsets([partition]))[partition]
    while await consumer.position(partition) < end:
        found = await consumer.getmany(partition, timeout_ms=500, max_records=1)
        for record in found.get(partition, ()):
            return int(record.timestamp)
    return now_ms
