"""When a number that moves with every millisecond, in one direction, passes a threshold."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Final

#: Steps of the secant method: the numbers are nearly straight lines of the logarithm of time.
_MAX_STEPS: Final = 12


def first_outside(inside: Callable[[int], bool], begin: int, end: int, guess: int) -> int | None:
    """Return the first integer after ``begin`` that is not inside; None if there is none up to ``end``.

    All integers from ``begin`` to the last one inside are. The nearer the ``guess``, the fewer are tried.

    >>> tried = []
    >>> first_outside(lambda at: tried.append(at) or at < 70, 0, 1_000_000, 71), tried
    (70, [71, 70, 68, 69])
    """
    if begin >= end:
        return None
    at = min(max(guess, begin + 1), end)
    step = 1
    if inside(at):
        low = at
        while inside(at := min(low + step, end)):
            if at == end:
                return None
            low, step = at, 2 * step
        high = at
    else:
        high = at
        while (at := max(high - step, begin)) > begin and not inside(at):
            high, step = at, 2 * step
        low = at
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if inside(middle) else (low, middle)
    return high


def guess_crossing(straight: Callable[[float], float], target: float, begin: float, step: float) -> float:
    """Return about where a nearly straight line reaches ``target``, by the secant method.

    The search starts at ``begin`` and ``begin + step``. It gives up where the line is level.
    """
    before, at = begin, begin + step
    value_before, value = straight(before), straight(at)
    for _ in range(_MAX_STEPS):
        if value in (value_before, target):
            break
        following = at + (target - value) * (at - before) / (value - value_before)
        if following == at:
            break
        before, value_before = at, value
        at, value = following, straight(following)
    return at


def log_odds(probability: float) -> float:
    """Return the log-odds of a probability; of 0 and 1, those of the nearest numbers that have some.

    >>> log_odds(0.5), log_odds(0.0) < -600
    (0.0, True)
    """
    return log(max(probability, 1e-300) / max(1 - probability, 1e-17))
