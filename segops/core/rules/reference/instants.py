"""The instants at which anything could change by time alone, for the slow and obvious evaluator."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, floor
from typing import Any

from segops.core.operators import Anniversary, Predicate, next_anniversary
from segops.core.rules import model
from segops.core.rules.reference.history import History
from segops.core.rules.reference.values import is_number
from segops.core.values import parse_instant
from segops.core.windows import Between, Calendar, Window, Within, period

_DAY_MS = 86_400_000


def edges(nodes: Iterable[model.Node], history: History, now_ms: int, until_ms: int) -> list[int]:
    """Return all instants in ``(now_ms, until_ms]`` at which time alone may change a verdict, and others.

    They are each time and date in the profile shifted by each duration in a rule, and the ends of calendar
    periods.
    """
    everything = [below for node in nodes for below in _walk(node)]
    found = {
        time_ms + shift
        for time_ms in _known_times(history)
        for length in (0, *_durations(everything))
        for shift in (length, -length)
    }
    for calendar in _calendars(everything):
        at = now_ms
        while at <= until_ms and len(found) < 100_000:
            at = period(calendar, at)[1]
            found.add(at)
    found.update(_anniversaries(everything, history, now_ms, until_ms))
    return sorted(at for at in found if now_ms < at <= until_ms)


def _walk(node: model.Node) -> Iterable[model.Node]:
    yield node
    for child in model.children(node):
        yield from _walk(child)


def _known_times(history: History) -> set[int]:
    texts = [text for event in history.events for text in _texts((event.properties, event.traits))]
    dates = {parse_instant(text) for text in texts} - {None}
    return {event.time_ms for event in history.events} | {date for date in dates if date is not None}


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _tests(node: model.Node) -> Iterable[Predicate]:
    match node:
        case model.Did(select=select) | model.Occurrence(select=select):
            yield from (test for _, test in select.where)
        case model.Aggregate(select=select, test=test):
            yield from (test for _, test in select.where)
            yield test
        case model.Trait(test=test) | model.HasBeen(test=test):
            yield test


def _durations(nodes: Iterable[model.Node]) -> set[int]:
    found: set[int | None] = set()
    for node in nodes:
        for test in _tests(node):
            found.update(operand for _, operand in test.ops if type(operand) is int)
        found.update(_node_durations(node))
    return {length for length in found if length is not None}


def _node_durations(node: model.Node) -> Iterable[int | None]:
    match node:
        case model.KnownFor(length_ms=length) | model.Near(within_ms=length):
            return (length,)
        case model.Occurrence(older_than_ms=older, newer_than_ms=newer):
            return older, newer
        case model.ScoreNode(test=test):
            return [days * _DAY_MS for days in _days(test)]
        case model.RfmNode(rfm=rfm):
            return rfm.purchases.period_ms, *rfm.recency_ms
        case model.SequenceNode(sequence=sequence):
            return sequence.within_ms, *(step.within_ms for step in sequence.steps)
        case model.HasBeen(length_ms=length, test=test):
            shifts = [operand for _, operand in test.ops if type(operand) is int]
            return length, *(length + shift for shift in shifts), *(length - shift for shift in shifts)
        case model.Did(window=window) | model.Aggregate(window=window):
            return _window_durations(window)
    return ()


def _days(test: Predicate) -> Iterable[int]:
    """Yield the integers around each number of a predicate."""
    for _, operand in test.ops:
        for number in operand if isinstance(operand, tuple) else (operand,):
            if is_number(number):
                yield from (floor(number), ceil(number), floor(number) + 1)


def _window_durations(window: Window) -> Iterable[int]:
    match window:
        case Within(length_ms=length):
            return (length,)
        case Between(from_ms=from_ms, to_ms=to_ms):
            return from_ms, to_ms
    return ()


def _calendars(nodes: Iterable[model.Node]) -> set[Calendar]:
    windows = {node.window for node in nodes if isinstance(node, (model.Did, model.Aggregate))}
    return {window for window in windows if isinstance(window, Calendar)}


def _anniversaries(
    nodes: Iterable[model.Node], history: History, now_ms: int, until_ms: int
) -> Iterable[int]:
    operands = [
        o for node in nodes for test in _tests(node) for _, o in test.ops if isinstance(o, Anniversary)
    ]
    texts = set(_texts([(event.properties, event.traits) for event in history.events])) if operands else ()
    for operand in operands:
        for text in texts:
            at: int | None = now_ms - operand.length_ms - 1
            while at is not None and at <= until_ms + operand.length_ms:
                at = next_anniversary(text, operand.zone, at)
                if at is not None:
                    yield from (at, at - operand.length_ms)
