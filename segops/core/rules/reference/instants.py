"""The instants at which anything could change by time alone, for the slow and obvious evaluator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import ceil, floor
from typing import Any, NamedTuple

from segops.core.conversions import CONVERSIONS
from segops.core.operators import Age, Anniversary, Predicate, next_anniversary
from segops.core.rules import model
from segops.core.rules.figures import (
    AggregateFigure,
    CountFigure,
    DaysFigure,
    DigitFigure,
    Number,
    ScoreFigure,
    TierFigure,
    TraitFigure,
    leaf_figures,
)
from segops.core.rules.reference.history import History
from segops.core.rules.reference.values import exact, is_number
from segops.core.values import parse_instant
from segops.core.windows import Between, Calendar, Window, Within, period

_DAY_MS = 86_400_000
_Selecting = model.Did | model.Aggregate | model.Occurrence | CountFigure | AggregateFigure | DaysFigure


def edges(nodes: Iterable[model.Node], history: History, now_ms: int, until_ms: int) -> list[int]:
    """Return all instants in ``(now_ms, until_ms]`` at which time alone may change a verdict, and others.

    They are each time and date in the profile shifted by each duration in a rule, and the ends of calendar
    periods.
    """
    of_nodes = [_times(below) for node in nodes for below in _walk(node)]
    everything = [times for found in of_nodes for times in (found, *found.compared)]
    found = {
        time_ms + shift
        for time_ms in _known_times(history)
        for length in (0, *_durations(everything))
        for shift in (length, -length)
    }
    for calendar in {times.window for times in everything if isinstance(times.window, Calendar)}:
        at = now_ms
        while at <= until_ms and len(found) < 100_000:
            at = period(calendar, at)[1]
            found.add(at)
    if any(times.daily for times in everything):
        found.update(_days_later(history, now_ms, until_ms))
    found.update(_anniversaries(everything, history, now_ms, until_ms))
    return sorted(at for at in found if now_ms < at <= until_ms)


def _walk(node: model.Node) -> Iterable[model.Node]:
    yield node
    for child in model.children(node):
        yield from _walk(child)


def _known_times(history: History) -> set[int]:
    texts = [text for event in history.events for text in _texts((event.properties, event.traits))]
    dates = {parse_instant(text) for text in texts} - {None}
    epochs = {
        floor(exact(number) * unit)
        for event in history.events
        for number in _numbers((event.properties, event.traits))
        for unit in (1, 1_000)
    }
    return {event.time_ms for event in history.events} | {date for date in dates if date is not None} | epochs


def _numbers(value: Any) -> Iterable[Any]:
    """Yield the numbers in a value, also those that are texts, which a rule may read as dates."""
    if is_number(value) or isinstance(value, str):
        number = CONVERSIONS["number"](value)
        yield from () if number is None else (number,)
    elif isinstance(value, dict):
        yield from _numbers(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _numbers(item)


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


class _Times(NamedTuple):
    """All that lets time alone change a node: its predicates, its durations (None: unlimited), its window.

    ``daily``: it changes at whole days after an event. ``compared``: the same of each of its figures.
    """

    tests: Sequence[Predicate] = ()
    lengths_ms: Sequence[int | None] = ()
    window: Window | None = None
    daily: bool = False
    compared: Sequence[_Times] = ()


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


def _where(node: _Selecting) -> list[Predicate]:
    return [test for _, test in node.select.where]


def _has_been(node: model.HasBeen) -> _Times:
    length_ms, shifts = node.length_ms, _shifts(node.test)
    sums = [length for shift in shifts for length in (length_ms + shift, length_ms - shift)]
    return _Times([node.test], [length_ms, *sums])


def _sequence(node: model.SequenceNode) -> _Times:
    sequence = node.sequence
    return _Times(lengths_ms=[sequence.within_ms, *(step.within_ms for step in sequence.steps)])


def _days(test: Predicate) -> Iterable[int]:
    """Yield the integers around each number of a predicate."""
    for _, operand in test.ops:
        for number in operand if isinstance(operand, tuple) else (operand,):
            if is_number(number):
                yield from (floor(number), ceil(number), floor(number) + 1)


def _window_durations(window: Window | None) -> Iterable[int]:
    match window:
        case Within(length_ms=length):
            return (length,)
        case Between(from_ms=from_ms, to_ms=to_ms):
            return from_ms, to_ms
    return ()


def _of_figures(node: model.Compare | model.Ratio) -> _Times:
    return _Times(compared=[_FIGURES[type(figure)](figure) for figure in leaf_figures(node)])


#: Figure -> all that lets time alone change it.
_FIGURES: dict[type, Callable[[Any], _Times]] = {
    **dict.fromkeys(
        (CountFigure, AggregateFigure), lambda figure: _Times(_where(figure), window=figure.window)
    ),
    DaysFigure: lambda figure: _Times(_where(figure), daily=True),
    ScoreFigure: lambda _figure: _Times(daily=True),
    **dict.fromkeys(
        (DigitFigure, TierFigure),
        lambda figure: _Times(lengths_ms=[figure.rfm.purchases.period_ms, *figure.rfm.recency_ms]),
    ),
    **dict.fromkeys((TraitFigure, Number), lambda _figure: _Times()),
}

#: Node -> all that lets time alone change it.
_TIMES: dict[type, Callable[[Any], _Times]] = {
    model.Did: lambda node: _Times(_where(node), window=node.window),
    model.Aggregate: lambda node: _Times([*_where(node), node.test], window=node.window),
    model.Occurrence: lambda node: _Times(_where(node), [node.older_than_ms, node.newer_than_ms]),
    model.Trait: lambda node: _Times([node.test]),
    model.KnownFor: lambda node: _Times(lengths_ms=[node.length_ms]),
    **dict.fromkeys((model.Compare, model.Ratio, model.PublishedFigure), _of_figures),
    model.HasBeen: _has_been,
    model.Changed: lambda node: _Times(window=node.window),
    model.Visited: lambda node: _Times(window=node.window),
    model.Near: lambda node: _Times(lengths_ms=[node.within_ms]),
    model.Located: lambda node: _Times(lengths_ms=[node.within_ms]),
    model.SequenceNode: _sequence,
    model.RfmNode: lambda node: _Times(lengths_ms=[node.rfm.purchases.period_ms, *node.rfm.recency_ms]),
    model.ScoreNode: lambda node: _Times(lengths_ms=[days * _DAY_MS for days in _days(node.test)]),
    model.ActivePeriods: lambda node: _Times(_where(node), window=node.window),
    model.Sessions: lambda node: _Times(window=node.window),
    model.SessionFigure: lambda node: _Times([node.test], [node.gap_ms]),
    model.Regularly: lambda node: _Times(lengths_ms=[node.period_ms * n for n in range(1, node.periods + 1)]),
    model.LifecycleNode: lambda node: _Times(lengths_ms=[node.period_ms, 2 * node.period_ms]),
}


def _anniversaries(found: Iterable[_Times], history: History, now_ms: int, until_ms: int) -> Iterable[int]:
    operands = [
        Anniversary(0, o.zone) if isinstance(o, Age) else o  # ages change at anniversaries, too
        for times in found
        for test in times.tests
        for _, o in test.ops
        if isinstance(o, (Anniversary, Age))
    ]
    texts = set(_texts([(event.properties, event.traits) for event in history.events])) if operands else ()
    for operand in operands:
        for text in texts:
            at: int | None = now_ms - operand.length_ms - 1
            while at is not None and at <= until_ms + operand.length_ms:
                at = next_anniversary(text, operand.zone, at)
                if at is not None:
                    yield from (at, at - operand.length_ms)
