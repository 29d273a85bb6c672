"""A profile: everything that is kept about one customer.

Nothing in it leads back to it (``gc=False``): the collector need not go through millions of parts.
"""

from __future__ import annotations

from typing import Any

import msgspec

from segops.core.events import Event
from segops.core.features.states import Counted, State
from segops.core.values import MAX_MS


class Member(msgspec.Struct, array_like=True, gc=False):
    """One current membership: since when, by which version of the rule, because of which event.

    ``reason``: what caused it where that was no event with an id; None is also what older versions stored.
    """

    since_ms: int
    version: int
    event_id: str | None = None
    reason: str | None = None


class Past(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """How often a profile has entered a segment, and when it last left; None: it has not."""

    entries: int = 0
    left_ms: int | None = None


class HeldEvent(msgspec.Struct, array_like=True, gc=False):
    """An event that waits, and the clock at its arrival."""

    clock_ms: int
    event: Event


class MergedSource(msgspec.Struct, array_like=True, gc=False):
    """A profile handed over, and the instant from which on it is part of another."""

    at_ms: int
    profile: Profile


class Waiter(msgspec.Struct, array_like=True, gc=False):
    """An explicit claim that is not answered yet: of which identifier, by whom, and since which instant."""

    of: str
    by: str
    at_ms: int


class Erasing(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """A request to forget a person. ``segments``: rows of these are deleted, too, beside those in force."""

    request: str
    segments: tuple[str, ...] = ()


class SplitRequest(msgspec.Struct, array_like=True, gc=False):
    """A request to split off a profile handed over: as it was then, None if there was nothing."""

    loser: str
    sequence: int
    state: Profile | None = None


class IdentifierOrigin(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """When an identifier was met, and by which event; None where that has no id, or is not known."""

    at_ms: int
    event_id: str | None = None


class Links(msgspec.Struct, array_like=True, gc=False):
    """Whose identifiers are whose: those of one profile, and what it waits for (``identity``)."""

    #: The identifiers that lead to this profile, its own among them.
    owned: list[str]
    #: Identifiers claimed and not answered yet -> whether explicitly.
    pending: dict[str, bool] = {}
    #: Identifiers that belong to another known user, or are beyond a limit, oldest first.
    refused: list[str] = []
    #: What arrived while an answer was awaited.
    held: list[HeldEvent] = []
    #: While an answer is awaited: the clock at which the profile stands still.
    clock_ms: int = -MAX_MS
    #: Profiles handed over, to be merged when nothing is awaited any more.
    joined: list[MergedSource] = []
    #: Hand-overs received: profile -> its sequence then. One that comes again is known by it.
    absorbed: dict[str, int] = {}
    #: Explicit claims that wait for this profile's own.
    waiting: list[Waiter] = []
    #: Requests to erase it, which wait, too: what was claimed is to go with it.
    erasing: list[Erasing] = []
    #: Identifiers of others that were claimed or came with a profile -> where they were met.
    origins: dict[str, IdentifierOrigin] = {}
    #: Requests to split off, which wait, too.
    parting: list[SplitRequest] = []
    #: Profiles that went their own way again -> the sequence of the hand-over that was undone, -1 for those
    #: that this one was split from. What they claim of each other unasked is refused.
    parted: dict[str, int] = {}


class Profile(msgspec.Struct, array_like=True, gc=False):
    """The state of one profile. The engine changes it in place; its owner stores it.

    ``applied`` is the offset of the last record applied to it, kept by whoever feeds the engine, so that
    a record read twice is skipped. New fields are added at the end, with a default.
    """

    id: str
    sequence: int = 0
    applied: int = -1
    evaluated_by: str = ""
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
    #: Message -> what it added, for those in ``seen``; only where the profile may be taken over unasked.
    counted: dict[int, Counted] = {}
    #: In a redirect: the profile that took this one over.
    merged_into: str | None = None
    #: None until a second identifier is met.
    links: Links | None = None
    #: The event times of ``user_id``, ``anonymous_id`` and ``email`` (or of its removal): the latest wins.
    #: Before any event where it is not known: older versions did not store it.
    user_ms: int = -MAX_MS
    anonymous_ms: int = -MAX_MS
    email_ms: int = -MAX_MS
