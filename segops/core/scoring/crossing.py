"""When a number that moves with every millisecond, in one direction, passes a threshold."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Final

#: Steps of the search for a first guess: scores are nearly straight lines of the logarithm of time.
_MAX_STEPS: Final = 20


def first_outside(inside: Callable[[int], bool], begin: int, end: int, guess: int) -> int | None:
    """Return the first integer after ``begin`` that is not inside; None if there is none up to ``end``.

    All integers from ``begin`` to the last one inside are. The nearer the ``guess``, the fewer are tried.

    >>> tried = []
    >>> first_outside(lambda at: tried.append(at) or at < 70, 0, 1_000_000, 71), tried
    (70, [71, 70, 66, 68, 69])
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
            low, step = at, 4 * step
        high = at
    else:
        high = at
        while (at := max(high - step, begin)) > begin and not inside(at):
            high, step = at, 4 * step
        low = at
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if inside(middle) else (low, middle)
    return high


def guess_crossing(
    line: Callable[[float], float], target: float, end: float, ends: tuple[float, float], precision: float
) -> float:
    """Return about where, from 0 to ``end``, a function of one direction reaches ``target``.

    ``ends`` are its values at 0 and at ``end``, or near them. This is the method of Chandrupatla (1997,
    Advances in Engineering Software 28): each step interpolates quadratically where that is safe, and halves
    the interval elsewhere.
    """
    at, other, before = end, 0.0, end
    value, of_other = ends[1] - target, ends[0] - target
    of_before, part = value, 0.5
    for _ in range(_MAX_STEPS):
        following = at + part * (other - at)
        found = line(following) - target
        if (found > 0) is (value > 0):
            before, of_before = at, value
        else:
            before, other, of_before, of_other = other, at, of_other, value
        at, value = following, found
        least = precision / abs(other - at) if other != at else 1.0
        if not value or least > 0.5:
            break
        part = min(max(_part((at, value), (other, of_other), (before, of_before)), least), 1 - least)
    return at if abs(value) <= abs(of_other) else other


_Point = tuple[float, float]


def _part(near: _Point, far: _Point, before: _Point) -> float:
    """Return which part of the way from ``near`` to ``far`` to go; each is a place and the value there."""
    (a, fa), (b, fb), (c, fc) = near, far, before
    place, height = (a - b) / (c - b), (fa - fb) / (fc - fb)
    if height * height >= place or (1 - height) ** 2 >= 1 - place:
        return 0.5
    return fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)


def log_odds(probability: float) -> float:
    """Return the log-odds of a probability; of 0 and 1, very small and very great ones.

    >>> log_odds(0.5), log_odds(0.0) < -600, log_odds(1.0) > 30
    (0.0, True, True)
    """
    return log(max(probability, 1e-300) / max(1 - probability, 1e-17))
