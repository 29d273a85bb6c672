"""Scores of models in compiled rules: their value, and when time alone changes the verdict on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from segops.core.features import reducer_of
from segops.core.features.bands import Series
from segops.core.profile import Profile
from segops.core.rules.execution.figure_models import FigureModel, Ranks
from segops.core.rules.execution.leaf import Leaf
from segops.core.rules.execution.leaf import reading as leaf_reading
from segops.core.rules.execution.leaves import score as score_of_scorer
from segops.core.rules.execution.own_scores import own_leaf, own_reading
from segops.core.rules.execution.readings import Reading, exact_number
from segops.core.rules.execution.verdicts import evaluated
from segops.core.rules.figures import Figure, ScoreFigure
from segops.core.rules.model import ScoreNode
from segops.core.scoring import SCORERS
from segops.core.scoring.affinity import AffinityScore
from segops.core.scoring.figure_scores import Scorers
from segops.core.scoring.order_scores import OrderScore, numbers_in, rank_among
from segops.core.scoring.own import OwnScore

ReadingOf = Callable[[Figure], Reading]


def score(node: ScoreNode, reading_of: ReadingOf) -> Leaf:
    """Compile predicates of a score."""
    scorer = None if node.model is None else node.model.formula
    if node.name in SCORERS or node.model is None or scorer is None:
        return score_of_scorer(node)
    if isinstance(scorer, OrderScore):
        return _of_orders(node, scorer)
    if isinstance(scorer, AffinityScore):
        return _of_affinity(node, scorer)
    if isinstance(scorer, OwnScore):
        reading = _reading_of_own(scorer, reading_of)
        return score_of_scorer(node) if reading.moving is None else own_leaf(node, reading, reading.moving)
    return _of_model(node, scorer, reading_of)


def _of_model(node: ScoreNode, scorer: Scorers, reading_of: ReadingOf) -> Leaf:
    """Compile a score of figures: the rank of the score among the numbers of the test decides the verdict."""
    readings, test = [reading_of(each.figure) for each in scorer.inputs], node.test
    model, numbers = FigureModel(scorer, readings), numbers_in([test])
    reading = _of_figures(model, readings)
    ranks = Ranks(scorer, lambda score: (rank_among(numbers, score), test.holds(score, 0)))

    def holds(profile: Profile, now_ms: int) -> bool:
        values = [each.read(profile, now_ms) for each in readings]
        return bool(ranks.of(model.total(values, now_ms))[1])

    def changes(profile: Profile, now_ms: int) -> Iterator[tuple[int, bool]]:
        return evaluated(model.ranks(profile, now_ms, ranks), lambda rank, _now_ms: bool(rank[1]))

    return Leaf(
        holds,
        figures=reading.features,
        traits=reading.traits,
        reads=reading.reads,
        changes=changes,
    )


def _of_orders(node: ScoreNode, scorer: OrderScore) -> Leaf:
    test, tests = node.test, node.predicates

    def holds(read: Any, now_ms: int) -> bool:
        return test.holds(scorer.value(read, now_ms), now_ms)

    return leaf_reading(scorer.feature, holds, moves=lambda read, at: scorer.next_edge(read, tests, at))


def _of_affinity(node: ScoreNode, scorer: AffinityScore) -> Leaf:
    """Compile a test of an affinity, which is computed from all events that its feature keeps."""
    feature, test, tests = scorer.feature, node.test, node.predicates
    key = feature.id

    def holds(profile: Profile, now_ms: int) -> bool:
        return test.holds(scorer.value(scorer.read(profile.features.get(key)), now_ms), now_ms)

    def edge(profile: Profile, now_ms: int) -> int | None:
        return scorer.next_edge(scorer.read(profile.features.get(key)), tests, now_ms)

    return Leaf(holds, edge, feature)


def score_reading(figure: ScoreFigure, reading_of: ReadingOf) -> Reading:
    """Return how to read a score of a model; without one, it is missing."""
    scorer = None if figure.model is None else figure.model.formula
    if scorer is None:
        return Reading(lambda _profile, _now_ms: None, lambda _profile, now_ms: iter([(now_ms, None)]))
    if isinstance(scorer, AffinityScore):
        return _reading_of_affinity(scorer)
    if isinstance(scorer, OwnScore):
        return _reading_of_own(scorer, reading_of)
    if not isinstance(scorer, OrderScore):
        readings = [reading_of(each.figure) for each in scorer.inputs]
        found = _of_figures(FigureModel(scorer, readings), readings)
        return found if found.moving is not None else _exact(found)
    return _reading_of_orders(scorer)


def _reading_of_own(scorer: OwnScore, reading_of: ReadingOf) -> Reading:
    return own_reading(scorer, [reading_of(each.figure) for each in scorer.inputs], all_together)


def _reading_of_orders(scorer: OrderScore) -> Reading:
    feature = scorer.feature
    reducer, key = reducer_of(feature), feature.id

    def read(profile: Profile, now_ms: int) -> Any:
        found = reducer.read(profile.features.get(key), now_ms)
        return found if scorer.moves else exact_number(scorer.value(found, now_ms))

    def series(profile: Profile, now_ms: int) -> Series:
        yield now_ms, read(profile, now_ms)

    return Reading(read, series, features=(feature,), moving=scorer if scorer.moves else None)


def _reading_of_affinity(scorer: AffinityScore) -> Reading:
    feature = scorer.feature
    key = feature.id

    def read(profile: Profile, now_ms: int) -> Any:
        found = scorer.read(profile.features.get(key))
        return found if scorer.moves else scorer.value(found, now_ms)

    def series(profile: Profile, now_ms: int) -> Series:
        yield now_ms, read(profile, now_ms)

    return Reading(read, series, features=(feature,), moving=scorer if scorer.moves else None)


def _exact(reading: Reading) -> Reading:
    def series(profile: Profile, now_ms: int) -> Series:
        return ((at, exact_number(value)) for at, value in reading.series(profile, now_ms))

    return msgspec.structs.replace(
        reading, read=lambda profile, now_ms: exact_number(reading.read(profile, now_ms)), series=series
    )


def _of_figures(model: FigureModel, readings: Sequence[Reading]) -> Reading:
    """Return how to read a score of figures: its value, or if a figure is in days, what they are read as."""

    def seen(values: tuple[Any, ...], now_ms: int) -> Any:
        return values if model.ages else model.value(values, now_ms)

    def read(profile: Profile, now_ms: int) -> Any:
        return seen(tuple([each.read(profile, now_ms) for each in readings]), now_ms)

    def series(profile: Profile, now_ms: int) -> Series:
        found = all_together([each.series(profile, now_ms) for each in readings])
        return ((at, seen(values, at)) for at, values in found)

    return Reading(
        read,
        series,
        features=tuple(feature for each in readings for feature in each.features),
        traits=tuple(trait for each in readings for trait in each.traits),
        reads=tuple(part for each in readings for part in each.reads),
        moving=model if model.ages else None,
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
