"""Logistic regression: learnt row by row as outcomes become known, and fitted to all rows at once.

Rows are lists of numbers, one per feature. Both standardise them, by the means and scales known at the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, sqrt
from operator import mul
from typing import Final

import msgspec

#: How much large weights cost: as if a row more spoke for no effect of each feature.
RIDGE: Final = 1.0
_RATE: Final = 0.15
_STEPS: Final = 30
#: A change of a weight that ends the search.
_PRECISION: Final = 1e-7
_TINY: Final = 1e-9
_LARGEST: Final = 35.0

Vector = Sequence[float]


class Standard(msgspec.Struct, frozen=True):
    """The mean and the scale (standard deviation; 1 of a constant) of each feature."""

    means: list[float]
    scales: list[float]

    def of(self, vector: Vector) -> list[float]:
        """Return a row in these terms."""
        return [(x - mean) / scale for x, mean, scale in zip(vector, self.means, self.scales, strict=True)]


class Weights(msgspec.Struct, frozen=True):
    """A regression on standardised features."""

    intercept: float
    weights: list[float]
    standard: Standard

    def log_odds(self, vector: Vector) -> float:
        """Return the log-odds of a row."""
        total: float = sum(map(mul, self.weights, self.standard.of(vector)))
        return self.intercept + total

    def predicted(self, vector: Vector) -> float:
        """Return the probability of a row."""
        return sigmoid(self.log_odds(vector))


def sigmoid(log_odds: float) -> float:
    """Return the probability of log-odds, also of those far from 0.

    >>> sigmoid(0.0), sigmoid(-1_000.0) > 0
    (0.5, True)
    """
    bounded = min(max(log_odds, -_LARGEST), _LARGEST)
    return 1 / (1 + exp(-bounded))


def standard_of(columns: Sequence[Vector]) -> Standard:
    """Return the means and scales of features, given as columns.

    >>> standard_of([[1.0, 3.0], [5.0, 5.0]])
    Standard(means=[2.0, 5.0], scales=[1.0, 1.0])
    """
    means = [sum(column) / len(column) for column in columns]
    spread = (
        sqrt(sum((x - mean) ** 2 for x in column) / len(column))
        for column, mean in zip(columns, means, strict=True)
    )
    return Standard(means, [scale if scale > _TINY else 1.0 for scale in spread])


class OnlineLogistic:
    """A regression that learns one row at a time (AdaGrad: J. Duchi, E. Hazan, Y. Singer, JMLR 12, 2011).

    Means and scales are those of the rows learnt so far.
    """

    def __init__(self, features: int) -> None:
        self._rows = 0
        self._means = [0.0] * features
        self._squares = [0.0] * features
        self._weights = [0.0] * (features + 1)
        self._steps = [_TINY] * (features + 1)

    def predicted(self, vector: Vector) -> float:
        """Return the probability of a row, by what was learnt so far."""
        return sigmoid(sum(map(mul, self._weights, self._standardised(vector))))

    def learn(self, vector: Vector, observed: bool) -> None:
        """Learn what followed a row."""
        self._note(vector)
        row = self._standardised(vector)
        error = sigmoid(sum(map(mul, self._weights, row))) - observed
        for index, x in enumerate(row):
            if x:
                slope = error * x
                self._steps[index] += slope * slope
                self._weights[index] -= _RATE * slope / sqrt(self._steps[index])

    def _note(self, vector: Vector) -> None:
        self._rows += 1
        for index, x in enumerate(vector):
            away = x - self._means[index]
            self._means[index] += away / self._rows
            self._squares[index] += away * (x - self._means[index])

    def _standardised(self, vector: Vector) -> list[float]:
        """Return 1 for the intercept, then the features; one that was constant so far is 0."""
        rows = self._rows or 1
        return [
            1.0,
            *(
                (x - mean) / sqrt(square / rows) if square > _TINY else 0.0
                for x, mean, square in zip(vector, self._means, self._squares, strict=True)
            ),
        ]


def fitted(vectors: Sequence[Vector], observed: Sequence[bool], ridge: float = RIDGE) -> Weights:
    """Return the weights of the greatest likelihood less ``ridge`` / 2 times their squares (by Newton).

    The intercept costs nothing, so the mean prediction is the share of the rows that were followed.

    >>> found = fitted([[0.0], [0.0], [1.0], [1.0]], [False, True, True, True])
    >>> round(sum(found.predicted([x]) for x in (0.0, 0.0, 1.0, 1.0)) / 4, 6)
    0.75
    """
    columns = [list(column) for column in zip(*vectors, strict=True)]
    standard = standard_of(columns)
    rows = [
        [1.0] * len(vectors),
        *(
            [(x - mean) / scale for x in column]
            for column, mean, scale in zip(columns, standard.means, standard.scales, strict=True)
        ),
    ]
    weights = [0.0] * len(rows)
    for _ in range(_STEPS):
        step = _newton(rows, observed, weights, ridge)
        weights = [weight + change for weight, change in zip(weights, step, strict=True)]
        if max(map(abs, step)) < _PRECISION:
            break
    return Weights(weights[0], weights[1:], standard)


def _newton(
    columns: Sequence[Vector], observed: Sequence[bool], weights: Vector, ridge: float
) -> list[float]:
    """Return the next change of the weights, none larger than 2."""
    odds = [0.0] * len(observed)
    for weight, column in zip(weights, columns, strict=True):
        if weight:
            odds = [total + weight * x for total, x in zip(odds, column, strict=True)]
    predicted = [sigmoid(each) for each in odds]
    errors = [y - p for p, y in zip(predicted, observed, strict=True)]
    certain = [p * (1 - p) for p in predicted]
    slopes = [sum(map(mul, column, errors)) for column in columns]
    curvature = []
    for number, column in enumerate(columns):
        weighted = list(map(mul, column, certain))
        curvature.append([sum(map(mul, weighted, other)) for other in columns[: number + 1]])
    for number in range(1, len(columns)):
        slopes[number] -= ridge * weights[number]
        curvature[number][number] += ridge
    curvature[0][0] += _TINY
    step = solved(curvature, slopes)
    longest = max(map(abs, step))
    return step if longest <= 2 else [change * 2 / longest for change in step]


def solved(lower: Sequence[Vector], right: Vector) -> list[float]:
    """Solve a positive definite system by Cholesky; ``lower``: row i has the elements 0 to i.

    >>> solved([[4.0], [2.0, 2.0]], [8.0, 6.0])
    [1.0, 2.0]
    """
    root: list[list[float]] = []
    for i, row in enumerate(lower):
        of_row: list[float] = []
        for j, above in enumerate([*root, of_row]):
            rest = row[j] - sum(map(mul, of_row, above[:j]))
            of_row.append(rest / above[j] if j < i else sqrt(max(rest, _TINY)))
        root.append(of_row)
    forward: list[float] = []
    for i, of_row in enumerate(root):
        forward.append((right[i] - sum(map(mul, of_row, forward))) / of_row[i])
    found = [0.0] * len(root)
    for i in reversed(range(len(root))):
        rest = forward[i] - sum(root[k][i] * found[k] for k in range(i + 1, len(root)))
        found[i] = rest / root[i][i]
    return found
