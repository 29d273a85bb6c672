"""The recent timeline of a profile that a worker has: bounded, for its HTTP server."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Final

from segops.api.timeline import RecentTimeline, TimelineRequest
from segops.config import Settings
from segops.core.values import MAX_MS
from segops.core.views.profile import ProfileView
from segops.core.views.timeline import Timeline
from segops.operations.history import decoded_change
from segops.operations.logs import PastLog
from segops.operations.timeline import add_record, open_log
from segops.schemas.identifying import limits_of

#: The most offsets that a request reads of a partition, and its time.
MAX_OFFSETS: Final = 100_000
TIMEOUT_S: Final = 20.0


async def recent(settings: Settings, profile: ProfileView, request: TimelineRequest) -> RecentTimeline:
    """Return the recent timeline of a profile, read in a thread with an event loop of its own.

    The newest ``MAX_OFFSETS`` of each partition are read to their ends, so that no erasure is passed over.
    Raises TimeoutError after ``TIMEOUT_S`` seconds, and SegopsError.
    """
    return await asyncio.to_thread(asyncio.run, _read(settings, profile, request))


async def _read(settings: Settings, profile: ProfileView, request: TimelineRequest) -> RecentTimeline:
    ids = [each.identifier for each in profile.identifiers]
    found = Timeline(profile.profile_id, ids)
    found.begin(ids)
    topics = settings.topics
    # An event arrives after its time, unless the clock of its sender is ahead.
    from_ms = max(0, request.from_ms - settings.engine.max_event_ahead_ms)
    async with asyncio.timeout(TIMEOUT_S):
        events = await open_log(settings, topics.profile_events, ids, newest=MAX_OFFSETS)
        await _read_events(settings, events, found, from_ms)
        changes = await open_log(settings, topics.membership_changes, ids, newest=MAX_OFFSETS)
        await _read_changes(changes, found, from_ms)
    since = events.complete_since_ms, changes.complete_since_ms
    return _answer(profile, request, found, since)


async def _read_events(settings: Settings, log: PastLog, found: Timeline, from_ms: int) -> None:
    limits, ids = limits_of(settings), frozenset(found.ids)
    async with aclosing(log.read(from_ms)) as records:
        async for record in records:
            identifier = (record.key or b"").decode(errors="replace")
            if identifier in ids:
                add_record(found, identifier, record, limits)


async def _read_changes(log: PastLog, found: Timeline, from_ms: int) -> None:
    keys = {identifier.encode() for identifier in found.ids}
    async with aclosing(log.read(from_ms)) as records:
        async for record in records:
            change = decoded_change(record.value) if record.key in keys else None
            if change is not None:
                found.change(change)


def _answer(
    profile: ProfileView, request: TimelineRequest, found: Timeline, since: tuple[int, int]
) -> RecentTimeline:
    """Return the newest of the entries asked for; a profile that was erased and returned has no earlier."""
    begin = max(request.from_ms, -MAX_MS if profile.first_ms is None else profile.first_ms)
    chosen = [each for each in found.entries() if begin <= each.time_ms < request.to_ms]
    shown = chosen[-request.limit :]
    return RecentTimeline(profile.profile_id, shown, len(chosen) - len(shown), *since)
