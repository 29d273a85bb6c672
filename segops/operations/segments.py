"""The published segments: their versions, states and dependants."""

from __future__ import annotations

import msgspec

from segops.config import Settings
from segops.kafka.definitions import DefinitionLog, left_out, read
from segops.operations.definitions import dependants


class PublishedSegment(msgspec.Struct, frozen=True):
    """A segment as published.

    ``state``: ``live``, ``paused``, ``left out`` (``reason`` says which reference is broken) or ``retired``,
    of which only the version is known. ``used_by``: the segments that refer to it.
    """

    key: str
    name: str
    version: int
    state: str
    used_by: tuple[str, ...] = ()
    reason: str = ""


async def published(settings: Settings) -> list[PublishedSegment]:
    """Return all segments by key. Raises UserError when no broker is reachable or the topic is missing."""
    return overview(await read(settings))


def overview(log: DefinitionLog) -> list[PublishedSegment]:
    """Return all segments of a log by key."""
    broken, users = left_out(log.live), dependants(log.live.values())
    found = [PublishedSegment(key, "", version, "retired") for key, version in log.retired.items()]
    for key, each in log.live.items():
        state = "left out" if key in broken else "paused" if each.paused else "live"
        reason, used_by = broken.get(key, ""), tuple(users.get(key, ()))
        found.append(PublishedSegment(key, each.name, each.version, state, used_by, reason))
    return sorted(found, key=lambda each: each.key)
