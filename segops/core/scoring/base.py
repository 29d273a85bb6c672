"""Scores: named numbers of a profile for use in rules. ``Scorer`` is a port: add a scorer to ``SCORERS``."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, floor
from typing import Any, Protocol

from segops.core.operators import Predicate
from segops.core.profile import Profile
from segops.core.values import kind

DAY_MS = 86_400_000


class Scorer(Protocol):
    """A score: a function of the profile and the instant only, and when a predicate over it may change."""

    def value(self, profile: Profile, now_ms: int) -> float | None:
        """Return the score at ``now_ms``; None if it is not defined for the profile."""

    def next_edge(self, profile: Profile, test: Predicate, now_ms: int) -> int | None:
        """Return the earliest instant after ``now_ms`` at which time alone may change ``test``, or None."""


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
    """Yield the integers at which the verdict of a predicate on a rising integer may change."""
    for _, operand in test.ops:
        for number in operand if isinstance(operand, tuple) else (operand,):
            if kind(number) == "number":
                yield ceil(number)
                yield floor(number) + 1


SCORERS: dict[str, Any] = {"recency_days": RecencyDays()}
