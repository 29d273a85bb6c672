"""Scores: named figures of a profile that rules may test. A scorer is a port: add one to ``SCORERS``."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, floor
from typing import Any, Protocol

from segops.core.operators import Predicate
from segops.core.profile import Profile
from segops.core.values import kind

DAY_MS = 86_400_000


class Scorer(Protocol):
    """One named score, of the profile and the instant only, and when a verdict on it may change."""

    def value(self, profile: Profile, now_ms: int) -> float | None:
        """The score at ``now_ms``; None where there is not enough to tell."""

    def next_edge(self, profile: Profile, test: Predicate, now_ms: int) -> int | None:
        """The earliest instant after ``now_ms`` at which ``test`` of the score could change by time alone."""


class RecencyDays:
    """Whole days since the profile's latest event.

    >>> scorer, profile = RecencyDays(), Profile("user_id:u1", first_ms=0, latest_ms=0)
    >>> scorer.value(profile, 3 * DAY_MS - 1)
    2
    >>> scorer.next_edge(profile, Predicate((("gte", 30),)), 0) == 30 * DAY_MS
    True
    """

    def value(self, profile: Profile, now_ms: int) -> int | None:
        return None if profile.first_ms is None else (now_ms - profile.latest_ms) // DAY_MS

    def next_edge(self, profile: Profile, test: Predicate, now_ms: int) -> int | None:
        if profile.first_ms is None:
            return None
        edges = (profile.latest_ms + days * DAY_MS for days in _steps(test))
        return min((edge for edge in edges if edge > now_ms), default=None)


def _steps(test: Predicate) -> Iterable[int]:
    """The whole numbers from which on a test of a rising whole number may have another verdict."""
    for _, operand in test.ops:
        for number in operand if isinstance(operand, tuple) else (operand,):
            if kind(number) == "number":
                yield ceil(number)
                yield floor(number) + 1


SCORERS: dict[str, Any] = {"recency_days": RecencyDays()}
