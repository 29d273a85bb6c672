"""The leaf of each node: its verdict on a profile, and when time alone may change it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from operator import itemgetter
from typing import Any

from segops.core.features import ANY_NAME, CAPACITIES, Feature, Values, reducer_of
from segops.core.features.bands import thresholds
from segops.core.features.sequence import SequenceReducer
from segops.core.features.sessions import SessionCount
from segops.core.features.since import SinceReducer, is_anchored
from segops.core.features.sliding import SlidingCount, SlidingSum, SlidingValue
from segops.core.geo import distance_m
from segops.core.operators import Predicate
from segops.core.profile import Profile
from segops.core.rules.counts import boundaries
from segops.core.rules.execution.leaf import (
    FIRST,
    LATEST,
    LOCATION,
    Leaf,
    Verdict,
    holding,
    itself,
    never,
    reading,
    tested,
)
from segops.core.rules.execution.verdicts import POINTED, Edge, Moves, Verdicts, aging, series_of
from segops.core.rules.model import (
    Aggregate,
    Bucket,
    Did,
    HasBeen,
    KnownFor,
    Near,
    Occurrence,
    RfmNode,
    ScoreNode,
    SequenceNode,
    Trait,
)
from segops.core.scoring.base import FeatureScorer
from segops.core.values import exact, kind, lookup, share_of
from segops.core.windows import ALWAYS, SinceLast, Within


def capacity(threshold: int) -> int | None:
    """Return the smallest capacity that decides a threshold; None: all entries are needed."""
    return next((most for most in CAPACITIES if most >= threshold), None)


def did(node: Did) -> Leaf:
    """Compile a count of events in a window."""
    crossings = boundaries(node.count)
    limited = isinstance(node.window, (Within, SinceLast))
    feature = Feature(
        "count",
        node.select.names,
        node.select.where,
        node.window,
        capacity=capacity(max(crossings, default=1)) if limited else None,
    )
    return counted(feature, node.count)


def counted(feature: Feature, test: Predicate) -> Leaf:
    """Compile a predicate of a feature that counts events."""
    reducer, key, crossings = reducer_of(feature), feature.id, boundaries(test)
    if isinstance(reducer, SinceReducer):
        return since(feature, reducer, tested(itself, test))
    if isinstance(reducer, SlidingCount):
        return Leaf(
            holding(reducer, key, test.holds),
            crossing(reducer, key, crossings[::-1]),
            feature,
            min(crossings, default=0),
            within_ms=reducer.length_ms,
            comparison=test.ops,
        )
    view = itemgetter(0) if isinstance(reducer, SlidingSum) else itself
    return reading(feature, tested(view, test), series=series_of(reducer, "count", thresholds(test)))


def crossing(reducer: SlidingCount | SlidingValue | SessionCount, key: int, falling: tuple[int, ...]) -> Edge:
    """Return the edge of a number that falls below one of ``falling`` (greatest first) with time."""
    next_crossing = reducer.next_crossing

    def edge(profile: Profile, now_ms: int) -> int | None:
        state: Any = profile.features.get(key)
        return next_crossing(state, falling, now_ms)

    return edge


#: Function of an aggregate node -> the kind of the feature that it reads.
KINDS = {"sum": "sum", "avg": "sum"}


def aggregate(node: Aggregate) -> Leaf:
    """Compile an aggregate of a property over events in a window."""
    limited = node.function == "distinct" and not isinstance(node.window, SinceLast)
    limit = capacity(max(boundaries(node.test), default=1)) if limited else None
    feature = Feature(
        KINDS.get(node.function, node.function),
        node.select.names,
        node.select.where,
        node.window,
        path=node.path,
        capacity=limit,
        convert=node.convert,
        money=node.money,
    )
    if node.function == "distinct":
        return different(feature, node.test)
    reducer = reducer_of(feature)
    test = exact_test(node.function, node.test)
    moves = test.next_edge if test.timed and node.function in POINTED else None
    if isinstance(reducer, SinceReducer):
        return since(feature, reducer, tested(VIEWS[node.function], test), moves)
    points = thresholds(exact_test("sum", node.test) if node.function == "avg" else test)
    return reading(
        feature,
        tested(VIEWS[node.function], test),
        series=series_of(reducer, node.function, points),
        moves=moves,
    )


def different(feature: Feature, test: Predicate) -> Leaf:
    """Compile a predicate of a number of different values."""
    reducer, crossings = reducer_of(feature), boundaries(test)
    least = min(crossings, default=0)
    if isinstance(reducer, SinceReducer):
        return since(feature, reducer, tested(itself, test))
    if isinstance(reducer, SlidingValue):
        edge = crossing(reducer, feature.id, crossings[::-1])
        return Leaf(holding(reducer, feature.id, test.holds), edge, feature, least)
    return reading(feature, test.holds, series=series_of(reducer, "distinct", thresholds(test)), least=least)


def _total(value: tuple[int, Decimal]) -> Decimal:
    return value[1]


def _mean(value: tuple[int, Decimal]) -> Fraction | None:
    count, total = value
    return Fraction(total) / count if count else None


#: Function of an aggregate node -> the view of its predicate on the feature's value.
VIEWS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("min", "max", "distinct", *POINTED), itself),
    "sum": _total,
    "avg": _mean,
}


def exact_test(function: str, test: Predicate) -> Predicate:
    """Convert the thresholds of a sum or mean to the exact decimals as written.

    >>> exact_test("sum", Predicate((("gte", 0.3),))).holds(Decimal("0.1") + Decimal("0.2"), 0)
    True
    """
    convert = {"sum": exact, "avg": lambda number: Fraction(exact(number))}.get(function)
    if convert is None:
        return test
    return Predicate(tuple((name, _converted(operand, convert)) for name, operand in test.ops))


def _converted(operand: Any, convert: Callable[[Any], Any]) -> Any:
    if isinstance(operand, tuple):
        return tuple(_converted(item, convert) for item in operand)
    return convert(operand) if kind(operand) == "number" else operand


def since(feature: Feature, reducer: SinceReducer, verdict: Verdict, moves: Moves | None = None) -> Leaf:
    """Return a leaf with a verdict on what came after an anchor; without an anchor it is false."""
    key = feature.id

    def holds(profile: Profile, now_ms: int) -> bool:
        state: Any = profile.features.get(key)
        return is_anchored(state) and verdict(reducer.read(state, now_ms), now_ms)

    def edge(profile: Profile, now_ms: int) -> int | None:
        state: Any = profile.features.get(key)
        return moves(reducer.read(state, now_ms), now_ms) if moves and is_anchored(state) else None

    def changes(profile: Profile, now_ms: int) -> Verdicts:
        state: Any = profile.features.get(key)
        if not is_anchored(state):
            return iter([(now_ms, False)])
        found = reducer.future(state, now_ms)
        return ((at, verdict(value, at)) for at, value in (aging(found, moves) if moves else found))

    if reducer.timed:
        return Leaf(holds, feature=feature, changes=changes)
    return Leaf(holds, edge if moves else never, feature)


def occurrence(node: Occurrence) -> Leaf:
    """Compile a predicate of the age of the first or last event."""
    feature = Feature(node.which, node.select.names, node.select.where, ALWAYS)
    older, newer = node.older_than_ms, node.newer_than_ms
    ages = [age for age in (older, newer) if age is not None]

    def verdict(time_ms: int | None, now_ms: int) -> bool:
        if time_ms is None:
            return False
        age_ms = now_ms - time_ms
        return (older is None or age_ms >= older) and (newer is None or age_ms < newer)

    def moves(time_ms: int | None, now_ms: int) -> int | None:
        edges = [] if time_ms is None else [time_ms + age for age in ages]
        return min((edge for edge in edges if edge > now_ms), default=None)

    return reading(feature, verdict, series=series_of(reducer_of(feature), node.which, None), moves=moves)


def trait(node: Trait) -> Leaf:
    """Compile a predicate of a trait."""
    path, test = node.path, node.test

    def holds(profile: Profile, now_ms: int) -> bool:
        return test.holds(lookup(profile.traits, path), now_ms)

    def edge(profile: Profile, now_ms: int) -> int | None:
        return test.next_edge(lookup(profile.traits, path), now_ms)

    return Leaf(holds, edge if test.timed else never, traits=(path[0],))


def known_for(node: KnownFor) -> Leaf:
    """Compile a predicate of the age of the profile's earliest event."""
    length_ms = node.length_ms

    def holds(profile: Profile, now_ms: int) -> bool:
        return profile.first_ms is not None and now_ms - profile.first_ms >= length_ms

    def edge(profile: Profile, now_ms: int) -> int | None:
        known = None if profile.first_ms is None else profile.first_ms + length_ms
        return known if known is not None and known > now_ms else None

    return Leaf(holds, edge, reads=(FIRST,))


def has_been(node: HasBeen) -> Leaf:
    """Compile a predicate that a trait must have satisfied continuously for some time."""
    feature = Feature("history", (), (), Within(node.length_ms), path=node.path)
    key, test, length_ms = feature.id, node.test, node.length_ms

    def since(profile: Profile, now_ms: int) -> int | None:
        state: Any = profile.features.get(key)
        return (
            None
            if profile.first_ms is None
            else held_since(state, test, (profile.first_ms, length_ms), now_ms)
        )

    def holds(profile: Profile, now_ms: int) -> bool:
        begun = since(profile, now_ms)
        return begun is not None and now_ms - begun >= length_ms

    def edge(profile: Profile, now_ms: int) -> int | None:
        begun = since(profile, now_ms)
        state: Any = profile.features.get(key)
        value = state.values[-1] if state is not None else None
        edges = (
            None if begun is None else begun + length_ms,
            test.next_edge(value, now_ms) if test.timed else None,
        )
        return min((e for e in edges if e is not None and e > now_ms), default=None)

    return Leaf(holds, edge, feature, reads=(FIRST,))


def held_since(history: Values | None, test: Predicate, known: tuple[int, int], now_ms: int) -> int | None:
    """Return since when a trait has continuously satisfied a predicate; None if it does not at ``now_ms``.

    ``known`` is the time of the profile's first event, and the length beyond which the past does not matter.
    Before the first event nothing holds; from then until its first value the trait is missing.
    """
    first_ms, length_ms = known
    times, values = ([], []) if history is None else (history.times, history.values)
    begun, until = None, now_ms + 1
    for time_ms, value in zip((*times[::-1], first_ms), (*values[::-1], None), strict=True):
        if time_ms >= until:
            continue
        unbroken = _unbroken_since(value, test, max(time_ms, now_ms - length_ms), until)
        if unbroken is None:
            return begun
        begun, until = unbroken, time_ms
        if unbroken > max(time_ms, now_ms - length_ms) or unbroken <= now_ms - length_ms:
            return begun
    return begun


def _unbroken_since(value: Any, test: Predicate, begin_ms: int, until_ms: int) -> int | None:
    """Return since when, in ``[begin_ms, until_ms)``, a value satisfies a predicate to the end; else None."""
    since = begin_ms if test.holds(value, begin_ms) else None
    at = test.next_edge(value, begin_ms) if test.timed else None
    while at is not None and at < until_ms:
        if not test.holds(value, at):
            since = None
        elif since is None:
            since = at
        at = test.next_edge(value, at)
    return since


def near(node: Near) -> Leaf:
    """Compile a predicate of the last known location."""
    center, radius_m, within_ms = (node.lat, node.lon), node.radius_m, node.within_ms

    def holds(profile: Profile, now_ms: int) -> bool:
        if profile.location is None or (within_ms is not None and now_ms - profile.location_ms >= within_ms):
            return False
        return distance_m(profile.location, center) <= radius_m

    def edge(profile: Profile, now_ms: int) -> int | None:
        if within_ms is None or profile.location is None:
            return None
        stale = profile.location_ms + within_ms
        return stale if stale > now_ms else None

    return Leaf(holds, edge, reads=(LOCATION,))


def sequence(node: SequenceNode) -> Leaf:
    """Compile a sequence of events."""
    steps = node.sequence.steps
    named = {name for step in steps for name in step.names}
    names = (ANY_NAME,) if node.sequence.strict or ANY_NAME in named else tuple(sorted(named))
    feature = Feature("sequence", names, (), ALWAYS, sequence=node.sequence)
    return reading(feature, lambda value, _now_ms: bool(value), series=SequenceReducer(node.sequence).future)


def score(node: ScoreNode | RfmNode) -> Leaf:
    """Compile predicates of a score, which changes with what its model reads and with time."""
    scorer, tests = node.scorer, node.predicates
    value_of, next_edge, fits = scorer.value, scorer.next_edge, node.holds

    def holds(read: Any, now_ms: int) -> bool:
        return fits(value_of(read, now_ms), now_ms)

    def edge(read: Any, now_ms: int) -> int | None:
        return next_edge(read, tests, now_ms)

    if isinstance(scorer, FeatureScorer):
        return reading(scorer.feature, holds, series=scorer.future, moves=edge)
    return Leaf(holds, edge, reads=(FIRST, LATEST))


def bucket(node: Bucket) -> Leaf:
    """Compile a fixed share of all profiles."""
    salt, low, high = node.salt, node.low, node.high

    def holds(profile: Profile, _now_ms: int) -> bool:
        return low <= share_of(salt, profile.id) < high

    return Leaf(holds, never, reads=(FIRST,))
