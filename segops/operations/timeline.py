"""The timeline of a person in a running system, from the topics and the archive."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import aclosing
from typing import NamedTuple

from segops.config import Settings
from segops.core.errors import RejectedEvent, UserError
from segops.core.messages import Handover, Message, Release, Rows
from segops.core.values import MAX_MS, format_instant
from segops.core.views.timeline import Timeline, TimelineEntry
from segops.kafka.topics import partition_counts
from segops.operations.history import decoded_change
from segops.operations.logs import PastLog
from segops.schemas.events import decode
from segops.schemas.identifying import IdentityLimits, limits_of
from segops.schemas.messages import decode_message, frame_of
from segops.schemas.records import FROM_HEADER, Record, origin_of, partition_of
from segops.schemas.ticks import TYPE_HEADER


class FoundTimeline(NamedTuple):
    """A timeline. The instants are those from which on all records are retained; 0: none was ever deleted."""

    profile_id: str
    entries: list[TimelineEntry]
    events_since_ms: int
    changes_since_ms: int


async def timeline(
    settings: Settings, identifier: str, *, from_ms: int | None = None, to_ms: int | None = None
) -> FoundTimeline:
    """Return the entries from ``from_ms`` on, before ``to_ms``, of the profile that an identifier leads to.

    Reads the partitions of all profiles that became one. Raises UserError when nothing of the profile is
    retained, and when no broker is reachable.
    """
    found = Timeline(identifier)
    events_ms = await _read_events(settings, found)
    changes_ms = await _read_changes(settings, found)
    entries = found.entries()
    if not entries:
        kept = f"events are retained {since(events_ms)}, changes {since(changes_ms)}"
        raise UserError(f"no event or membership change of {identifier!r} is known; {kept}")
    begin, end = -MAX_MS if from_ms is None else from_ms, MAX_MS if to_ms is None else to_ms
    chosen = [entry for entry in entries if begin <= entry.time_ms < end]
    return FoundTimeline(found.profile_id, chosen, events_ms, changes_ms)


def since(complete_since_ms: int) -> str:
    """Return in words from when on records are retained.

    >>> since(0), since(1_760_000_000_000)
    ('from the beginning', 'from 2025-10-09T08:53:20.000Z on')
    """
    return f"from {format_instant(complete_since_ms)} on" if complete_since_ms else "from the beginning"


async def _read_events(settings: Settings, found: Timeline) -> int:
    """Read logs until all that are needed are read; return from when on they are complete."""
    topic, limits, since_ms = settings.topics.profile_events, limits_of(settings), 0
    while wanted := found.unread():
        found.begin(wanted)
        log = await open_log(settings, topic, wanted)
        async with aclosing(log.read()) as records:
            async for record in records:
                identifier = (record.key or b"").decode(errors="replace")
                if identifier in wanted:
                    add_record(found, identifier, record, limits)
        since_ms = max(since_ms, log.complete_since_ms)
    return since_ms


async def _read_changes(settings: Settings, found: Timeline) -> int:
    """Read the changes of the profiles; return from when on they are complete."""
    keys = {identifier.encode() for identifier in found.ids}
    log = await open_log(settings, settings.topics.membership_changes, found.ids)
    async with aclosing(log.read()) as records:
        async for record in records:
            change = decoded_change(record.value) if record.key in keys else None
            if change is not None:
                found.change(change)
    return log.complete_since_ms


async def open_log(
    settings: Settings, topic: str, identifiers: Collection[str], *, newest: int | None = None
) -> PastLog:
    """Return the log of the partitions that hold these identifiers (``PastLog.open``)."""
    count = (await partition_counts(settings.kafka, [topic]))[topic]
    numbers = {partition_of(each.encode(), count) for each in identifiers}
    return await PastLog.open(settings, topic, numbers, newest=newest)


def add_record(found: Timeline, identifier: str, record: Record, limits: IdentityLimits) -> None:
    """Add a record of profile events. Those that workers cannot read either are passed over."""
    try:
        if TYPE_HEADER in dict(record.headers):
            found.message(identifier, _message(record.value or b""), record.timestamp)
        else:
            source, time_ms = origin_of(record.headers)
            event = decode(record.value or b"", time_ms=time_ms, default_id=source.decode(), limits=limits)
            mapped_from = dict(record.headers).get(FROM_HEADER)
            found.event(identifier, event, None if mapped_from is None else mapped_from.decode())
    except (RejectedEvent, ValueError):
        return


def _message(value: bytes) -> Message | Release | Rows:
    """Decode a message; of a hand-over not the state, which is large and may be of another version."""
    frame = frame_of(value)
    if frame is None:
        return decode_message(value)
    return Handover(frame.to, frame.of, frame.source, frame.sequence)
