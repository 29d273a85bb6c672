"""The age of a profile's latest event as a score."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, floor

import msgspec

from segops.core.operators import Predicate
from segops.core.profile import Profile
from segops.core.values import kind

_DAY_MS = 86_400_000


class RecencyDays(msgspec.Struct, frozen=True):
    """Whole days since the profile's latest event.

    >>> scorer, profile = RecencyDays(), Profile("user_id:u1", first_ms=0, latest_ms=0)
    >>> scorer.value(profile, 3 * _DAY_MS - 1)
    2
    >>> scorer.next_edge(profile, [Predicate((("gte", 30),))], 0) == 30 * _DAY_MS
    True
    """

    def value(self, read: Profile, now_ms: int) -> int | None:
        return None if read.first_ms is None else (now_ms - read.latest_ms) // _DAY_MS

    def next_edge(self, read: Profile, tests: Iterable[Predicate], now_ms: int) -> int | None:
        if read.first_ms is None:
            return None
        edges = (read.latest_ms + days * _DAY_MS for test in tests for days in _steps(test))
        return min((edge for edge in edges if edge > now_ms), default=None)


def _steps(test: Predicate) -> Iterable[int]:
    """Yield the integers at which the verdict of a predicate on a rising integer may change."""
    for _, operand in test.ops:
        for number in operand if isinstance(operand, tuple) else (operand,):
            if kind(number) == "number":
                yield ceil(number)
                yield floor(number) + 1
