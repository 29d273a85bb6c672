"""Figures in days: when the verdict on two figures changes because the days since an instant rise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import ceil, floor
from typing import Any

from segops.core.rules.execution.readings import DAY_MS, Reading
from segops.core.rules.execution.verdicts import Moves
from segops.core.values import kind

#: The last millisecond of the year 9999: no later instant can be stored for certain, or written.
LATEST_MS = 253_402_300_799_999
#: From a number and whether the figure in days is the first one, to the days around which verdicts change.
Days = Callable[[Any, bool], Iterable[Any]]


def moves_of(left: Reading, right: Reading, days: Days, periodic: Callable[[int], bool]) -> Moves | None:
    """Return when the verdict on a pair may change because a figure moves with time; None without one."""
    if left.moving is not None:
        return lambda pair, now_ms: _next_crossing(left, pair, now_ms, lambda number: days(number, True))
    if right.moving is not None:
        return lambda pair, now_ms: _next_crossing(
            right, pair[::-1], now_ms, lambda number: days(number, False)
        )
    if left.ages and right.ages:
        return lambda pair, now_ms: _next_of_both(pair, now_ms, periodic)
    if left.ages:
        return lambda pair, now_ms: _next_age(pair[0], pair[1], now_ms, lambda number: days(number, True))
    if right.ages:
        return lambda pair, now_ms: _next_age(pair[1], pair[0], now_ms, lambda number: days(number, False))
    return None


def _next_age(
    since_ms: int | None, other: Any, now_ms: int, days: Callable[[Any], Iterable[Any]]
) -> int | None:
    """Return when the days since an instant next reach or pass one of the ``days`` for the other value.

    Return None if that is after the year 9999, as it is for a huge number in a trait.
    """
    if since_ms is None or kind(other) != "number":
        return None
    whole = {step for number in days(other) for step in (ceil(number), floor(number) + 1)}
    edges = (since_ms + number * DAY_MS for number in whole)
    return min((edge for edge in edges if now_ms < edge <= LATEST_MS), default=None)


def _next_crossing(
    moving: Reading, pair: tuple[Any, Any], now_ms: int, numbers: Callable[[Any], Iterable[Any]]
) -> int | None:
    """Return when a moving score next reaches, passes or leaves a number that the other value sets."""
    read, other = pair
    return None if kind(other) != "number" else moving.next_crossing(read, numbers(other), now_ms)


def _next_of_both(
    pair: tuple[int | None, int | None], now_ms: int, periodic: Callable[[int], bool]
) -> int | None:
    """Return when one of two numbers of days next rises, if that changes the verdict on their difference.

    The difference alternates between two neighbours every day.
    """
    first, second = pair
    if first is None or second is None:
        return None
    least, rest = divmod(second - first, DAY_MS)
    if not rest or not periodic(least):
        return None
    return min(now_ms + DAY_MS - (now_ms - since_ms) % DAY_MS for since_ms in (first, second))
