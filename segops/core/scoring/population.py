"""Edges of a population: quantiles of all profiles, by histograms that merge exactly.

A histogram counts values by the value that they are rounded up to: amounts and scores to three significant
digits, times to the hour. Rounding up keeps the order, so a quantile of rounded values is the rounded
quantile, and no edge divides the values of one count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final

from segops.core.features.orders import PurchaseTotals
from segops.core.scoring.models import Model, PopulationParameters
from segops.core.scoring.rfm import Rfm
from segops.core.values import exact

HOUR_MS: Final = 3_600_000
_DIGITS: Final = 3
#: Values are rounded to multiples of a power of ten from this one on.
_LEAST_POWER: Final = -6
#: Values beyond it, of either sign, count as it.
_GREATEST: Final = Decimal(10) ** 15

#: The number of groups into which a population is divided by a score.
PERCENTILES: Final = 100
#: The measure of a population by a score.
SCORE: Final = "score"

#: A value, rounded up, as a text -> the number of profiles.
Histogram = dict[str, int]


def rounded_up(value: Any) -> Decimal:
    """Return a number rounded up to three significant digits, and not finer than 0.000001.

    >>> [str(rounded_up(value)) for value in (1234, 7, -1239, 0.00012345, 0)]
    ['1240', '7', '-1230', '0.000124', '0']
    """
    if isinstance(value, Fraction):
        value = Decimal(value.numerator) / value.denominator
    number = max(min(exact(value), _GREATEST), -_GREATEST)
    if not number:
        return Decimal(0)
    power = max(number.adjusted() + 1 - _DIGITS, _LEAST_POWER)
    found = number.quantize(Decimal(1).scaleb(power), ROUND_CEILING).normalize()
    return found.quantize(Decimal(1)) if found == found.to_integral_value() else found


def count_in(histogram: Histogram, value: Any) -> None:
    """Count one value."""
    key = str(rounded_up(value))
    histogram[key] = histogram.get(key, 0) + 1


def added(one: Mapping[str, int], other: Mapping[str, int]) -> Histogram:
    """Return the histogram of the values of both, in order of the values."""
    found = {key: one.get(key, 0) + other.get(key, 0) for key in one.keys() | other.keys()}
    return {key: found[key] for key in sorted(found, key=Decimal)}


def quantiles(histogram: Mapping[str, int], groups: int) -> tuple[Decimal, ...]:
    """Return the edges that divide the values into so many groups of equal size.

    Edge i is the value of rank i/``groups`` of all, rounded up. Equal values are never divided, so edges may
    be equal, and a part empty.

    >>> quantiles({"1": 51, "2": 20, "4": 9, "9": 20}, 5)
    (Decimal('1'), Decimal('1'), Decimal('2'), Decimal('4'))
    """
    total = sum(histogram.values())
    ranks = [-(-part * total // groups) for part in range(1, groups)]
    found: list[Decimal] = []
    passed = 0
    for value in sorted(map(Decimal, histogram)):
        passed += histogram[str(value)]
        while len(found) < len(ranks) and total and passed >= ranks[len(found)]:
            found.append(value)
    return tuple(found)


# -- grids -------------------------------------------------------------------------------------------------

#: Measure -> what it counts of a profile with digits: the hour of the last order, orders, or net revenue.
_COUNTED: Final[dict[str, Callable[[PurchaseTotals], Any]]] = {
    "recency": lambda read: -(-(read.last_ms or 0) // HOUR_MS),
    "frequency": lambda read: read.orders,
    "monetary": lambda read: read.net,
}


def count_totals(histograms: dict[str, Histogram], read: PurchaseTotals) -> None:
    """Count what a profile has of each measure of ``histograms``."""
    for measure, histogram in histograms.items():
        value = _COUNTED[measure](read)
        key = str(value) if measure == "recency" else str(rounded_up(value))
        histogram[key] = histogram.get(key, 0) + 1


def edges_of(
    histograms: Mapping[str, Mapping[str, int]], groups: Mapping[str, int], at_ms: int
) -> dict[str, tuple[Any, ...]]:
    """Return the edges of each measure, as a grid has them: of recency, ages (ms) at ``at_ms``.

    >>> day = {"recency": {"0": 1, "24": 1}, "frequency": {"1": 3, "2": 1}}
    >>> edges_of(day, {"recency": 2, "frequency": 2}, 48 * HOUR_MS)
    {'recency': (172800000,), 'frequency': (1,)}
    """
    found: dict[str, tuple[Any, ...]] = {}
    for measure, number in groups.items():
        edges = quantiles(histograms[measure], number)
        if measure == "recency":
            ages = (at_ms - int(hour) * HOUR_MS for hour in reversed(edges))
            found[measure] = tuple(max(0, age) for age in ages)
        else:
            found[measure] = tuple(map(int, edges)) if measure == "frequency" else edges
    return found


def groups_of(rfm: Rfm) -> dict[str, int]:
    """Return the measures of a grid that the population divides, with their numbers of groups."""
    return dict(getattr(rfm.quantiles, "groups", ()))


# -- models ------------------------------------------------------------------------------------------------


def populations_in(models: Mapping[str, Model]) -> dict[str, Mapping[str, tuple[Any, ...]]]:
    """Return the edges of the models that are measured populations: model -> measure -> edges."""
    ready = {name: each.parameters for name, each in models.items() if each.is_ready}
    return {name: dict(each.edges) for name, each in ready.items() if isinstance(each, PopulationParameters)}


def is_rising(edges: tuple[Any, ...]) -> bool:
    """Return whether no edge is below the one before it."""
    return all(one <= other for one, other in pairwise(edges))
