"""A profile: everything that is kept about one customer."""

from __future__ import annotations

from typing import Any

import msgspec

from segops.core.features.states import State
from segops.core.values import MAX_MS


class Member(msgspec.Struct, array_like=True):
    """One current membership: since when, by which version of the rule, because of which event."""

    since_ms: int
    version: int
    event_id: str | None = None


class Past(msgspec.Struct, array_like=True, frozen=True):
    """How often a profile has entered a segment, and when it last left; None: it has not."""

    entries: int = 0
    left_ms: int | None = None


class Profile(msgspec.Struct, array_like=True):
    """The state of one profile. The engine changes it in place; its owner stores it.

    ``applied`` is the offset of the last record applied to it, kept by whoever feeds the engine, so that
    a record read twice is skipped. New fields are added at the end, with a default.
    """

    id: str
    sequence: int = 0
    applied: int = -1
    judged_by: str = ""
    due_ms: int | None = None
    first_ms: int | None = None
    latest_ms: int = -MAX_MS
    user_id: str | None = None
    anonymous_id: str | None = None
    email: str | None = None
    traits: dict[str, Any] = {}
    #: When each trait was set or removed: the latest event time wins.
    trait_times: dict[str, int] = {}
    #: Message (64 bits of a hash) -> when it was applied, in the order of arrival.
    seen: dict[int, int] = {}
    features: dict[int, State] = {}
    members: dict[str, Member] = {}
    #: Segment -> the instant at which its membership changes if nothing more happens.
    flips: dict[str, int] = {}
    #: Last known latitude and longitude in degrees, and since when.
    location: tuple[float, float] | None = None
    location_ms: int = -MAX_MS
    #: Segment -> earlier memberships; only for segments whose policy asks for them.
    past: dict[str, Past] = {}
