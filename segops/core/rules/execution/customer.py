"""The leaves of nodes about the customer: changes of traits, identifiers and locations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from segops.core.areas import Location, contains_any
from segops.core.features import ANY_NAME, Feature, Values, reducer_of
from segops.core.geo import distance_m
from segops.core.lookups import LOCATED
from segops.core.names import has_identifier as has_one
from segops.core.operators import Predicate
from segops.core.profile import Profile
from segops.core.rules.execution import leaves
from segops.core.rules.execution.leaf import IDENTIFIERS, LISTS, LOCATION, Leaf, never, reading
from segops.core.rules.execution.leaves import counted
from segops.core.rules.execution.verdicts import Verdicts, series_of
from segops.core.rules.model import Changed, HasIdentifier, Located, Near, OnList, Path, Visited
from segops.core.values import equal
from segops.core.windows import ALWAYS, Between, Calendar, Window, Within, period, span


def has_identifier(node: HasIdentifier) -> Leaf:
    """Compile a predicate of the types of the profile's identifiers."""
    types = node.types

    def holds(profile: Profile, _now_ms: int) -> bool:
        return any(has_one(profile, kind) for kind in types)

    return Leaf(holds, never, reads=(IDENTIFIERS,))


def on_list(node: OnList) -> Leaf:
    """Compile a predicate that the version of a static list in force names the profile."""
    key, version, expires_ms = node.key, node.version, node.expires_ms

    def holds(profile: Profile, now_ms: int) -> bool:
        return version in profile.lists.get(key, ()) and (expires_ms is None or now_ms < expires_ms)

    def edge(profile: Profile, now_ms: int) -> int | None:
        return expires_ms if holds(profile, now_ms) else None

    return Leaf(holds, never if expires_ms is None else edge, reads=(LISTS,))


def located(node: Located) -> Leaf:
    """Compile a predicate that the last known location is in an area."""
    areas, within_ms = node.areas, node.within_ms
    if node.by is not None:
        return last_located(node.by, within_ms, lambda at: contains_any(areas, at))

    def holds(profile: Profile, now_ms: int) -> bool:
        if profile.location is None or (within_ms is not None and now_ms - profile.location_ms >= within_ms):
            return False
        return contains_any(areas, profile.location)

    def edge(profile: Profile, now_ms: int) -> int | None:
        stale = None if profile.location is None else profile.location_ms + (within_ms or 0)
        return stale if stale is not None and stale > now_ms else None

    return Leaf(holds, never if within_ms is None else edge, reads=(LOCATION,))


def near(node: Near) -> Leaf:
    """Compile a predicate of the distance to the last known location."""
    if node.by is None:
        return leaves.near(node)
    center, radius_m = (node.lat, node.lon), node.radius_m
    return last_located(node.by, node.within_ms, lambda at: distance_m(at, center) <= radius_m)


def last_located(by: Path, within_ms: int | None, fits: Callable[[Location], bool]) -> Leaf:
    """Return the leaf of a predicate of the last location, by coordinates or else by the code at a path."""
    window = ALWAYS if within_ms is None else Within(within_ms)
    feature = Feature("latest", (ANY_NAME,), (), window, path=_located_path(by))

    def verdict(at: Any, _now_ms: int) -> bool:
        return at is not None and fits((at[0], at[1]))

    return reading(feature, verdict, series=series_of(reducer_of(feature), "latest", None))


def _located_path(by: Path | None) -> Path | None:
    return None if by is None else LOCATED + by


def visited(node: Visited) -> Leaf:
    """Compile a predicate that an event in a window was located in an area."""
    capacity = 1 if isinstance(node.window, Within) else None
    feature = Feature(
        "count",
        (ANY_NAME,),
        (),
        node.window,
        path=_located_path(node.by),
        capacity=capacity,
        located=node.areas,
    )
    return counted(feature, Predicate((("gte", 1),)))


def changed(node: Changed) -> Leaf:
    """Compile a predicate that a trait has changed in a window."""
    feature = Feature("history", (), (), node.window, path=node.path)
    key, window, moves = feature.id, node.window, _moves(node.window)

    def instants(profile: Profile) -> list[int]:
        state: Any = profile.features.get(key)
        return changes_of(node, state)

    def holds(profile: Profile, now_ms: int) -> bool:
        return _any_counts(window, instants(profile), now_ms)

    def edge(profile: Profile, now_ms: int) -> int | None:
        found = (at for time_ms in instants(profile) for at in moves(time_ms, now_ms))
        return min((at for at in found if at > now_ms), default=None)

    def changes(profile: Profile, now_ms: int) -> Verdicts:
        found = instants(profile)
        coming = {at for time_ms in found for at in moves(time_ms, now_ms) if at > now_ms}
        for at in (now_ms, *sorted(coming)):
            yield at, _any_counts(window, found, at)

    if isinstance(window, Between):  # which may hold as often as the trait has changed
        return Leaf(holds, feature=feature, changes=changes)
    return Leaf(holds, edge, feature)


def changes_of(node: Changed, history: Values | None) -> list[int]:
    """Return when the trait changed as the node says, in order, also outside of its window."""
    found: list[int] = []
    if history is None:
        return found
    former: Any = None
    for time_ms, value in zip(history.times, history.values, strict=True):
        if not _is_same(former, value) and _fits(node, former, value, time_ms):
            found.append(time_ms)
        former = value
    return found


def _is_same(former: Any, value: Any) -> bool:
    return value is None if former is None else equal(former, value)


def _fits(node: Changed, former: Any, value: Any, time_ms: int) -> bool:
    before, after = node.before, node.after
    return (before is None or before.holds(former, time_ms)) and (
        after is None or after.holds(value, time_ms)
    )


def _any_counts(window: Window, times: Iterable[int], now_ms: int) -> bool:
    after, upto = span(window, now_ms)
    return any(after < time_ms <= upto for time_ms in times)


def _moves(window: Window) -> Callable[[int, int], tuple[int, ...]]:
    """Return a function from the time of a change, and now, to when it enters and leaves the window."""
    match window:
        case Within(length_ms=length):
            return lambda time_ms, _now_ms: (time_ms + length,)
        case Between(from_ms=from_ms, to_ms=to_ms):
            return lambda time_ms, _now_ms: (time_ms + to_ms, time_ms + from_ms)
        case Calendar():
            return lambda time_ms, now_ms: _end_of_period(window, time_ms, now_ms)
    return lambda _time_ms, _now_ms: ()


def _end_of_period(window: Calendar, time_ms: int, now_ms: int) -> tuple[int, ...]:
    begin, end = period(window, now_ms)
    return (end,) if begin <= time_ms else ()
