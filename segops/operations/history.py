"""Memberships at a past instant in a running system."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import msgspec
from aiokafka import TopicPartition

from segops.config import Settings
from segops.core.errors import UserError
from segops.core.events import Change
from segops.core.values import MAX_MS, format_instant
from segops.core.views.history import MembershipsAt, PastMembership
from segops.kafka.clients import running_consumer
from segops.kafka.reading import read_to_end
from segops.kafka.topics import partition_counts
from segops.operations.logs import PastLog
from segops.schemas.changes import decode_change
from segops.schemas.records import Record, partition_of
from segops.wall_clock import wall_ms


async def members_at(settings: Settings, segment_key: str, at_ms: int | None) -> list[PastMembership]:
    """Return the members of a segment at an instant, or now (None), by profile.

    Raises UserError for an instant in the future, or from before the changes that topic and archive hold, and
    when no broker is reachable.
    """
    found = MembershipsAt(MAX_MS if at_ms is None else at_ms, segment_key=segment_key)
    await _collect(settings, found)
    return found.members()


async def current_members(settings: Settings, segment_key: str) -> list[PastMembership]:
    """Return the members of a segment as of now, by profile, from the latest change of each membership alone.

    Raises UserError when the topic is missing or no broker is reachable.
    """
    topic, end = settings.topics.membership_state, f"|{segment_key}".encode()
    (count,) = (await partition_counts(settings.kafka, [topic])).values()
    found = MembershipsAt(MAX_MS, segment_key=segment_key)
    latest: dict[bytes, bytes | None] = {}
    async for record in _rows(settings, [TopicPartition(topic, number) for number in range(count)]):
        if record.key is not None and record.key.endswith(end):
            latest[record.key] = record.value
    for value in latest.values():
        change = decoded_change(value)
        if change is not None:
            found.row(change)
    return found.members()


async def memberships_at(settings: Settings, profile_id: str, at_ms: int) -> tuple[str, list[PastMembership]]:
    """Return the memberships of a profile at an instant, with the id of the profile that had them.

    That is another one if the profile had been merged by then. Raises UserError as ``members_at`` does, and
    for a profile without any retained change.
    """
    while True:
        found = MembershipsAt(at_ms, profile_id=profile_id)
        await _collect(settings, found, profile_id)
        if not found.found_any:
            raise UserError(
                f"no membership change of {profile_id!r} is retained; `segops profile {profile_id}` shows "
                f"the id of its profile"
            )
        if found.merged_into is None:
            return profile_id, found.members()
        profile_id = found.merged_into


async def _collect(settings: Settings, found: MembershipsAt, profile_id: str | None = None) -> None:
    """Read all partitions, or the one that has the changes of a profile."""
    now_ms = wall_ms()
    if now_ms < found.at_ms < MAX_MS:
        raise UserError(f"{format_instant(found.at_ms)} is in the future")
    changes, state = settings.topics.membership_changes, settings.topics.membership_state
    counts = await partition_counts(settings.kafka, [changes, state])
    key = None if profile_id is None else profile_id.encode()
    numbers = range(counts[changes]) if key is None else [partition_of(key, counts[changes])]
    # The state is read first: a change in between is then in the changes, which take precedence.
    async for row in _changes(_rows(settings, [TopicPartition(state, number) for number in numbers]), None):
        found.row(row)
    log = await PastLog.open(settings, changes, numbers)
    await log.look()
    _require_known(settings, log, found.at_ms)
    async with aclosing(log.read()) as records:
        async for change in _changes(records, key):
            found.change(change)
    _require_known(settings, log, found.at_ms)


async def _rows(settings: Settings, partitions: Sequence[TopicPartition]) -> AsyncIterator[Record]:
    async with running_consumer(settings.kafka) as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        async for record in read_to_end(consumer, partitions):
            yield record


async def _changes(records: AsyncIterator[Record], key: bytes | None) -> AsyncIterator[Change]:
    """Yield the changes in records, only those with this key if it is not None."""
    async for record in records:
        change = decoded_change(record.value) if key in (None, record.key) else None
        if change is not None:
            yield change


def decoded_change(value: bytes | None) -> Change | None:
    """Decode a published change; return None for anything else."""
    try:
        return None if value is None else decode_change(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _require_known(settings: Settings, log: PastLog, at_ms: int) -> None:
    """Raise UserError if a change after ``at_ms`` may be missing.

    A change occurs before it is appended. So the missing ones occurred before the first known one was
    appended.
    """
    since_ms = log.complete_since_ms
    if at_ms < since_ms:
        kept_by = (
            "SEGOPS_RETENTION" if settings.archive.url is None else "SEGOPS_RETENTION, SEGOPS_ARCHIVE_URL"
        )
        raise UserError(
            f"memberships at {format_instant(at_ms)} are unknown: the changes are retained from "
            f"{format_instant(since_ms)} on ({kept_by})"
        )
