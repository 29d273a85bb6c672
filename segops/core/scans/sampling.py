"""Samples by the hash of the profile id, and what a count in a sample says about all profiles."""

from __future__ import annotations

from math import sqrt
from typing import Final

import msgspec
from xxhash import xxh3_64_intdigest

#: The 0.975 quantile of the normal distribution: an interval of 95 %.
_Z: Final = 1.959963984540054
_HASHES: Final = 1 << 64
#: The most ids of one partition that are held in memory, some 200 bytes each.
MAX_HELD_IDS: Final = 16_384


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


class HeldIds:
    """The ids in the sample of a share that is halved whenever there are more than ``most`` of them.

    It begins with the share 1, and is never doubled.

    >>> held = HeldIds(most=100)
    >>> for number in range(1_000):
    ...     held.add(f"user_id:{number}")
    >>> held.share, held.covers(0.05), held.covers(0.1), len(held) > 50
    (0.0625, True, False, True)
    """

    def __init__(self, most: int = MAX_HELD_IDS) -> None:
        self._most = most
        self._bound = _HASHES
        self._hashes: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._hashes)

    @property
    def share(self) -> float:
        """The share of all ids that is held."""
        return self._bound / _HASHES

    @property
    def is_thin(self) -> bool:
        """Whether so many were discarded that a greater share could be held."""
        return self._bound < _HASHES and len(self._hashes) < self._most // 4

    def add(self, profile_id: str) -> None:
        """Hold an id if it is in the sample."""
        found = sampling_hash(profile_id)
        if found < self._bound:
            self._hashes[profile_id] = found
            while len(self._hashes) > self._most:
                self._halve()

    def _halve(self) -> None:
        self._bound >>= 1
        self._hashes = {each: found for each, found in self._hashes.items() if found < self._bound}

    def discard(self, profile_id: str) -> None:
        """Hold an id no longer."""
        self._hashes.pop(profile_id, None)

    def covers(self, share: float) -> bool:
        """Return whether all ids in the sample of a share are held."""
        return share * _HASHES <= self._bound

    def within(self, share: float) -> list[str]:
        """Return the ids in the sample of a share that is covered."""
        bound = share * _HASHES
        return [each for each, found in self._hashes.items() if found < bound]


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
