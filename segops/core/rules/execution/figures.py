"""Figures in compiled rules: their value on a profile, and their future values (``SPEC.md#figures``)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from fractions import Fraction
from operator import attrgetter
from typing import Any

from segops.core.features import Feature, Reducer, reducer_of
from segops.core.features.bands import Series, thresholds
from segops.core.features.feature import Stepping, Unfolding
from segops.core.features.sliding import SlidingCount, SlidingSum
from segops.core.operators import OPERATORS
from segops.core.profile import Profile
from segops.core.rules.execution.clocks import clock_reading
from segops.core.rules.execution.days import LATEST_MS, Days, moves_of
from segops.core.rules.execution.distances import distance_reading
from segops.core.rules.execution.frozen import projection, sampled
from segops.core.rules.execution.leaf import FIRST, LATEST, Leaf, itself
from segops.core.rules.execution.leaves import KINDS, VIEWS, exact_test
from segops.core.rules.execution.readings import DAY_MS, Reading, exact_number
from segops.core.rules.execution.scores import score_reading
from segops.core.rules.execution.verdicts import Unfold, aging, evaluated
from segops.core.rules.figures import (
    AggregateFigure,
    ClockFigure,
    Compare,
    CountFigure,
    DaysFigure,
    DigitFigure,
    DistanceFigure,
    Figure,
    FrozenFigure,
    Number,
    PercentileFigure,
    PublishedFigure,
    Ratio,
    RatioFigure,
    ScoreFigure,
    TierFigure,
    TraitFigure,
)
from segops.core.scoring.rfm import Digits, Rfm
from segops.core.values import kind, lookup
from segops.core.windows import ALWAYS


def reading_of(figure: Figure | Number) -> Reading:
    """Return how to read a figure.

    >>> reading_of(TraitFigure(("age",))).read(Profile("user_id:u1", traits={"age": 20.5}), 0)
    Fraction(41, 2)
    """
    return _READINGS[type(figure)](figure)


def figure_value(figure: Figure | Number, profile: Profile, now_ms: int) -> Any:
    """Return the value of a figure on a profile at an instant; None if it is missing."""
    reading = reading_of(figure)
    return reading.value(reading.read(profile, now_ms), now_ms)


def ratio_value(upper: Any, lower: Any) -> Fraction | None:
    """Return the exact quotient of two values; None unless both are numbers and the lower one is not 0.

    >>> ratio_value(1, 3), ratio_value(1, 0), ratio_value("1", 3)
    (Fraction(1, 3), None, None)
    """
    if kind(upper) != "number" or kind(lower) != "number" or not lower:
        return None
    return Fraction(upper) / Fraction(lower)


def compare(node: Compare) -> Leaf:
    """Compile a comparison of two figures."""
    holds = OPERATORS[node.operator]

    def verdict(left: Any, right: Any, now_ms: int) -> bool:
        return left is not None and right is not None and holds(left, right, now_ms)

    def days(number: Any, _at_left: bool) -> Iterable[Any]:
        return (number,)

    def periodic(difference: int) -> bool:
        return holds(difference, 0, 0) is not holds(difference + 1, 0, 0)

    return _paired(reading_of(node.left), reading_of(node.right), verdict, days, periodic)


def published(node: PublishedFigure) -> Leaf:
    """Compile a published figure as a node: it holds while the figure has a value."""
    reading = reading_of(node.figure)

    def changes(profile: Profile, now_ms: int) -> Iterator[tuple[int, bool]]:
        return evaluated(reading.series(profile, now_ms), lambda read, _now_ms: read is not None)

    return Leaf(
        lambda profile, now_ms: reading.read(profile, now_ms) is not None,
        figures=reading.features,
        traits=reading.traits,
        reads=reading.reads,
        changes=changes,
    )


def ratio(node: Ratio) -> Leaf:
    """Compile a predicate of the ratio of two figures."""
    test = exact_test("avg", node.test)
    points = [Fraction(point) for point in thresholds(test)[1:-1]]

    def verdict(upper: Any, lower: Any, now_ms: int) -> bool:
        return test.holds(ratio_value(upper, lower), now_ms)

    def days(number: Any, is_upper: bool) -> Iterable[Any]:
        if is_upper:
            return [point * number for point in points]
        return [0, *(number / point for point in points if point)]  # of 0 days there is no ratio

    return _paired(reading_of(node.upper), reading_of(node.lower), verdict, days, lambda _: False)


_Verdict = Callable[[Any, Any, int], bool]


def _paired(
    left: Reading, right: Reading, verdict: _Verdict, days: Days, periodic: Callable[[int], bool]
) -> Leaf:
    """Return a leaf with a verdict on two values.

    ``periodic``: whether the verdict on a difference of so many days and on one more differ.
    """

    def of_pair(pair: tuple[Any, Any], now_ms: int) -> bool:
        return verdict(left.value(pair[0], now_ms), right.value(pair[1], now_ms), now_ms)

    def holds(profile: Profile, now_ms: int) -> bool:
        return of_pair((left.read(profile, now_ms), right.read(profile, now_ms)), now_ms)

    moves = moves_of(left, right, days, periodic)

    def changes(profile: Profile, now_ms: int) -> Iterator[tuple[int, bool]]:
        pairs = together(left.series(profile, now_ms), right.series(profile, now_ms))
        return evaluated(pairs if moves is None else aging(pairs, moves), of_pair)

    return Leaf(
        holds,
        figures=left.features + right.features,
        traits=left.traits + right.traits,
        reads=left.reads + right.reads,
        changes=changes,
    )


def together(left: Series, right: Series) -> Iterator[tuple[int, tuple[Any, Any]]]:
    """Yield the pairs of values of two series that begin at one instant.

    >>> list(together(iter([(0, "a"), (5, "b")]), iter([(0, 1), (5, 2), (7, 3)])))
    [(0, ('a', 1)), (5, ('b', 2)), (7, ('b', 3))]
    """
    (at, first), (_, second) = next(left), next(right)
    yield at, (first, second)
    (left_at, left_value), (right_at, right_value) = next(left, _END), next(right, _END)
    while (at := left_at if left_at < right_at else right_at) < _NEVER:
        if left_at == at:
            first = left_value
            left_at, left_value = next(left, _END)
        if right_at == at:
            second = right_value
            right_at, right_value = next(right, _END)
        yield at, (first, second)


#: Later than any instant, and what stands at the end of a series.
_NEVER = 1 << 63
_END: tuple[int, Any] = (_NEVER, None)


# -- readings ----------------------------------------------------------------------------------------------


def _of_feature(
    feature: Feature,
    view: Callable[[Any], Any],
    *,
    ages: bool = False,
    other_end: Callable[[Any], Any] | None = None,
) -> Reading:
    reducer, key = reducer_of(feature), feature.id
    future = _unfold(reducer)

    def read(profile: Profile, now_ms: int) -> Any:
        return view(reducer.read(profile.features.get(key), now_ms))

    def series(profile: Profile, now_ms: int) -> Series:
        return ((at, view(found)) for at, found in future(profile.features.get(key), now_ms))

    return Reading(read, series, ages, (feature,), other_end=other_end)


def _unfold(reducer: Reducer) -> Unfold:
    """Return the future values of a feature of any family."""
    if isinstance(reducer, Unfolding):
        return reducer.future

    def steps(state: Any, now_ms: int) -> Series:
        at: int | None = now_ms
        while at is not None:
            yield at, reducer.read(state, at)
            at = reducer.next_edge(state, at) if isinstance(reducer, Stepping) else None

    return steps


def _count(figure: CountFigure) -> Reading:
    feature = Feature("count", figure.select.names, figure.select.where, figure.window)
    falls = isinstance(reducer_of(feature), SlidingCount | SlidingSum)
    return _of_feature(feature, _number_of_events, other_end=_none_left if falls else None)


def _none_left(_number: int) -> int:
    return 0


def _number_of_events(value: Any) -> int:
    count: int = value[0] if value.__class__ is tuple else value
    return count


def _aggregate(figure: AggregateFigure) -> Reading:
    select, function = figure.select, figure.function
    kind_of = KINDS.get(function, function)
    feature = Feature(
        kind_of,
        select.names,
        select.where,
        figure.window,
        path=figure.path,
        convert=figure.convert,
        money=figure.money,
    )
    view = VIEWS[function]
    return _of_feature(feature, exact_number if view is itself else lambda value: exact_number(view(value)))


def _days(figure: DaysFigure) -> Reading:
    feature = Feature(figure.which, figure.select.names, figure.select.where, ALWAYS)
    return _of_feature(feature, itself, ages=True, other_end=itself)


def _of_rfm(rfm: Rfm, view: Callable[[Digits], Any]) -> Reading:
    feature = rfm.feature
    reducer, key = reducer_of(feature), feature.id

    def viewed(totals: Any, now_ms: int) -> Any:
        digits = rfm.value(totals, now_ms)
        return None if digits is None else view(digits)

    def read(profile: Profile, now_ms: int) -> Any:
        return viewed(reducer.read(profile.features.get(key), now_ms), now_ms)

    def series(profile: Profile, now_ms: int) -> Series:
        future = rfm.future(profile.features.get(key), now_ms)
        falling = aging(future, lambda totals, at: rfm.next_edge(totals, (), at))
        return ((at, viewed(totals, at)) for at, totals in falling)

    return Reading(read, series, features=(feature,))


def _ratio(figure: RatioFigure) -> Reading:
    upper, lower = reading_of(figure.upper), reading_of(figure.lower)

    def read(profile: Profile, now_ms: int) -> Fraction | None:
        return ratio_value(upper.read(profile, now_ms), lower.read(profile, now_ms))

    def series(profile: Profile, now_ms: int) -> Series:
        pairs = together(upper.series(profile, now_ms), lower.series(profile, now_ms))
        return ((at, ratio_value(*pair)) for at, pair in pairs)

    return Reading(
        read,
        series,
        features=upper.features + lower.features,
        traits=upper.traits + lower.traits,
        reads=upper.reads + lower.reads,
    )


def _frozen(figure: FrozenFigure) -> Reading:
    """Read a figure as of the latest refresh; days are read as the number that they had then."""
    inner, refresh = reading_of(figure.of), figure.refresh
    view = projection(inner.features, refresh)

    def read(profile: Profile, now_ms: int) -> Any:
        at = refresh.latest(now_ms)
        return inner.value(inner.read(view.before(profile, at), at), at)

    def series(profile: Profile, now_ms: int) -> Series:
        coming = inner.series(view.now(profile), now_ms)
        found = sampled(refresh, now_ms, None, aging(coming, _next_day) if inner.ages else coming)
        yield next(found)[0], read(profile, now_ms)
        for at, value in found:
            yield at, inner.value(value, at)

    return Reading(read, series, features=view.features)


def _next_day(since_ms: int | None, now_ms: int) -> int | None:
    """Return when the number of days since an instant next rises; None after the year 9999."""
    if since_ms is None:
        return None
    at = now_ms + DAY_MS - (now_ms - since_ms) % DAY_MS
    return at if at <= LATEST_MS else None


def _percentile(figure: PercentileFigure) -> Reading:
    """Read the rank of a score among edges; it moves when the score reaches or passes one of them."""
    inner, edges = reading_of(figure.score), tuple(map(exact_number, figure.edges or ()))
    moves = moves_of(inner, _literal(Number(Decimal(0))), lambda _number, _at_left: edges, lambda _: False)

    def rank(read: Any, now_ms: int) -> int | None:
        value = inner.value(read, now_ms)
        return bisect_left(edges, value) if edges and kind(value) == "number" else None

    def series(profile: Profile, now_ms: int) -> Series:
        pairs = ((at, (read, 0)) for at, read in inner.series(profile, now_ms))
        moving = pairs if moves is None else aging(pairs, moves)
        return ((at, rank(read, at)) for at, (read, _) in moving)

    return Reading(
        lambda profile, now_ms: rank(inner.read(profile, now_ms), now_ms),
        series,
        features=inner.features,
        traits=inner.traits,
        reads=inner.reads,
    )


def _trait(figure: TraitFigure) -> Reading:
    path = figure.path

    def read(profile: Profile, _now_ms: int) -> Any:
        return exact_number(lookup(profile.traits, path))

    return _constant(read, traits=(path[0],))


def _constant(
    read: Callable[[Profile, int], Any],
    *,
    ages: bool = False,
    traits: tuple[str, ...] = (),
    reads: tuple[str, ...] = (),
) -> Reading:
    """Return the reading of what only events change."""

    def series(profile: Profile, now_ms: int) -> Series:
        yield now_ms, read(profile, now_ms)

    return Reading(read, series, ages, (), traits, reads, other_end=itself)


def _literal(number: Number) -> Reading:
    value = exact_number(number.number)
    return _constant(lambda _profile, _now_ms: value)


def _latest_ms(profile: Profile, _now_ms: int) -> int | None:
    return None if profile.first_ms is None else profile.latest_ms


def _score(figure: ScoreFigure) -> Reading:
    return SCORES.get(figure.name) or score_reading(figure, reading_of)


#: Score -> how to read it.
SCORES: dict[str, Reading] = {"recency_days": _constant(_latest_ms, ages=True, reads=(FIRST, LATEST))}

_READINGS: dict[type, Callable[[Any], Reading]] = {
    CountFigure: _count,
    AggregateFigure: _aggregate,
    TraitFigure: _trait,
    ScoreFigure: _score,
    PercentileFigure: _percentile,
    DigitFigure: lambda figure: _of_rfm(figure.rfm, attrgetter(figure.name)),
    TierFigure: lambda figure: _of_rfm(figure.rfm, figure.rfm.tier),
    DaysFigure: _days,
    ClockFigure: clock_reading,
    DistanceFigure: distance_reading,
    RatioFigure: _ratio,
    FrozenFigure: _frozen,
    Number: _literal,
}
