"""A profile: the state of one customer.

Profiles contain no reference cycles (``gc=False``), so the collector need not traverse millions of objects.
"""

from __future__ import annotations

from typing import Any

import msgspec

from segops.core.events import Event
from segops.core.features.states import Counted, State
from segops.core.values import MAX_MS


class Member(msgspec.Struct, array_like=True, gc=False):
    """One current membership: its start, the version of the rule, and the event that caused it.

    ``reason``: the cause, if it was not an event with an id; older versions always stored None.
    """

    since_ms: int
    version: int
    event_id: str | None = None
    reason: str | None = None


class Past(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """How often a profile has entered a segment, and when it last left (None: never)."""

    entries: int = 0
    left_ms: int | None = None


class PublishedValue(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """What was published of an indicator last: a value (None: it is missing), when, and by which version."""

    value: Any
    at_ms: int
    version: int


class HeldEvent(msgspec.Struct, array_like=True, gc=False):
    """An event held while its profile waits, and the clock at its arrival."""

    clock_ms: int
    event: Event


class MergedSource(msgspec.Struct, array_like=True, gc=False):
    """A profile handed over, and the instant from which it is part of the survivor.

    ``owned``: its identifiers, without those of sources that it had not merged itself; [] stands for its id.
    """

    at_ms: int
    profile: Profile
    owned: list[str] = []


class Waiter(msgspec.Struct, array_like=True, gc=False):
    """A deferred explicit claim of the identifier ``of`` by the profile ``by``, made at ``at_ms``."""

    of: str
    by: str
    at_ms: int


class Erasing(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """A request to erase a customer. ``segments``: further segments, not in force, to delete rows of."""

    request: str
    segments: tuple[str, ...] = ()


class SplitRequest(msgspec.Struct, array_like=True, gc=False):
    """A request to split off a source, with its ``state`` when it was handed over (None: it had none)."""

    source: str
    sequence: int
    state: Profile | None = None


class IdentifierOrigin(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """When an identifier was first seen, and in which event (None: without an id, or unknown)."""

    at_ms: int
    event_id: str | None = None


class Links(msgspec.Struct, array_like=True, gc=False):
    """The identifiers of one profile, and the claims and requests that are pending (``identity``)."""

    #: The identifiers that lead to this profile, its own among them.
    owned: list[str]
    #: Identifiers with a pending claim -> whether it is explicit.
    pending: dict[str, bool] = {}
    #: Identifiers that belong to another known user, or are beyond a limit, oldest first.
    refused: list[str] = []
    #: Events that arrived while a claim was pending.
    held: list[HeldEvent] = []
    #: While a claim is pending: the clock of the profile, which is stopped.
    clock_ms: int = -MAX_MS
    #: Profiles handed over, to merge when no claim is pending any more.
    sources: list[MergedSource] = []
    #: Hand-overs received: source -> its sequence then, which identifies redeliveries.
    merged: dict[str, int] = {}
    #: Explicit claims by others, deferred until this profile's own are answered.
    waiting: list[Waiter] = []
    #: Deferred requests to erase the profile: erasure includes the identifiers with a pending claim.
    erasing: list[Erasing] = []
    #: Identifiers that were claimed or came with a source -> where they were first seen.
    origins: dict[str, IdentifierOrigin] = {}
    #: Deferred requests to split off.
    split_requests: list[SplitRequest] = []
    #: Profiles split off -> the sequence of the undone hand-over; -1 for those that this one was split from.
    #: Implicit claims between them are refused.
    split_off: dict[str, int] = {}


class Profile(msgspec.Struct, array_like=True, gc=False):
    """The state of one profile. The engine changes it in place; the caller stores it.

    ``applied`` is the offset of the last applied record, which the caller maintains to skip redelivered
    records. New fields are added at the end, with a default.
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
    #: When each trait was last set or removed: the latest event time wins.
    trait_times: dict[str, int] = {}
    #: Message (64-bit hash) -> when it was applied, in the order of arrival.
    seen: dict[int, int] = {}
    features: dict[int, State] = {}
    members: dict[str, Member] = {}
    #: Segment, or indicator -> when its membership changes, or a value is published, without another event.
    flips: dict[str, int] = {}
    #: Last known latitude and longitude in degrees, and since when.
    location: tuple[float, float] | None = None
    location_ms: int = -MAX_MS
    #: Segment -> earlier memberships; only for segments whose policy needs them.
    past: dict[str, Past] = {}
    #: Message in ``seen`` -> what it added; only in profiles that may be merged implicitly.
    counted: dict[int, Counted] = {}
    #: In a redirect: the survivor.
    merged_into: str | None = None
    #: None until a second identifier is seen.
    links: Links | None = None
    #: The event times of ``user_id``, ``anonymous_id`` and ``email`` (or of its removal): the latest wins.
    #: -MAX_MS if unknown: older versions did not store them.
    user_ms: int = -MAX_MS
    anonymous_ms: int = -MAX_MS
    email_ms: int = -MAX_MS
    #: The last UTC day with an event before that of ``latest_ms``; None if there was none, or if it is
    #: unknown: older versions did not store it.
    former_day: int | None = None
    #: Feature whose oldest past events were left out for want of room -> since when its events are complete.
    complete_since: dict[int, int] = {}
    #: Static list -> the versions of it that name this profile, ascending (``static_lists``).
    lists: dict[str, list[int]] = {}
    #: Key of an indicator's definition -> what was published of it.
    published: dict[str, PublishedValue] = {}
