"""Samples by the hash of the profile id, and what a count in a sample says about all profiles."""

from __future__ import annotations

from math import sqrt
from typing import Final

import msgspec
from xxhash import xxh3_64_intdigest

#: The 0.975 quantile of the normal distribution: an interval of 95 %.
_Z: Final = 1.959963984540054
_HASHES: Final = 1 << 64


class Interval(msgspec.Struct, frozen=True):
    """An estimated number of profiles, and the bounds of its 95 % confidence interval."""

    estimate: int
    low: int
    high: int


def sampling_hash(profile_id: str) -> int:
    """Return the 64-bit hash that orders profiles: a smaller sample is a part of every larger one."""
    return xxh3_64_intdigest(profile_id.encode())


def in_sample(profile_id: str, share: float) -> bool:
    """Return whether a profile belongs to the sample of this share, from 0 to 1.

    >>> in_sample("user_id:u1", 1.0), in_sample("user_id:u1", 0.0)
    (True, False)
    """
    return sampling_hash(profile_id) < share * _HASHES


def interval(found: int, share: float) -> Interval:
    """Return the number of profiles behind ``found`` ones in a sample of ``share``, with a 95 % interval.

    Each profile is in the sample independently with the probability p = ``share``, so ``found`` is binomial
    with the unknown number of trials N. The interval is the score interval of Wilson (1927, "Probable
    inference, the law of succession, and statistical inference", J. Amer. Statist. Assoc. 22, 209-212) for
    that number: all N with ``(found - N p)² <= z² N p (1 - p)``, which is ``(found + z² q / 2 ± z sqrt(q
    (found + z² q / 4))) / p`` with q = 1 - p. It is never below what was found.

    >>> interval(120, 0.01)
    Interval(estimate=12000, low=10045, high=14335)
    >>> interval(120, 1.0), interval(0, 0.5)
    (Interval(estimate=120, low=120, high=120), Interval(estimate=0, low=0, high=4))
    """
    rest = 1 - share
    middle = found + _Z * _Z * rest / 2
    width = _Z * sqrt(rest * (found + _Z * _Z * rest / 4))
    low, high = (middle - width) / share, (middle + width) / share
    return Interval(round(found / share), max(found, round(low)), round(high))
