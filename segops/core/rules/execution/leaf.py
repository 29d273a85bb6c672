"""Leaves of compiled rules, and how a leaf reads a feature of the profile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from segops.core.features import Feature, Reducer, reducer_of
from segops.core.features.feature import Stepping
from segops.core.operators import Predicate
from segops.core.profile import Profile
from segops.core.rules.execution.verdicts import (
    Changes,
    Edge,
    Holds,
    Moves,
    Unfold,
    Verdicts,
    aging,
    evaluated,
)


def never(_profile: Profile, _now_ms: int) -> int | None:
    """Return None: the edge of a leaf that time does not change."""
    return None


class Leaf(msgspec.Struct, frozen=True):
    """A compiled leaf: its verdict, its next edge, and the parts of the profile that it reads.

    A leaf whose verdict may change with time as often as it has entries has ``changes`` instead of an edge.
    """

    holds: Holds
    edge: Edge = never
    feature: Feature | None = None
    #: The number of entries below which a counting feature does not affect the leaf.
    least: int = 0
    traits: tuple[str, ...] = ()
    #: Parts of the profile that the leaf reads: FIRST (existence and earliest event), LATEST, LOCATION,
    #: IDENTIFIERS, LISTS.
    reads: tuple[str, ...] = ()
    segment: str | None = None
    #: For a count in a sliding window: its length and operators, which the compiler inlines.
    within_ms: int | None = None
    comparison: tuple[tuple[str, Any], ...] = ()
    changes: Changes | None = None
    #: The features of the figures that the leaf compares.
    figures: tuple[Feature, ...] = ()


FIRST = "first"
LOCATION = "location"
LATEST = "latest"
IDENTIFIERS = "identifiers"
LISTS = "lists"


#: Whether the value of a feature satisfies a leaf at an instant.
Verdict = Callable[[Any, int], bool]


def itself(value: Any) -> Any:
    """Return the value: the view of most leaves on a feature."""
    return value


def tested(view: Callable[[Any], Any], test: Predicate) -> Verdict:
    """Return the verdict of a predicate on a view of the feature's value."""
    if view is itself:
        return test.holds
    return lambda value, now_ms: test.holds(view(value), now_ms)


def holding(reducer: Reducer, key: int, verdict: Verdict) -> Holds:
    """Return the function that evaluates ``verdict`` on the profile's feature ``key``."""
    read = reducer.read

    def holds(profile: Profile, now_ms: int) -> bool:
        return verdict(read(profile.features.get(key), now_ms), now_ms)

    return holds


def reading(
    feature: Feature,
    verdict: Verdict,
    *,
    series: Unfold | None = None,
    moves: Moves | None = None,
    least: int = 0,
) -> Leaf:
    """Return a leaf with a verdict on the value of a feature.

    ``series`` yields the future values of a feature that may change often; ``moves`` returns the next instant
    at which the verdict on an unchanged value may change.
    """
    reducer, key = reducer_of(feature), feature.id
    holds = holding(reducer, key, verdict)
    if series is None:
        return Leaf(holds, _edge(reducer, key, moves), feature, least)

    def changes(profile: Profile, now_ms: int) -> Verdicts:
        found = series(profile.features.get(key), now_ms)
        if moves is None:
            return evaluated(found, verdict)
        return ((at, verdict(value, at)) for at, value in aging(found, moves))

    return Leaf(holds, feature=feature, least=least, changes=changes)


def _edge(reducer: Reducer, key: int, moves: Moves | None) -> Edge:
    next_edge = reducer.next_edge if isinstance(reducer, Stepping) else _never
    if moves is None:
        return lambda profile, now_ms: next_edge(profile.features.get(key), now_ms)

    def edge(profile: Profile, now_ms: int) -> int | None:
        state = profile.features.get(key)
        edges = (next_edge(state, now_ms), moves(reducer.read(state, now_ms), now_ms))
        return min((e for e in edges if e is not None), default=None)

    return edge


def _never(_state: Any, _now_ms: int) -> int | None:
    return None
