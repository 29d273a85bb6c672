"""Input and output of the engine: events and membership changes."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec


class Event(msgspec.Struct, gc=False):
    """One decoded event of a profile, its time corrected (``SPEC.md#events``).

    ``did`` matches ``name``. ``message_id`` identifies duplicates; ``named`` is False if the producer sent
    none and the record's topic, partition and offset stand in for it. ``traits`` are merged into the profile
    (None removes a trait).
    """

    name: str
    time_ms: int
    message_id: str
    properties: dict[str, Any]
    traits: dict[str, Any] | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    email: str | None = None
    named: bool = True
    #: Latitude and longitude in degrees.
    location: tuple[float, float] | None = None
    #: In an ``alias``: the customer's previous id.
    previous_id: str | None = None
    #: Further identifiers as ``<type>:<value>``: devices, and ids in other systems.
    others: tuple[str, ...] = ()
    #: The event removes the profile's e-mail address; ``email`` is None.
    email_removed: bool = False
    #: The parts of the call's ``context`` that rules in force read, by their top-level names.
    context: dict[str, Any] | None = None


class Change(msgspec.Struct, gc=False):
    """A membership change, in the field order of the published record (``SPEC.md#changes``).

    ``evaluated_at`` is the publisher's wall clock; the core leaves it at 0.
    """

    profile_id: str
    segment_key: str
    segment_version: int
    action: str
    member: bool
    reason: str
    occurred_at: int
    evaluated_at: int
    sequence: int
    change_id: str
    event_id: str | None
    flips_at: int | None
    user_id: str | None
    anonymous_id: str | None
    email: str | None
    traits_json: str
    #: In the last changes of a merged profile: the id of the survivor.
    merged_into: str | None = None


class IndicatorValue(msgspec.Struct, gc=False):
    """A new value of an indicator, in the field order of the published record (``SPEC.md#published``).

    ``value`` None: it has none any more.
    """

    profile_id: str
    indicator: str
    indicator_version: int
    value: Any
    reason: str
    occurred_at: int
    event_id: str | None
    user_id: str | None
    anonymous_id: str | None
    email: str | None


def change_id(profile_id: str, segment_key: str, sequence: int) -> str:
    """Return the deterministic id of a change: a replay emits the same one.

    >>> change_id("user_id:u1", "high-intent", 7)[:12]
    'eee18e462e97'
    """
    return hashlib.sha256(f"{profile_id}|{segment_key}|{sequence}".encode()).hexdigest()


#: The reason of an exit for a published membership that a rebuild from an empty state did not reproduce.
RESTART = "restart"


def withdrawn(entry: Change, *, sequence: int, at_ms: int) -> Change:
    """Return the exit that withdraws a published membership whose state was discarded.

    >>> entry = Change("u", "vip", 1, "entered", True, "event", 5, 6, 7, "", "m", 9, "u", "a", "e", "")
    >>> end = withdrawn(entry, sequence=8, at_ms=3)
    >>> end.action, end.member, end.reason, end.occurred_at, end.sequence, end.event_id, end.user_id
    ('exited', False, 'restart', 5, 8, None, 'u')
    """
    return msgspec.structs.replace(
        entry,
        action="exited",
        member=False,
        reason=RESTART,
        occurred_at=max(at_ms, entry.occurred_at),
        sequence=sequence,
        change_id=change_id(entry.profile_id, entry.segment_key, sequence),
        event_id=None,
        flips_at=None,
        merged_into=None,
    )
