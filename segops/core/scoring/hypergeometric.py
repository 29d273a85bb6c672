"""Gauss's hypergeometric function, by its power series."""

from __future__ import annotations

from typing import Final

#: A term that adds less than this part of the sum ends the series.
_PRECISION: Final = 1e-16
_MAX_TERMS: Final = 100_000


def hyp2f1(a: float, b: float, c: float, z: float) -> float:
    """Return 2F1(a, b; c; z) for 0 <= z < 1, where c is no negative integer or zero (DLMF 15.2.1).

    Few terms are enough where c is large beside a and b. Raises ArithmeticError where 100,000 are not enough.

    >>> round(hyp2f1(1.0, 1.0, 2.0, 0.5), 12)  # -log(1 - z) / z
    1.38629436112
    """
    total = term = 1.0
    for n in range(_MAX_TERMS):
        term *= (a + n) * (b + n) / ((c + n) * (n + 1)) * z
        total += term
        if abs(term) <= _PRECISION * abs(total):
            return total
    raise ArithmeticError(f"2F1({a}, {b}; {c}; {z}) does not converge")
