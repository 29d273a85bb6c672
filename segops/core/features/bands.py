"""Bands: the two thresholds around a number. No verdict changes while a number stays in its band."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any

from segops.core.features.states import Sums
from segops.core.operators import Predicate
from segops.core.values import kind, multiply_exact, subtract_exact

Points = tuple[Any, ...]
#: The readings of a feature: ``(instant, value)`` in order of time, each value in force up to the next.
Series = Iterator[tuple[int, Any]]
_FAR = Decimal("Infinity")


def thresholds(test: Predicate) -> Points:
    """Return the sorted numbers at which a predicate may change its verdict, between two infinities.

    >>> thresholds(Predicate((("between", (2, 5)), ("ne", 3))))
    (Decimal('-Infinity'), 2, 3, 5, Decimal('Infinity'))
    """
    operands = [o for _, operand in test.ops for o in (operand if isinstance(operand, tuple) else (operand,))]
    return -_FAR, *sorted({o for o in operands if kind(o) == "number"}), _FAR


def band(points: Points, number: Any) -> tuple[Any, Any]:
    """Return the two thresholds around a number; for a number that is a threshold, twice that threshold."""
    at = bisect_left(points, number)
    return points[at - (points[at] != number)], points[at]


def mean_band(points: Points, count: int, total: Decimal) -> tuple[Decimal, Decimal]:
    """Return the band of ``total / count``, which may not be an exact decimal; ``count`` is at least 1."""
    at = bisect_left(points, total, key=lambda point: multiply_exact(point, count))
    return points[at - (multiply_exact(points[at], count) != total)], points[at]


def banded(
    series: Iterable[tuple[int, Any]], points: Points, number_of: Callable[[Any], Any] | None = None
) -> Series:
    """Yield the first reading of a series, and those at which the band of its number changes."""
    low: Any = 0
    high: Any = 0
    for at, value in series:
        number = value if number_of is None else number_of(value)
        if number is None:
            low = high = 0
        elif low < number < high:
            continue
        else:
            low, high = band(points, number)
        yield at, value


def mean_banded(series: Iterable[tuple[int, tuple[int, Decimal]]], points: Points) -> Series:
    """Do as ``banded``, for the mean of a series of counts and totals."""
    low = high = Decimal(0)
    for at, (count, total) in series:
        if count and multiply_exact(low, count) < total < multiply_exact(high, count):
            continue
        low, high = mean_band(points, count, total) if count else (Decimal(0), Decimal(0))
        yield at, (count, total)


def counts_leaving(state: Sums, begin: int, points: Points) -> int:
    """Return the index of the entry whose leaving takes the count out of its band.

    Entries leave in order, from ``begin`` on. The result is the number of entries if none does; so are those
    of the functions below.
    """
    left = state.counts[-1]
    low, high = band(points, left - (state.counts[begin - 1] if begin else state.base_count))
    return _first_outside(state.counts, begin, left - high, left - low)


def totals_leaving(state: Sums, begin: int, points: Points) -> int:
    """Return the index of the entry whose leaving takes the sum out of its band."""
    left = state.totals[-1]
    before = state.totals[begin - 1] if begin else state.base_total
    low, high = band(points, subtract_exact(left, before))
    return _first_outside(state.totals, begin, subtract_exact(left, high), subtract_exact(left, low))


def _first_outside(sums: list[Any], begin: int, low: Any, high: Any) -> int:
    for at in range(begin, len(sums)):
        if not low < sums[at] < high:
            return at
    return len(sums)


def means_leaving(state: Sums, begin: int, points: Points) -> int:
    """Return the index of the entry whose leaving takes the mean out of its band; at most the last index."""
    counts, totals = state.counts, state.totals
    before = (counts[begin - 1], totals[begin - 1]) if begin else (state.base_count, state.base_total)
    low, high = mean_band(points, counts[-1] - before[0], subtract_exact(totals[-1], before[1]))
    count, total, last = counts[-1], totals[-1], len(counts) - 1
    for at in range(begin, last):
        left, sum_left = count - counts[at], subtract_exact(total, totals[at])
        if not multiply_exact(low, left) < sum_left < multiply_exact(high, left):
            return at
    return last


def end_of_instant(times: list[int], at: int) -> int:
    """Return the index after the entries with the same time as the one at ``at``."""
    return bisect_right(times, times[at], at)
