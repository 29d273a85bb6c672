"""Own scores in compiled rules: what they read, and when time alone changes the verdict on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from segops.core.features.bands import Series
from segops.core.profile import Profile
from segops.core.rules.execution.leaf import FIRST, LATEST, Leaf, itself
from segops.core.rules.execution.readings import Moving, Reading
from segops.core.rules.execution.verdicts import Verdicts, aging, evaluated
from segops.core.rules.model import ScoreNode
from segops.core.scoring.order_scores import numbers_in, rank_among
from segops.core.scoring.own import OwnScore, Read, evaluation


class OwnModel:
    """An own score with the readings of its inputs; one that this process cannot compute is missing."""

    def __init__(self, formula: OwnScore, readings: Sequence[Reading]) -> None:
        self._evaluation = evaluation(formula)
        self._readings = readings

    def read(self, profile: Profile, now_ms: int) -> Read:
        """Return what the score is computed from."""
        if profile.first_ms is None:
            return None
        return tuple([each.read(profile, now_ms) for each in self._readings]), profile.latest_ms

    def series(self, profile: Profile, now_ms: int, together: Callable[[Sequence[Series]], Series]) -> Series:
        """Yield what the score is computed from, at ``now_ms`` and whenever it changes."""
        if profile.first_ms is None:
            yield now_ms, None
            return
        for at, values in together([each.series(profile, now_ms) for each in self._readings]):
            yield at, (values, profile.latest_ms)

    def value(self, read: Read, now_ms: int) -> float | None:
        """Return the score at ``now_ms``."""
        return None if self._evaluation is None else self._evaluation.value(read, now_ms)

    def next_crossing(
        self, read: Read, numbers: Sequence[Any], now_ms: int, view: Callable[[Any], Any]
    ) -> int | None:
        """Return when the ``view`` of the score next reaches, passes or leaves one of the sorted numbers."""
        if self._evaluation is None:
            return None
        return self._evaluation.next_crossing(read, lambda found: rank_among(numbers, view(found)), now_ms)


def own_reading(
    formula: OwnScore, readings: Sequence[Reading], together: Callable[[Sequence[Series]], Series]
) -> Reading:
    """Return how to read an own score."""
    model = OwnModel(formula, readings)
    return Reading(
        model.read,
        lambda profile, now_ms: model.series(profile, now_ms, together),
        features=tuple(feature for each in readings for feature in each.features),
        traits=tuple(trait for each in readings for trait in each.traits),
        reads=tuple(dict.fromkeys((FIRST, LATEST, *(part for each in readings for part in each.reads)))),
        moving=model,
    )


def own_leaf(node: ScoreNode, reading: Reading, model: Moving) -> Leaf:
    """Compile predicates of an own score; ``model`` is that of its reading."""
    test, numbers = node.test, numbers_in([node.test])

    def of_read(read: Read, now_ms: int) -> bool:
        return test.holds(model.value(read, now_ms), 0)

    def crossing(read: Read, now_ms: int) -> int | None:
        return model.next_crossing(read, numbers, now_ms, itself)

    def changes(profile: Profile, now_ms: int) -> Verdicts:
        return evaluated(aging(reading.series(profile, now_ms), crossing), of_read)

    return Leaf(
        lambda profile, now_ms: of_read(reading.read(profile, now_ms), now_ms),
        figures=reading.features,
        traits=reading.traits,
        reads=reading.reads,
        changes=changes,
    )
