"""Scores of figures: logistic and linear models, sums of trees, and ``intent``.

A score is a pure function of the numbers of its inputs. It also has bounds of its value where each number is
known to be between two others, computed by the same additions: rounding is monotone, so no value is outside.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from math import cos, exp, log1p, pi, sin
from typing import Any, Final, Protocol

import msgspec

from segops.core.scoring.models import (
    Input,
    Isotonic,
    Platt,
    Tree,
    TreesParameters,
    WeightedParameters,
)
from segops.core.scoring.order_scores import DECIMALS
from segops.core.values import kind

#: Numbers beyond it count as it: sums of products stay finite.
_GREATEST: Final = 1e100
#: Log-odds beyond it are certain.
_CERTAIN: Final = 700.0
#: The terms of whole numbers that are kept of an input.
_KEPT: Final = 1_024
#: Days of a figure beyond it count as it: no score of days moves for good.
MAX_DAYS: Final = 3_650
#: The days of which ``intent`` knows the usual score; each counts half as much as the one after it.
BASE_DAYS: Final = 7


class FigureScorer(Protocol):
    """A score of the numbers of ``inputs``, in their order: each times its factor is a term.

    ``finished`` makes the score of a total. It rises or falls with it, or stays.
    """

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The inputs."""

    @property
    def factors(self) -> tuple[float, ...]:
        """The factors of the inputs."""

    def of(self, numbers: Sequence[float]) -> float:
        """Return the score."""

    def total(self, terms: Sequence[float]) -> float:
        """Return the total of terms."""

    def totals(self, ones: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
        """Return bounds of the totals of all terms between one and the other."""

    def finished(self, total: float) -> float:
        """Return the score of a total."""


def term_of(each: Input, factor: float) -> Callable[[Any], float]:
    """Return the function from the value of an input's figure to its term; whole numbers are computed once.

    >>> term_of(Input("views", None, "log1p", mean=1.0, scale=2.0), 3.0)(0)
    -1.5
    """
    known: dict[int | None, float] = {}

    def term(value: Any) -> float:
        if value.__class__ is not int and value is not None:
            return factor * input_number(each, value)
        found = known.get(value)
        if found is None:
            found = factor * input_number(each, value)
            if len(known) < _KEPT:
                known[value] = found
        return found

    return term


def input_number(each: Input, value: Any) -> float:
    """Return the number of an input whose figure has this value; None: the figure is missing.

    >>> input_number(Input("views", None, "log1p", mean=1.0, scale=2.0), 0)
    -0.5
    >>> input_number(Input("age", None, missing=40.0), "x")
    40.0
    """
    if each.transform == "present":
        number = float(value is not None)
    else:
        found = _number(value)
        number = each.missing if found is None else _transformed(each, found)
    return (number - each.mean) / each.scale


def _transformed(each: Input, number: float) -> float:
    if each.transform in WAVES:
        wave, turns = WAVES[each.transform]
        return wave(2 * pi * turns * number / each.figure.circle)
    return _TRANSFORMED[each.transform](number)


def _number(value: Any) -> float | None:
    if value.__class__ is bool:
        return float(value)
    if kind(value) != "number" and not hasattr(value, "numerator"):
        return None
    return float(min(max(value, -_GREATEST), _GREATEST))


def _logarithm(number: float) -> float:
    return log1p(max(number, 0.0))


_TRANSFORMED: Final[dict[str, Callable[[float], float]]] = {
    "none": float,
    "log1p": _logarithm,
    "days_log1p": _logarithm,
}

#: Transform of a figure whose values go round a circle -> its wave, and how often that turns on the way.
WAVES: Final[dict[str, tuple[Callable[[float], float], int]]] = {
    "sine": (sin, 1),
    "cosine": (cos, 1),
    "sine_2": (sin, 2),
    "cosine_2": (cos, 2),
}


class WeightedScore(msgspec.Struct, frozen=True, tag="weighted"):
    """The score of a ``linear`` or ``logistic`` model."""

    parameters: WeightedParameters

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The inputs."""
        return self.parameters.inputs

    def of(self, numbers: Sequence[float]) -> float:
        """Return the score: for a logistic model, the calibrated probability.

        >>> score = WeightedScore(WeightedParameters((Input("a", None),), (2.0,), -1.0, Platt()))
        >>> score.of([0.5]), score.of([1e9])
        (0.5, 1.0)
        """
        return self.finished(self.total(self.contributions(numbers)))

    @property
    def factors(self) -> tuple[float, ...]:
        """The weights."""
        return self.parameters.weights

    def total(self, terms: Sequence[float]) -> float:
        """Return the sum."""
        total = self.parameters.intercept
        for term in terms:
            total += term
        return total

    def totals(self, ones: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
        """Return the least and the greatest sum."""
        return self.total(list(map(min, ones, others))), self.total(list(map(max, ones, others)))

    def contributions(self, numbers: Sequence[float]) -> list[float]:
        """Return what each input adds to the score; of a logistic model, to its log-odds."""
        return [weight * number for weight, number in zip(self.parameters.weights, numbers, strict=True)]

    def finished(self, total: float) -> float:
        """Return the sum, or the calibrated probability of these log-odds."""
        calibration = self.parameters.calibration
        return round(total if calibration is None else calibrated(calibration, total), DECIMALS)


def probability(log_odds: float) -> float:
    """Return the probability of log-odds.

    >>> probability(0.0), probability(-1e9), probability(1e9)
    (0.5, 0.0, 1.0)
    """
    if log_odds < -_CERTAIN:
        return 0.0
    return 1 / (1 + exp(-log_odds))


def calibrated(calibration: Platt | Isotonic, log_odds: float) -> float:
    """Return the calibrated probability of a model's log-odds.

    >>> calibrated(Isotonic(((0.25, 0.1), (0.75, 0.3))), 0.0), calibrated(Isotonic(((0.75, 0.3),)), 0.0)
    (0.2, 0.3)
    """
    if isinstance(calibration, Platt):
        return probability(calibration.a * log_odds + calibration.b)
    raw, points = probability(log_odds), calibration.points
    at = bisect_left(points, raw, key=_x_of)
    if at == 0 or at == len(points):
        return points[min(at, len(points) - 1)][1]
    (left, low), (right, high) = points[at - 1], points[at]
    return min(low + (high - low) * ((raw - left) / (right - left)), high)


def _x_of(point: tuple[float, float]) -> float:
    return point[0]


class TreesScore(msgspec.Struct, frozen=True, tag="trees"):
    """The score of a sum of trees."""

    parameters: TreesParameters

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The inputs."""
        return self.parameters.inputs

    def of(self, numbers: Sequence[float]) -> float:
        """Return the score.

        >>> tree = Tree((0, -1, -1), (5.0, 0.0, 0.0), (1, 0, 0), (2, 0, 0), (0.0, 1.0, 7.0))
        >>> score = TreesScore(TreesParameters((Input("a", None),), (tree, tree), 0.5))
        >>> score.of([5.0]), score.of([6.0]), score.totals([6.0], [4.0])
        (2.5, 14.5, (2.5, 14.5))
        """
        return self.finished(self.total(numbers))

    @property
    def factors(self) -> tuple[float, ...]:
        """1 for each input: trees read numbers as they are."""
        return (1.0,) * len(self.inputs)

    def total(self, terms: Sequence[float]) -> float:
        """Return the sum of the leaves that numbers reach."""
        total = self.parameters.intercept
        for tree in self.parameters.trees:
            at = 0
            while (feature := tree.tested[at]) >= 0:
                at = tree.left[at] if terms[feature] <= tree.threshold[at] else tree.right[at]
            total += tree.leaves[at]
        return total

    def totals(self, ones: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
        """Return bounds of the sum."""
        lows, highs = list(map(min, ones, others)), list(map(max, ones, others))
        low = high = self.parameters.intercept
        for tree in self.parameters.trees:
            reached = _reached(tree, lows, highs)
            low += min(reached)
            high += max(reached)
        return low, high

    def contributions(self, numbers: Sequence[float]) -> list[float]:
        """Return how much each input moves the sum: each step of a path, by the mean of the leaves below."""
        found = [0.0] * len(self.inputs)
        for tree in self.parameters.trees:
            means, at = _means(tree), 0
            while (feature := tree.tested[at]) >= 0:
                before = means[at]
                at = tree.left[at] if numbers[feature] <= tree.threshold[at] else tree.right[at]
                found[feature] += means[at] - before
        return found

    def finished(self, total: float) -> float:
        """Return the sum, or the probability of these log-odds."""
        return round(probability(total) if self.parameters.logistic else total, DECIMALS)


def _reached(tree: Tree, lows: Sequence[float], highs: Sequence[float]) -> list[float]:
    """Return the values of the leaves that numbers from ``lows`` to ``highs`` reach."""
    found, waiting = [], [0]
    while waiting:
        at = waiting.pop()
        feature = tree.tested[at]
        if feature < 0:
            found.append(tree.leaves[at])
            continue
        if lows[feature] <= tree.threshold[at]:
            waiting.append(tree.left[at])
        if highs[feature] > tree.threshold[at]:
            waiting.append(tree.right[at])
    return found


def _means(tree: Tree) -> list[float]:
    """Return the mean of the leaves below each node."""
    sums, counts = list(tree.leaves), [1] * len(tree.leaves)
    for at in range(len(tree.tested) - 1, -1, -1):
        if tree.tested[at] >= 0:
            children = (tree.left[at], tree.right[at])
            counts[at] = sum(counts[child] for child in children)
            sums[at] = sum(sums[child] for child in children)
    return [total / count for total, count in zip(sums, counts, strict=True)]


class IntentScore(msgspec.Struct, frozen=True, tag="intent"):
    """How many times as likely a conversion is as usual for the customer.

    ``now`` are the inputs of the logistic model, ``usual`` the same as of 1 to BASE_DAYS days ago, one after
    the other. The usual probability is their mean, in which each day counts half as much as the next one.
    """

    now: WeightedScore
    usual: tuple[Input, ...]

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The inputs."""
        return (*self.now.inputs, *self.usual)

    def of(self, numbers: Sequence[float]) -> float:
        """Return the score; 0 where the usual probability is 0."""
        return self.total([factor * number for factor, number in zip(self.factors, numbers, strict=True)])

    @property
    def factors(self) -> tuple[float, ...]:
        """The weights, for now and for each of the days."""
        return self.now.factors * (BASE_DAYS + 1)

    def total(self, terms: Sequence[float]) -> float:
        """Return the score: it is the total as it is."""
        now, *before = [self.now.finished(self.now.total(each)) for each in self._days(terms)]
        return self._ratio(now, _decayed(before))

    def totals(self, ones: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
        """Return bounds of the score."""
        found = [
            sorted(map(self.now.finished, self.now.totals(one, other)))
            for one, other in zip(self._days(ones), self._days(others), strict=True)
        ]
        least, most = ([each[side] for each in found] for side in (0, 1))
        usual_low, usual_high = _decayed(least[1:]), _decayed(most[1:])
        return (self._ratio(least[0], usual_high) if usual_low else 0.0), (
            self._ratio(most[0], usual_low) if usual_low else _GREATEST
        )

    def finished(self, total: float) -> float:
        """Return the score, which is the total."""
        return total

    def both(self, numbers: Sequence[float]) -> tuple[float, float]:
        """Return the probability now, and the usual one."""
        now, *before = map(self.now.of, self._days(numbers))
        return now, _decayed(before)

    def _days(self, numbers: Sequence[float]) -> list[Sequence[float]]:
        size = len(self.now.inputs)
        return [numbers[at : at + size] for at in range(0, len(numbers), size)]

    def _ratio(self, now: float, usual: float) -> float:
        return round(now / usual, DECIMALS) if usual else 0.0


def _decayed(values: Sequence[float]) -> float:
    """Return the mean of values, the first one of yesterday; each counts half as much as the one before it.

    >>> _decayed([0.4, 0.1])
    0.3
    """
    total = weights = 0.0
    weight = 1.0
    for value in values:
        total += weight * value
        weights += weight
        weight /= 2
    return total / weights


Scorers = WeightedScore | TreesScore | IntentScore
