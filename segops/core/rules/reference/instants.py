"""The instants at which anything could change by time alone, for the slow and obvious evaluator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

from segops.core.lookups import columns_of
from segops.core.operators import Age, Anniversary, Predicate, next_anniversary
from segops.core.refresh import Refresh
from segops.core.rules import model
from segops.core.rules.figures import (
    AggregateFigure,
    ClockFigure,
    CountFigure,
    DaysFigure,
    DigitFigure,
    DistanceFigure,
    FrozenFigure,
    Number,
    PercentileFigure,
    RatioFigure,
    ScoreFigure,
    TierFigure,
    TraitFigure,
    figures_of,
    leaf_figures,
)
from segops.core.rules.reference.dates import dates_in, texts_in
from segops.core.rules.reference.figures import clock_end, score, value_of
from segops.core.rules.reference.history import History
from segops.core.rules.reference.own import own_formula, own_instants
from segops.core.rules.reference.scores import moving_score, score_instants
from segops.core.rules.reference.values import exact, is_number
from segops.core.windows import Between, Calendar, Window, Within, period

_DAY_MS = 86_400_000
_QUARTER_MS = 900_000
_Selecting = model.Did | model.Aggregate | model.Occurrence | CountFigure | AggregateFigure | DaysFigure


class Edges:
    """The instants at which time alone may change the verdict on a node, and others.

    They are each time and date in a profile, and in the look-up tables that rules read, shifted by each
    duration in a rule, and the ends of calendar periods.
    """

    def __init__(self, nodes: Iterable[model.Node]) -> None:
        """Find what lets time alone change these nodes."""
        self._walked = [below for node in nodes for below in _walk(node)]
        self._times = [times for node in self._walked for times in _each(_times(node))]
        self._durations = (0, *_durations(self._times))
        self._looked_up = _looked_up(self._walked)
        self._dates = dates_in(self._looked_up)

    def between(self, history: History, now_ms: int, until_ms: int) -> list[int]:
        """Return all such instants in ``(now_ms, until_ms]``, in order."""
        if until_ms <= now_ms:
            return []
        scores = _dates_of_scores(self._walked, history, now_ms)
        said = {*(event.time_ms for event in history.events), *history.dates(), *dates_in(scores)}
        found = {
            time_ms + shift
            for time_ms in said | self._dates
            for length in self._durations
            for shift in (length, -length)
        }
        found |= {times.at_ms for times in self._times if times.at_ms is not None}
        found.update(_ends(self._times, now_ms, until_ms))
        if any(times.daily for times in self._times):
            found.update(_days_later(history, now_ms, until_ms))
        for clock in {times.clock for times in self._times if times.clock is not None}:
            found.update(_hours(clock, history, now_ms, until_ms))
        values = [(event.properties, event.traits, event.context) for event in history.events]
        found.update(_anniversaries(self._times, (values, self._looked_up, scores), now_ms, until_ms))
        coming = {at for at in found if now_ms < at <= until_ms}
        return sorted({*coming, *_crossings(self._walked, history, {now_ms, *coming}, until_ms)})


def _ends(found: Sequence[_Times], now_ms: int, until_ms: int) -> Iterable[int]:
    """Yield the ends of calendar periods, and the instants at which nodes are refreshed."""
    for calendar in {times.window for times in found if isinstance(times.window, Calendar)}:
        at = now_ms
        for _ in range(100_000):
            if at > until_ms:
                break
            at = period(calendar, at)[1]
            yield at
    for refresh in {times.refresh for times in found if times.refresh is not None}:
        due: int | None = refresh.following(now_ms)
        while due is not None and due <= until_ms:
            yield due
            due = refresh.following(due)


def _crossings(
    nodes: Iterable[model.Node], history: History, instants: set[int], until_ms: int
) -> Iterable[int]:
    """Yield when scores pass numbers up to ``until_ms``; other figures change at these ``instants`` only."""
    for node in nodes:
        for scored, numbers in _numbers_of(node, history, instants):
            moving = moving_score(scored, history)
            if moving is not None:
                yield from score_instants(moving, numbers, min(instants), until_ms)
            elif (formula := own_formula(scored)) is not None:
                exactly = isinstance(scored, ScoreFigure)
                crossed = partial(_passed, numbers, exactly)
                yield from own_instants(formula, history, instants, until_ms, value_of, crossed=crossed)


def _passed(
    numbers: Iterable[Any], exactly: bool, moving: Callable[[int], Any], begin: int, end: int
) -> Iterable[int]:
    """Yield when a score passes numbers; ``exactly``: its exact value is compared."""
    seen = (lambda at: exact(moving(at))) if exactly else moving
    return score_instants(seen, numbers, begin, end)


def _numbers_of(node: model.Node, history: History, instants: set[int]) -> Iterable[tuple[object, set[Any]]]:
    """Yield the scores of a node, each with the numbers at which the verdict on it can change."""
    for figure in leaf_figures(node):
        if isinstance(figure, PercentileFigure):
            yield figure.score, set(figure.edges or ())
    match node:
        case model.ScoreNode(test=test):
            yield node, set(_operands(test))
        case model.Compare(left=left, right=right):
            yield left, _values(right, history, instants) if isinstance(left, ScoreFigure) else set()
            yield right, _values(left, history, instants) if isinstance(right, ScoreFigure) else set()
        case model.Ratio(upper=upper, lower=lower, test=test):
            points = {exact(number) for number in _operands(test)}
            if isinstance(upper, ScoreFigure):
                yield upper, {point * one for point in points for one in _values(lower, history, instants)}
            if isinstance(lower, ScoreFigure):
                yield (
                    lower,
                    {one / point for point in points if point for one in _values(upper, history, instants)}
                    | {0},
                )


def _operands(test: Predicate) -> Iterable[Any]:
    for _, operand in test.ops:
        yield from (one for one in (operand if isinstance(operand, tuple) else (operand,)) if is_number(one))


def _values(figure: Any, history: History, instants: set[int]) -> set[Any]:
    return {value for at in instants if is_number(value := value_of(figure, history, at))}


def _dates_of_scores(nodes: Iterable[model.Node], history: History, now_ms: int) -> list[Any]:
    """Return the scores of nodes that are dates."""
    scores = [score(node, history, now_ms) for node in nodes if isinstance(node, model.ScoreNode)]
    return [value for value in scores if isinstance(value, str)]


def _each(found: _Times) -> Iterable[_Times]:
    yield found
    for compared in found.compared:
        yield from _each(compared)


def _walk(node: model.Node) -> Iterable[model.Node]:
    yield node
    for child in model.children(node):
        yield from _walk(child)


def _looked_up(nodes: Iterable[model.Node]) -> list[Any]:
    """Return all values of the look-up tables that nodes read."""
    return [list(column.rows.values()) for node in nodes for column in columns_of(node)]


class _Times(NamedTuple):
    """All that lets time alone change a node: its predicates, its durations (None: unlimited), its window.

    ``daily``: it changes at whole days after an event. ``compared``: the same of each of its figures.
    ``at_ms``: an instant by itself.
    ``refresh``: it changes at its instants. ``clock``: it changes as clocks do.
    """

    tests: Sequence[Predicate] = ()
    lengths_ms: Sequence[int | None] = ()
    window: Window | None = None
    daily: bool = False
    compared: Sequence[_Times] = ()
    at_ms: int | None = None
    refresh: Refresh | None = None
    clock: ClockFigure | None = None


def _times(node: model.Node) -> _Times:
    times_of = _TIMES.get(type(node))
    return _Times() if times_of is None else times_of(node)


def _durations(found: Iterable[_Times]) -> set[int]:
    lengths: set[int | None] = set()
    for times in found:
        lengths.update(*map(_shifts, times.tests), times.lengths_ms, _window_durations(times.window))
    return {length for length in lengths if length is not None}


def _shifts(test: Predicate) -> list[int]:
    """Return the integers in a predicate: durations, if it compares dates."""
    return [operand for _, operand in test.ops if type(operand) is int]


def _days_later(history: History, now_ms: int, until_ms: int) -> Iterable[int]:
    """Yield the whole days after each event."""
    for event in history.events:
        at = event.time_ms
        while at <= until_ms:
            at += _DAY_MS
            yield at


def _hours(clock: ClockFigure, history: History, now_ms: int, until_ms: int) -> Iterable[int]:
    """Yield when clocks show another hour or weekday, and when they begin to be missing."""
    end_ms = clock_end(history)
    if end_ms is None:
        return
    yield end_ms
    times = range(now_ms // _QUARTER_MS * _QUARTER_MS, min(until_ms, end_ms) + 1, _QUARTER_MS)
    for before_ms, at_ms in pairwise(times):
        if value_of(clock, history, before_ms) != value_of(clock, history, at_ms):
            yield at_ms


def _where(node: _Selecting) -> list[Predicate]:
    return [test for _, test in node.select.where]


def _has_been(node: model.HasBeen) -> _Times:
    length_ms, shifts = node.length_ms, _shifts(node.test)
    sums = [length for shift in shifts for length in (length_ms + shift, length_ms - shift)]
    return _Times([node.test], [length_ms, *sums])


def _sequence(node: model.SequenceNode) -> _Times:
    sequence = node.sequence
    return _Times(lengths_ms=[sequence.within_ms, *(step.within_ms for step in sequence.steps)])


def _window_durations(window: Window | None) -> Iterable[int]:
    match window:
        case Within(length_ms=length):
            return (length,)
        case Between(from_ms=from_ms, to_ms=to_ms):
            return from_ms, to_ms
    return ()


def _of_figures(
    node: model.Compare | model.Ratio | model.Distance | model.PublishedFigure | RatioFigure,
) -> _Times:
    return _Times(compared=[_FIGURES[type(figure)](figure) for figure in figures_of(node)])


def _score(scored: model.ScoreNode | ScoreFigure) -> _Times:
    """Return what moves a score: the days of ``recency_days``, or what moves the figures of its model."""
    scorer = None if scored.model is None else scored.model.formula
    inputs = getattr(scorer, "inputs", ())
    tests = [scored.test] if isinstance(scored, model.ScoreNode) else []
    compared = [_FIGURES[type(each.figure)](each.figure) for each in inputs]
    return _Times(tests, daily=scored.name == "recency_days", compared=compared)


#: Figure -> all that lets time alone change it.
_FIGURES: dict[type, Callable[[Any], _Times]] = {
    **dict.fromkeys(
        (CountFigure, AggregateFigure), lambda figure: _Times(_where(figure), window=figure.window)
    ),
    DaysFigure: lambda figure: _Times(_where(figure), daily=True),
    ClockFigure: lambda figure: _Times(clock=figure),
    ScoreFigure: _score,
    PercentileFigure: lambda figure: _score(figure.score),
    **dict.fromkeys(
        (DigitFigure, TierFigure),
        lambda figure: _Times(lengths_ms=[figure.rfm.purchases.period_ms, *figure.rfm.recency_ms]),
    ),
    DistanceFigure: lambda figure: _Times(lengths_ms=[figure.within_ms]),
    RatioFigure: _of_figures,
    FrozenFigure: lambda figure: _Times(refresh=figure.refresh),
    **dict.fromkeys((TraitFigure, Number), lambda _figure: _Times()),
}

#: Node -> all that lets time alone change it.
_TIMES: dict[type, Callable[[Any], _Times]] = {
    model.Did: lambda node: _Times(_where(node), window=node.window),
    model.Aggregate: lambda node: _Times([*_where(node), node.test], window=node.window),
    model.Occurrence: lambda node: _Times(_where(node), [node.older_than_ms, node.newer_than_ms]),
    model.Trait: lambda node: _Times([node.test]),
    model.KnownFor: lambda node: _Times(lengths_ms=[node.length_ms]),
    **dict.fromkeys((model.Compare, model.Ratio, model.Distance, model.PublishedFigure), _of_figures),
    model.HasBeen: _has_been,
    model.Changed: lambda node: _Times(window=node.window),
    model.Visited: lambda node: _Times(window=node.window),
    model.OnList: lambda node: _Times(at_ms=node.expires_ms),
    model.Near: lambda node: _Times(lengths_ms=[node.within_ms]),
    model.Located: lambda node: _Times(lengths_ms=[node.within_ms]),
    model.SequenceNode: _sequence,
    model.RfmNode: lambda node: _Times(lengths_ms=[node.rfm.purchases.period_ms, *node.rfm.recency_ms]),
    model.ScoreNode: _score,
    model.ActivePeriods: lambda node: _Times(_where(node), window=node.window),
    model.Sessions: lambda node: _Times(window=node.window),
    model.SessionFigure: lambda node: _Times([node.test], [node.gap_ms]),
    model.Regularly: lambda node: _Times(lengths_ms=[node.period_ms * n for n in range(1, node.periods + 1)]),
    model.LifecycleNode: lambda node: _Times(lengths_ms=[node.period_ms, 2 * node.period_ms]),
    model.Frozen: lambda node: _Times(refresh=node.refresh),
}


def _anniversaries(found: Iterable[_Times], values: Any, now_ms: int, until_ms: int) -> Iterable[int]:
    operands = [
        (Anniversary(0, o.zone) if isinstance(o, Age) else o, times)  # ages change at anniversaries, too
        for times in found
        for test in times.tests
        for _, o in test.ops
        if isinstance(o, (Anniversary, Age))
    ]
    texts = set(texts_in(values)) if operands else ()
    for operand, times in operands:
        lengths_ms = (0, *filter(None, times.lengths_ms))  # as has_been counts them, from an anniversary on
        for text in texts:
            at: int | None = now_ms - operand.length_ms - max(lengths_ms) - 1
            while at is not None and at <= until_ms + operand.length_ms:
                at = next_anniversary(text, operand.zone, at)
                if at is not None:
                    yield from (
                        edge + length for edge in (at, at - operand.length_ms) for length in lengths_ms
                    )
