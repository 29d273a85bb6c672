"""Leaves: how each is read from a profile, and when its verdict could change by time alone."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec

from segops.core.features import CAPACITIES, Feature, Reducer, reducer_of
from segops.core.features.sliding import SlidingCount
from segops.core.operators import Test
from segops.core.profile import Profile
from segops.core.rules.conditions import boundaries
from segops.core.rules.model import Aggregate, Did, KnownFor, Occurrence, Trait
from segops.core.values import exact, kind, lookup
from segops.core.windows import ALWAYS, Within

Holds = Callable[[Profile, int], bool]
Edge = Callable[[Profile, int], int | None]


class Leaf(msgspec.Struct, frozen=True):
    """A leaf made ready: its verdict, its next edge (None: it never changes by time), and what it reads."""

    holds: Holds
    edge: Edge
    feature: Feature | None = None
    #: How many entries of a counting feature there must be before one more can matter to the leaf.
    least: int = 0
    traits: tuple[str, ...] = ()
    reads_first: bool = False
    segment: str | None = None
    #: For a count within a length: that length and the test, which the compiler writes out in place.
    within_ms: int | None = None
    comparison: tuple[tuple[str, Any], ...] = ()


def never(_profile: Profile, _now_ms: int) -> int | None:
    """The edge of a leaf that time does not change."""
    return None


def _capacity(threshold: int) -> int | None:
    return next((capacity for capacity in CAPACITIES if capacity >= threshold), None)


def did(node: Did) -> Leaf:
    """A count of events in a window."""
    crossings = boundaries(node.count)
    sliding = isinstance(node.window, Within)
    feature = Feature(
        "count",
        node.select.names,
        node.select.where,
        node.window,
        capacity=_capacity(max(crossings, default=1)) if sliding else None,
    )
    reducer, key, test = reducer_of(feature), feature.id, node.count
    read = _counting(reducer, pairs=sliding and feature.capacity is None and not feature.timed_where)

    def holds(profile: Profile, now_ms: int) -> bool:
        return test.holds(read(profile.features.get(key), now_ms), now_ms)

    if isinstance(reducer, SlidingCount):
        edge = _crossing(reducer, key, crossings[::-1])
        least = min(crossings, default=0)
        return Leaf(holds, edge, feature, least, within_ms=reducer.length_ms, comparison=test.ops)
    return Leaf(holds, _edge(reducer, key), feature)


def _counting(reducer: Reducer, *, pairs: bool) -> Callable[[Any, int], int]:
    if not pairs:
        return reducer.read

    def read(state: Any, now_ms: int) -> int:
        count: int = reducer.read(state, now_ms)[0]
        return count

    return read


def _edge(reducer: Reducer, key: int) -> Edge:
    def edge(profile: Profile, now_ms: int) -> int | None:
        return reducer.next_edge(profile.features.get(key), now_ms)

    return edge


def _crossing(reducer: SlidingCount, key: int, falling: tuple[int, ...]) -> Edge:
    next_crossing = reducer.next_crossing

    def edge(profile: Profile, now_ms: int) -> int | None:
        state: Any = profile.features.get(key)
        return next_crossing(state, falling, now_ms)

    return edge


#: Function of an aggregate node -> the kind of the feature that it reads.
_KINDS = {"sum": "sum", "avg": "sum"}


def aggregate(node: Aggregate) -> Leaf:
    """An aggregate of a property over events in a window."""
    limit = _capacity(max(boundaries(node.test), default=1)) if node.function == "distinct" else None
    feature = Feature(
        _KINDS.get(node.function, node.function),
        node.select.names,
        node.select.where,
        node.window,
        path=node.path,
        capacity=limit,
    )
    reducer, key = reducer_of(feature), feature.id
    view, test = VIEWS[node.function], exact_test(node.function, node.test)

    def holds(profile: Profile, now_ms: int) -> bool:
        return test.holds(view(reducer.read(profile.features.get(key), now_ms)), now_ms)

    def edge(profile: Profile, now_ms: int) -> int | None:
        state = profile.features.get(key)
        edges = (reducer.next_edge(state, now_ms), test.next_edge(view(reducer.read(state, now_ms)), now_ms))
        return min((e for e in edges if e is not None), default=None)

    least = min(boundaries(node.test), default=0) if node.function == "distinct" else 0
    return Leaf(holds, edge if test.timed else _edge(reducer, key), feature, least)


def _itself(value: Any) -> Any:
    return value


def _total(value: tuple[int, Decimal]) -> Decimal:
    return value[1]


def _mean(value: tuple[int, Decimal]) -> Fraction | None:
    count, total = value
    return Fraction(total) / count if count else None


#: Function of an aggregate node -> what its test sees of the feature's value.
VIEWS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("min", "max", "distinct", "latest", "earliest"), _itself),
    "sum": _total,
    "avg": _mean,
}


def exact_test(function: str, test: Test) -> Test:
    """The test of a sum or a mean, with thresholds as the decimals that were written.

    >>> exact_test("sum", Test((("gte", 0.3),))).holds(Decimal("0.1") + Decimal("0.2"), 0)
    True
    """
    convert = {"sum": exact, "avg": lambda number: Fraction(exact(number))}.get(function)
    if convert is None:
        return test
    return Test(tuple((name, _converted(operand, convert)) for name, operand in test.ops))


def _converted(operand: Any, convert: Callable[[Any], Any]) -> Any:
    if isinstance(operand, tuple):
        return tuple(_converted(item, convert) for item in operand)
    return convert(operand) if kind(operand) == "number" else operand


def occurrence(node: Occurrence) -> Leaf:
    """The age of the first or the last event."""
    feature = Feature(node.which, node.select.names, node.select.where, ALWAYS)
    reducer, key = reducer_of(feature), feature.id
    older, newer = node.older_than_ms, node.newer_than_ms
    ages = [age for age in (older, newer) if age is not None]

    def holds(profile: Profile, now_ms: int) -> bool:
        time_ms = reducer.read(profile.features.get(key), now_ms)
        if time_ms is None:
            return False
        age_ms = now_ms - time_ms
        return (older is None or age_ms >= older) and (newer is None or age_ms < newer)

    def edge(profile: Profile, now_ms: int) -> int | None:
        state = profile.features.get(key)
        time_ms = reducer.read(state, now_ms)
        edges = [] if time_ms is None else [time_ms + age for age in ages]
        return min(
            (e for e in (*edges, reducer.next_edge(state, now_ms)) if e is not None and e > now_ms),
            default=None,
        )

    return Leaf(holds, edge, feature)


def trait(node: Trait) -> Leaf:
    """A test of the profile's trait."""
    path, test = node.path, node.test

    def holds(profile: Profile, now_ms: int) -> bool:
        return test.holds(lookup(profile.traits, path), now_ms)

    def edge(profile: Profile, now_ms: int) -> int | None:
        return test.next_edge(lookup(profile.traits, path), now_ms)

    return Leaf(holds, edge if test.timed else never, traits=(path[0],))


def known_for(node: KnownFor) -> Leaf:
    """The age of the profile's earliest event."""
    length_ms = node.length_ms

    def holds(profile: Profile, now_ms: int) -> bool:
        return profile.first_ms is not None and now_ms - profile.first_ms >= length_ms

    def edge(profile: Profile, now_ms: int) -> int | None:
        known = None if profile.first_ms is None else profile.first_ms + length_ms
        return known if known is not None and known > now_ms else None

    return Leaf(holds, edge, reads_first=True)
