"""Calibration: from the probabilities of a regression to those that were observed."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import log
from typing import Any, Final

import msgspec

from segops.core.training.logistic import fitted, sigmoid

#: An isotonic calibration needs so many rows that were followed, and as many that were not.
ISOTONIC_FROM: Final = 500
#: The points of an isotonic calibration are at most so many.
POINTS: Final = 20
_EDGE: Final = 1e-12
#: The slope of a sigmoid that says the base rate of all rows; that of a model file is above 0.
_FLAT: Final = 1e-9


class Platt(msgspec.Struct, frozen=True):
    """A sigmoid of the log-odds: a × log-odds + b (J. Platt, 1999)."""

    a: float = 1.0
    b: float = 0.0

    def of(self, raw: float) -> float:
        """Return the calibrated probability."""
        return sigmoid(self.a * log_odds(raw) + self.b)


class Isotonic(msgspec.Struct, frozen=True):
    """A rising line through points (raw probability, share observed), level beyond the first and the last."""

    points: list[tuple[float, float]]

    def of(self, raw: float) -> float:
        """Return the calibrated probability.

        >>> Isotonic([(0.2, 0.1), (0.6, 0.5)]).of(0.4)
        0.30000000000000004
        """
        number = bisect_right(self.points, raw, key=lambda point: point[0])
        if number == 0:
            return self.points[0][1]
        if number == len(self.points):
            return self.points[-1][1]
        (x, y), (following, high) = self.points[number - 1], self.points[number]
        return y + (high - y) * (raw - x) / (following - x)


Calibration = Platt | Isotonic


def log_odds(probability: float) -> float:
    """Return the log-odds of a probability, also of 0 and 1."""
    bounded = min(max(probability, _EDGE), 1 - _EDGE)
    return log(bounded / (1 - bounded))


def calibrated(raw: Sequence[float], observed: Sequence[bool]) -> Calibration:
    """Return the calibration of probabilities, in order of time, to what followed.

    Of an isotonic one and Platt's it is the one that, made from the first half, is closer to the second.
    """
    if min(sum(observed), len(observed) - sum(observed)) < ISOTONIC_FROM:
        return platt(raw, observed)
    half = len(raw) // 2
    best = min((platt, isotonic), key=lambda fit: _distance(fit(raw[:half], observed[:half]), raw[half:], observed[half:]))
    return best(raw, observed)


def _distance(calibration: Calibration, raw: Sequence[float], observed: Sequence[bool]) -> float:
    return sum((calibration.of(p) - y) ** 2 for p, y in zip(raw, observed, strict=True))


def platt(raw: Sequence[float], observed: Sequence[bool]) -> Platt:
    """Fit Platt's sigmoid. Probabilities in a wrong order are not turned: then all become the base rate."""
    found = fitted([[log_odds(each)] for each in raw], observed)
    (weight,), (mean,), (scale,) = found.weights, found.standard.means, found.standard.scales
    a = weight / scale
    if a <= 0:
        share = (sum(observed) + 1) / (len(observed) + 2)
        return Platt(_FLAT, log_odds(share))
    return Platt(a, found.intercept - a * mean)


def isotonic(raw: Sequence[float], observed: Sequence[bool]) -> Isotonic:
    """Fit a rising line by pooling adjacent violators (Ayer et al., 1955) of at most ``POINTS`` groups.

    The groups expect equal numbers of rows that are followed, so that there are points where probabilities
    are high. A share is never 0 or 1: a group counts as if two rows more, one of them followed, were in it.
    The line leads from (0, 0) to (1, 1), so that it keeps the order of the rows.

    >>> isotonic([0.1, 0.1, 0.8, 0.8], [False, True, True, True]).of(0.8)
    0.75
    """
    groups = _groups(raw, observed)
    pools = pooled([((followed + 1) / (rows + 2), rows) for _, followed, rows in groups])
    points: list[tuple[float, float]] = []
    number = 0
    for level, members, rows in pools:
        own = groups[number : number + members]
        number += members
        points.append((sum(total for total, _, _ in own) / rows, level))
    return Isotonic([(0.0, 0.0), *(point for point in points if 0 < point[0] < 1), (1.0, 1.0)])


def _groups(raw: Sequence[float], observed: Sequence[bool]) -> list[tuple[float, int, int]]:
    """Return of each group the sum of its probabilities, the rows that were followed, and all its rows."""
    step = max(sum(raw) / POINTS, _EDGE)
    found: list[tuple[float, int, int]] = []
    total, followed, rows, last = 0.0, 0, 0, -1.0
    for p, y in sorted(zip(raw, observed, strict=True)):
        if rows and p != last and total >= step:
            found.append((total, followed, rows))
            total, followed, rows = 0.0, 0, 0
        total, followed, rows, last = total + p, followed + y, rows + 1, p
    return [*found, (total, followed, rows)]


def pooled(values: Sequence[tuple[float, int]]) -> list[tuple[float, int, int]]:
    """Pool adjacent values (with weights) that fall: return mean, number of values and weight of each pool.

    >>> pooled([(0.1, 10), (0.5, 10), (0.3, 30)])
    [(0.1, 1, 10), (0.35, 2, 40)]
    """
    found: list[tuple[float, int, int]] = []
    for value, weight in values:
        level, members = value, 1
        while found and found[-1][0] >= level:
            before, number, rows = found.pop()
            level = (before * rows + level * weight) / (rows + weight)
            members, weight = members + number, weight + rows
        found.append((level, members, weight))
    return found


def written(calibration: Calibration) -> dict[str, Any]:
    """Return a calibration as a model file has it.

    >>> written(Isotonic([(0.0, 0.1)]))
    {'kind': 'isotonic', 'points': [[0.0, 0.1]]}
    """
    if isinstance(calibration, Isotonic):
        return {"kind": "isotonic", "points": [list(point) for point in calibration.points]}
    return {"kind": "platt", "a": calibration.a, "b": calibration.b}
