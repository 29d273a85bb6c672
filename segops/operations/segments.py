"""The published segments: their versions, states and dependants."""

from __future__ import annotations

import msgspec

from segops.analytics.reader import reading_sizes
from segops.analytics.views import SegmentView
from segops.config import Settings
from segops.kafka.definitions import DefinitionLog, left_out, read
from segops.operations.definitions import dependants


class PublishedSegment(msgspec.Struct, frozen=True):
    """A segment as published, and what workers say of it.

    ``state``: ``live``, ``paused``, ``left out`` (``reason`` says which reference is broken), ``building``
    (``progress``: the share of its history that has been read; ``left_ms``: how long the rest takes) or
    ``retired``, of which only the version is known. ``used_by``: the segments that refer to it. ``members``
    at ``as_of_ms``, their change in 24 hours ``net_day``, and ``complete_since_ms`` are as in
    ``analytics.views.SegmentView``; None if no worker has published a size.
    """

    key: str
    name: str
    version: int
    state: str
    used_by: tuple[str, ...] = ()
    reason: str = ""
    members: int | None = None
    net_day: int | None = None
    as_of_ms: int | None = None
    complete_since_ms: int | None = None
    progress: float | None = None
    left_ms: int | None = None


async def published(settings: Settings) -> list[PublishedSegment]:
    """Return all segments by key. Raises UserError when no broker is reachable or the topic is missing."""
    return overview(await read(settings))


async def measured(settings: Settings) -> list[PublishedSegment]:
    """Return all segments by key, with their sizes. Raises like ``published``."""
    found = await published(settings)
    async with reading_sizes(settings) as reader:
        return [_measured(each, reader.folded.segment(each.key)) for each in found]


def _measured(each: PublishedSegment, view: SegmentView | None) -> PublishedSegment:
    if view is None or each.state in ("retired", "left out"):
        return each
    progress = None if view.progress is None else view.progress.read / max(1, view.progress.total)
    return msgspec.structs.replace(
        each,
        state="building" if view.state == "building" else each.state,
        members=view.members,
        net_day=view.last_day.net,
        as_of_ms=view.as_of.least_ms,
        complete_since_ms=view.complete_since_ms,
        progress=progress,
        left_ms=None if view.progress is None else view.progress.left_ms,
    )


def overview(log: DefinitionLog) -> list[PublishedSegment]:
    """Return all segments of a log by key."""
    broken, users = left_out(log.live), dependants(log.live.values())
    found = [PublishedSegment(key, "", version, "retired") for key, version in log.retired.items()]
    for key, each in log.live.items():
        state = "left out" if key in broken else "paused" if each.paused else "live"
        reason, used_by = broken.get(key, ""), tuple(users.get(key, ()))
        found.append(PublishedSegment(key, each.name, each.version, state, used_by, reason))
    return sorted(found, key=lambda each: each.key)
