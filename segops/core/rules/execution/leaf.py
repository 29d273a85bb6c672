"""What a leaf is, and how one reads a feature of the profile."""

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
    """The edge of a leaf that time does not change."""
    return None


class Leaf(msgspec.Struct, frozen=True):
    """A leaf made ready: its verdict, its next edge, and what it reads.

    One whose verdict may change with time as often as it has entries has ``changes`` in place of the edge.
    """

    holds: Holds
    edge: Edge = never
    feature: Feature | None = None
    #: How many entries of a counting feature there must be before one more can matter to the leaf.
    least: int = 0
    traits: tuple[str, ...] = ()
    #: Parts of the profile that it reads: FIRST (its earliest event, and that it exists), LATEST, LOCATION.
    reads: tuple[str, ...] = ()
    segment: str | None = None
    #: For a count within a length: that length and the test, which the compiler writes out in place.
    within_ms: int | None = None
    comparison: tuple[tuple[str, Any], ...] = ()
    changes: Changes | None = None


FIRST = "first"
LOCATION = "location"
LATEST = "latest"


#: Whether what a feature reads as satisfies a leaf at an instant.
Verdict = Callable[[Any, int], bool]


def itself(value: Any) -> Any:
    """What the test of most leaves sees of the feature's value."""
    return value


def tested(view: Callable[[Any], Any], test: Predicate) -> Verdict:
    """The verdict of a test on what it sees of the feature's value."""
    if view is itself:
        return test.holds
    return lambda value, now_ms: test.holds(view(value), now_ms)


def holding(reducer: Reducer, key: int, verdict: Verdict) -> Holds:
    """The verdict on the feature of a profile."""
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
    """A verdict on what a feature reads as.

    ``series`` is what that will be, if it may change often; ``moves``, when the verdict on one value may.
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
