"""Gauss's hypergeometric function, as the expectations of the buying models need it."""

from __future__ import annotations

from math import exp, log1p
from typing import Final

#: A term that adds less than this part of the sum ends the series.
_PRECISION: Final = 1e-16
_MAX_TERMS: Final = 100_000


def hyp2f1(a: float, b: float, c: float, z: float) -> float:
    """Return 2F1(a, b; c; z) for 0 <= z < 1, where c is no negative integer or zero.

    Sums the series after Euler's transformation, 2F1(a, b; c; z) = (1 - z)^(c-a-b) 2F1(c-a, c-b; c; z)
    (DLMF 15.8.1), where that one converges faster: with the arguments of the buying models, c grows with the
    number of orders while c-a and c-b do not, so few terms are enough for any history. Raises ArithmeticError
    where 100,000 terms are not enough, and OverflowError beyond the range of a float.

    >>> round(hyp2f1(1.0, 1.0, 2.0, 0.5), 12)  # -log(1 - z) / z
    1.38629436112
    >>> round(hyp2f1(2.5, 3.0, 3.0, 0.9), 6)  # (1 - z)^-a
    316.227766
    """
    if c - a - b < 0:
        return exp((c - a - b) * log1p(-z)) * _series(c - a, c - b, c, z)
    return _series(a, b, c, z)


def _series(a: float, b: float, c: float, z: float) -> float:
    """Sum the power series (DLMF 15.2.1)."""
    total = term = 1.0
    for n in range(_MAX_TERMS):
        term *= (a + n) * (b + n) / ((c + n) * (n + 1)) * z
        total += term
        if abs(term) <= _PRECISION * abs(total):
            return total
    raise ArithmeticError(f"2F1({a}, {b}; {c}; {z}) does not converge")
