"""Scores of models in compiled rules: their value, and when time alone changes the verdict on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from segops.core.features import reducer_of
from segops.core.features.bands import Series
from segops.core.profile import Profile
from segops.core.rules.execution.leaf import Leaf
from segops.core.rules.execution.leaf import reading as leaf_reading
from segops.core.rules.execution.leaves import score as score_of_scorer
from segops.core.rules.execution.readings import DAY_MS, Reading, exact_number
from segops.core.rules.execution.verdicts import aging, evaluated
from segops.core.rules.figures import Figure, ScoreFigure
from segops.core.rules.model import ScoreNode
from segops.core.scoring import SCORERS
from segops.core.scoring.figure_scores import MAX_DAYS, Scorers, input_number
from segops.core.scoring.order_scores import OrderScore, numbers_in, rank_among

ReadingOf = Callable[[Figure], Reading]


def score(node: ScoreNode, reading_of: ReadingOf) -> Leaf:
    """Compile predicates of a score."""
    scorer = None if node.model is None else node.model.formula
    if node.name in SCORERS or node.model is None or scorer is None:
        return score_of_scorer(node)
    if isinstance(scorer, OrderScore):
        return _of_orders(node, scorer)
    reading, test = _of_figures(scorer, reading_of), node.test
    numbers, moving = numbers_in([test]), reading.moving

    def verdict(read: Any, now_ms: int) -> bool:
        return test.holds(read if moving is None else moving.value(read, now_ms), now_ms)

    def changes(profile: Profile, now_ms: int) -> Iterator[tuple[int, bool]]:
        series = reading.series(profile, now_ms)
        if moving is not None:
            series = aging(series, lambda read, at: moving.next_crossing(read, numbers, at, _itself))
        return evaluated(series, verdict)

    return Leaf(
        lambda profile, now_ms: verdict(reading.read(profile, now_ms), now_ms),
        figures=reading.features,
        traits=reading.traits,
        reads=reading.reads,
        changes=changes,
    )


def _itself(value: Any) -> Any:
    return value


def _of_orders(node: ScoreNode, scorer: OrderScore) -> Leaf:
    test, tests = node.test, node.predicates

    def holds(read: Any, now_ms: int) -> bool:
        return test.holds(scorer.value(read, now_ms), now_ms)

    return leaf_reading(scorer.feature, holds, moves=lambda read, at: scorer.next_edge(read, tests, at))


def score_reading(figure: ScoreFigure, reading_of: ReadingOf) -> Reading:
    """Return how to read a score of a model; without one, it is missing."""
    scorer = None if figure.model is None else figure.model.formula
    if scorer is None:
        return Reading(lambda _profile, _now_ms: None, lambda _profile, now_ms: iter([(now_ms, None)]))
    if not isinstance(scorer, OrderScore):
        found = _of_figures(scorer, reading_of)
        return found if found.moving is not None else _exact(found)
    return _reading_of_orders(scorer)


def _reading_of_orders(scorer: OrderScore) -> Reading:
    feature = scorer.feature
    reducer, key = reducer_of(feature), feature.id

    def read(profile: Profile, now_ms: int) -> Any:
        found = reducer.read(profile.features.get(key), now_ms)
        return found if scorer.moves else exact_number(scorer.value(found, now_ms))

    def series(profile: Profile, now_ms: int) -> Series:
        yield now_ms, read(profile, now_ms)

    return Reading(read, series, features=(feature,), moving=scorer if scorer.moves else None)


def _exact(reading: Reading) -> Reading:
    def series(profile: Profile, now_ms: int) -> Series:
        return ((at, exact_number(value)) for at, value in reading.series(profile, now_ms))

    return msgspec.structs.replace(
        reading, read=lambda profile, now_ms: exact_number(reading.read(profile, now_ms)), series=series
    )


def _of_figures(scorer: Scorers, reading_of: ReadingOf) -> Reading:
    """Return how to read a score of figures: its value, or if a figure is in days, what they are read as."""
    inputs = scorer.inputs
    readings = [reading_of(each.figure) for each in inputs]
    moving = _Rising(scorer, readings) if any(each.ages for each in readings) else None

    def seen(values: tuple[Any, ...]) -> Any:
        if moving is not None:
            return values
        return scorer.of([input_number(*each) for each in zip(inputs, values, strict=True)])

    def read(profile: Profile, now_ms: int) -> Any:
        return seen(tuple([each.read(profile, now_ms) for each in readings]))

    def series(profile: Profile, now_ms: int) -> Series:
        found = all_together([each.series(profile, now_ms) for each in readings])
        return ((at, seen(values)) for at, values in found)

    return Reading(
        read,
        series,
        features=tuple(feature for each in readings for feature in each.features),
        traits=tuple(trait for each in readings for trait in each.traits),
        reads=tuple(part for each in readings for part in each.reads),
        moving=moving,
    )


def all_together(series: Sequence[Series]) -> Series:
    """Yield the values of series that begin at one instant, together at each instant at which one changes.

    >>> list(all_together([iter([(0, "a"), (5, "b")]), iter([(0, 1), (5, 2), (7, 3)])]))
    [(0, ('a', 1)), (5, ('b', 2)), (7, ('b', 3))]
    """
    begun = [next(each) for each in series]
    values = [value for _, value in begun]
    yield begun[0][0], tuple(values)
    coming = [next(each, None) for each in series]
    while (at := min((each[0] for each in coming if each is not None), default=None)) is not None:
        for number, each in enumerate(coming):
            if each is not None and each[0] == at:
                values[number] = each[1]
                coming[number] = next(series[number], None)
        yield at, tuple(values)


class _Rising:
    """A score of figures of which some are in days: it changes at whole days after their instants."""

    def __init__(self, scorer: Scorers, readings: Sequence[Reading]) -> None:
        self._scorer = scorer
        self._inputs = scorer.inputs
        self._ages = [number for number, each in enumerate(readings) if each.ages]

    def value(self, read: Sequence[Any], now_ms: int) -> float:
        return self._scorer.of(self._numbers(read, now_ms))

    def _numbers(self, read: Sequence[Any], now_ms: int) -> list[float]:
        values = list(read)
        for number in self._ages:
            values[number] = _days(values[number], now_ms)
        return [input_number(*each) for each in zip(self._inputs, values, strict=True)]

    def next_crossing(
        self, read: Sequence[Any], numbers: Sequence[Any], now_ms: int, view: Callable[[Any], Any]
    ) -> int | None:
        """Return the first whole day of a figure at which the score is elsewhere among the numbers, or None.

        Days in which the bounds of the score are where it is now are passed over together.
        """
        since = [read[number] for number in self._ages if read[number] is not None]
        end = max(since, default=now_ms) + MAX_DAYS * DAY_MS
        place = rank_among(numbers, view(self.value(read, now_ms)))
        waiting = [(now_ms, end)] if end > now_ms else []
        while waiting:
            after, upto = waiting.pop()
            if self._stays(read, numbers, (after, upto), (place, view)):
                continue
            if upto - after > DAY_MS:
                middle = (after + upto) // 2
                waiting += [(middle, upto), (after, middle)]
                continue
            for at in _whole_days(since, after, upto):
                if rank_among(numbers, view(self.value(read, at))) != place:
                    return at
        return None

    def _stays(
        self,
        read: Sequence[Any],
        numbers: Sequence[Any],
        span: tuple[int, int],
        known: tuple[int, Callable[[Any], Any]],
    ) -> bool:
        place, view = known
        one, other = (self._numbers(read, at) for at in span)
        lows, highs = list(map(min, one, other)), list(map(max, one, other))
        return all(rank_among(numbers, view(each)) == place for each in self._scorer.bounds(lows, highs))


def _days(since_ms: int | None, now_ms: int) -> int | None:
    return None if since_ms is None else min((now_ms - since_ms) // DAY_MS, MAX_DAYS)


def _whole_days(since: Sequence[int], after_ms: int, upto_ms: int) -> list[int]:
    """Return the instants in ``(after_ms, upto_ms]`` that are whole days after one of ``since``, sorted."""
    found = set()
    for since_ms in since:
        at = after_ms + DAY_MS - (after_ms - since_ms) % DAY_MS
        while at <= upto_ms:
            found.add(at)
            at += DAY_MS
    return sorted(found)
