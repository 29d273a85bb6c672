"""Calibration: from the log-odds of a regression to the probabilities that were observed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log
from typing import Any, Final

from segops.core.scoring.figure_scores import calibrated as apply
from segops.core.scoring.figure_scores import probability
from segops.core.scoring.models import Isotonic, Platt
from segops.core.training.logistic import fitted

#: An isotonic calibration needs so many rows that were followed, and as many that were not.
ISOTONIC_FROM: Final = 500
#: A group of an isotonic calibration has about this part of the rows, or of those expected to be followed.
PARTS: Final = 20
_EDGE: Final = 1e-12
#: The slope of a sigmoid that says the base rate of all rows; that of a model file is above 0.
_FLAT: Final = 1e-9

Calibration = Platt | Isotonic


def calibrated(odds: Sequence[float], observed: Sequence[bool]) -> Calibration:
    """Return the calibration of log-odds, in order of time, to what followed.

    Of an isotonic one and Platt's it is the one that, made from the first half, is closer to the second.
    """
    if min(sum(observed), len(observed) - sum(observed)) < ISOTONIC_FROM:
        return platt(odds, observed)
    half = len(odds) // 2

    def missed(fit: Callable[[Sequence[float], Sequence[bool]], Calibration]) -> float:
        made = fit(odds[:half], observed[:half])
        later = zip(odds[half:], observed[half:], strict=True)
        return sum((apply(made, each) - followed) ** 2 for each, followed in later)

    fits: tuple[Callable[[Sequence[float], Sequence[bool]], Calibration], ...] = (platt, isotonic)
    return min(fits, key=missed)(odds, observed)


def platt(odds: Sequence[float], observed: Sequence[bool]) -> Platt:
    """Fit Platt's sigmoid. Log-odds in a wrong order are not turned: then all become the base rate."""
    found = fitted([[each] for each in odds], observed)
    (weight,), (mean,), (scale,) = found.weights, found.standard.means, found.standard.scales
    a = weight / scale
    if a <= 0:
        share = (sum(observed) + 1) / (len(observed) + 2)
        return Platt(_FLAT, log(share / (1 - share)))
    return Platt(a, found.intercept - a * mean)


def isotonic(odds: Sequence[float], observed: Sequence[bool]) -> Isotonic:
    """Fit a rising line by pooling adjacent violators (Ayer et al., 1955) of groups of rows.

    A group has a twentieth of the rows, or of those that are expected to be followed: so there are points
    where probabilities are low, and where they are high. A share is never 0 or 1: a group counts as if two
    rows more, one of them followed, were in it. The line leads from (0, 0) to (1, 1), so that it keeps the
    order of the rows.

    >>> apply(isotonic([-9.0, -9.0, 1.0, 1.0], [False, True, True, True]), 1.0)
    0.75
    """
    groups = _groups(list(map(probability, odds)), observed)
    pools = pooled([((followed + 1) / (rows + 2), rows) for _, followed, rows in groups])
    points = [(0.0, 0.0)]
    number = 0
    for level, members, rows in pools:
        own = groups[number : number + members]
        number += members
        points.append((sum(total for total, _, _ in own) / rows, level))
    return Isotonic(tuple(point for point in (*points, (1.0, 1.0)) if point[0] < 1 or point[1] == 1))


def _groups(raw: Sequence[float], observed: Sequence[bool]) -> list[tuple[float, int, int]]:
    """Return of each group the sum of its probabilities, the rows that were followed, and all its rows."""
    most, most_rows = max(sum(raw) / PARTS, _EDGE), max(len(raw) // PARTS, 1)
    found: list[tuple[float, int, int]] = []
    total, followed, rows, last = 0.0, 0, 0, -1.0
    for p, y in sorted(zip(raw, observed, strict=True)):
        if rows and p != last and (total + p > most or rows >= most_rows):
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

    >>> written(Isotonic(((0.0, 0.1),)))
    {'kind': 'isotonic', 'points': [[0.0, 0.1]]}
    """
    if isinstance(calibration, Isotonic):
        return {"kind": "isotonic", "points": [list(point) for point in calibration.points]}
    return {"kind": "platt", "a": calibration.a, "b": calibration.b}
