"""Gauss's hypergeometric function, by its power series, as the models of buying need it."""

from __future__ import annotations

from functools import lru_cache
from math import log
from typing import Final

#: The logarithm of the part of the sum that the terms left out may have.
_PRECISION: Final = 40.0
_MAX_TERMS: Final = 131_072
#: Longer series are not kept.
_SHARED: Final = 1_024
#: Numbers of terms are multiples of it, so that customers share them.
_STEP: Final = 16


def hyp2f1_excess(a: float, b: float, c: float, z: float) -> float:
    """Return c (2F1(a, b - 1; c; z) - 1) / (b - 1) for 0 <= z < 1, b > 0, c > -1 (DLMF 15.2.1).

    The first term of the series is 1, and each of the others contains (b - 1) / c: without them, nothing is
    lost in rounding where b is near 1, or c near 0. Raises ArithmeticError where 131,072 terms are too few.

    >>> round(hyp2f1_excess(1.0, 1.0, 2.0, 0.5), 12)  # 2 - 2 log 2
    0.61370563888
    """
    if z <= 0:
        return 0.0
    found = 0.0
    number = _number_of_terms(a, b, c, z)
    for term in (_terms if number <= _SHARED else _terms.__wrapped__)(a, b, c, number):
        found = found * z + term
    return found * z


def _number_of_terms(a: float, b: float, c: float, z: float) -> int:
    """Return how many terms are enough: they fall by z each, times a power of their number."""
    decay = -log(z)
    needed = _PRECISION / decay
    needed += max(a + b - c - 1, 0.0) * log(1 + needed) / decay
    if needed > _MAX_TERMS:
        raise ArithmeticError(f"2F1({a}, {b - 1}; {c}; {z}) needs more than {_MAX_TERMS:,} terms")
    return _STEP * (int(needed) // _STEP + 1)


@lru_cache(maxsize=2_048)
def _terms(a: float, b: float, c: float, number: int) -> tuple[float, ...]:
    """Return the factors of the powers of z, the highest power first; many customers share them."""
    found, term = [], a
    for n in range(1, number + 1):
        found.append(term)
        term *= (a + n) * (b + n - 1) / ((c + n) * (n + 1))
    return tuple(reversed(found))
