"""A readable view of a profile: its identifiers, traits, features and memberships.

It is built from the stored state without evaluating rules, so it costs no more than an event.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from segops.core.features import Feature, Values, reducer_of
from segops.core.features.orders import PurchaseTotals
from segops.core.features.purchases import DAY_MS, PurchaseHistory
from segops.core.features.states import Session
from segops.core.profile import IdentifierOrigin, Links, Profile
from segops.core.rules.wording import feature_label
from segops.core.segments import Definition, SegmentSet
from segops.core.values import format_instant
from segops.core.views.explain import is_least, known_since, plain
from segops.core.views.indicators import IndicatorView, view_indicators
from segops.core.windows import reaches

#: How an identifier came to a profile.
ITSELF, EVENT, TAKEN_OVER = "itself", "event", "taken_over"


class Identifier(msgspec.Struct, frozen=True):
    """One identifier that leads to the profile.

    ``origin``: ``itself`` (its id), ``event`` (an event carried it) or ``taken_over`` (the id of a merged
    profile). ``at_ms``: the time of the event in which it was first seen; None: unknown.
    """

    identifier: str
    origin: str
    at_ms: int | None
    event_id: str | None


class FeatureView(msgspec.Struct, frozen=True):
    """A feature and the value that rules read now. ``value_is_least``: the value is at least that.

    ``complete_since``: earlier events that its window includes are unknown or left out; None: none are.
    """

    label: str
    value: Any
    value_is_least: bool = False
    complete_since: int | None = None


class MembershipView(msgspec.Struct, frozen=True):
    """A membership: since when, why, and until when without another event (None: indefinitely).

    ``reason``: ``event``, ``time``, ``definition`` or ``merge``; None: unknown. ``paused``: it is frozen.
    """

    segment_key: str
    name: str
    version: int
    since: int
    reason: str | None
    event_id: str | None
    until: int | None
    paused: bool = False


class ProfileView(msgspec.Struct, frozen=True):
    """A profile at the clock of its partition, ``now_ms``; all times are milliseconds.

    ``awaits``: the identifiers with a pending claim; ``held``: the number of events held meanwhile.
    ``lists``: of the static lists that segments read, those whose version in force names the profile.
    """

    profile_id: str
    now_ms: int
    first_ms: int | None
    latest_ms: int | None
    identifiers: tuple[Identifier, ...]
    awaits: tuple[str, ...]
    held: int
    traits: dict[str, Any]
    features: tuple[FeatureView, ...]
    memberships: tuple[MembershipView, ...]
    lists: tuple[str, ...] = ()
    indicators: tuple[IndicatorView, ...] = ()


def view_profile(
    segments: SegmentSet, profile: Profile, now_ms: int, since: Mapping[int, int] = MappingProxyType({})
) -> ProfileView:
    """Return the view of a profile that these segments have evaluated, without changing it.

    ``since``: features of which no profile knows earlier events, as in ``complete_since``.

    >>> view_profile(SegmentSet([]), Profile("user_id:u1", first_ms=5, latest_ms=9), 10).identifiers[0].at_ms
    5
    """
    links, known = profile.links, profile.first_ms is not None
    definitions = {definition.key: definition for definition in segments.definitions}
    return ProfileView(
        profile.id,
        now_ms,
        profile.first_ms,
        profile.latest_ms if known else None,
        tuple(_identifiers(profile)),
        () if links is None else tuple(links.pending),
        0 if links is None else len(links.held),
        profile.traits,
        tuple(sorted(_features(segments, profile, now_ms, since), key=lambda each: each.label)),
        view_memberships(profile, definitions),
        tuple(key for key, n in sorted(segments.lists.items()) if n in profile.lists.get(key, ())),
        tuple(view_indicators(segments, profile, now_ms)),
    )


def view_memberships(profile: Profile, definitions: Mapping[str, Definition]) -> tuple[MembershipView, ...]:
    """Return the memberships of a profile by key; ``definitions``: those in force, by key."""
    return tuple(_membership(profile, key, definitions.get(key)) for key in sorted(profile.members))


def _identifiers(profile: Profile) -> Iterator[Identifier]:
    yield Identifier(profile.id, ITSELF, profile.first_ms, None)
    links = profile.links or Links([])
    for each in links.owned:
        if each != profile.id:
            seen = links.origins.get(each)
            known = seen or IdentifierOrigin(0)
            origin = TAKEN_OVER if each in links.merged else EVENT
            yield Identifier(each, origin, None if seen is None else known.at_ms, known.event_id)


def _features(
    segments: SegmentSet, profile: Profile, now_ms: int, since: Mapping[int, int]
) -> Iterator[FeatureView]:
    known = known_since(profile, since)
    for key, state in profile.features.items():
        feature = segments.features.get(key)
        if feature is not None:
            yield _feature(feature, state, now_ms, known.get(key))


def _feature(feature: Feature, state: Any, now_ms: int, since: int | None) -> FeatureView:
    value = _readable(feature, reducer_of(feature).read(state, now_ms))
    matters = since is not None and reaches(feature.window, since, now_ms)
    return FeatureView(feature_label(feature), value, is_least(feature, value), since if matters else None)


def _readable(feature: Feature, value: Any) -> Any:
    if isinstance(value, Values):
        return value.values[-1] if value.values else None
    if isinstance(value, PurchaseHistory):
        ends = {"first": value.first_day, "last": value.last_day}
        return {"days": value.days, **{name: format_instant(day * DAY_MS) for name, day in ends.items()}}
    if isinstance(value, PurchaseTotals):
        last = None if value.last_ms is None else format_instant(value.last_ms)
        return {"orders": value.orders, "net": plain(value.net), "last": last}
    if feature.kind == "session":
        return {name: _session(each) for name, each in zip(("current", "last"), value, strict=True)}
    if isinstance(value, tuple):  # the number of values and their sum
        return value[0] if feature.kind == "count" else plain(value[1])
    if feature.kind in ("first", "last") and value is not None:
        return format_instant(value)
    return plain(value)


def _session(session: Session | None) -> dict[str, Any] | None:
    if session is None:
        return None
    found = {"first": session.first, "last": session.last}
    values = {name: value[1] for name, value in found.items() if value is not None}
    times = {"begin": format_instant(session.begin_ms), "end": format_instant(session.last_ms)}
    return {**times, "events": session.events, **values}


def _membership(profile: Profile, key: str, definition: Definition | None) -> MembershipView:
    member = profile.members[key]
    return MembershipView(
        key,
        key if definition is None else definition.name,
        member.version,
        member.since_ms,
        member.reason if member.event_id is None else "event",
        member.event_id,
        profile.flips.get(key),
        definition is not None and definition.paused,
    )
