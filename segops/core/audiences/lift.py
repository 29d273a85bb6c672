"""The lift of an audience: how much more often those in it reach its goal than those held out of it.

The intervals are of 95 %, each for one look at numbers that were fixed beforehand.
"""

from __future__ import annotations

from math import exp, log, sqrt
from typing import Final, Literal

import msgspec

#: The 0.975 quantile of the normal distribution.
_Z: Final = 1.959963984540054
#: So many of each arm must have reached the goal, and not reached it, before anything is concluded.
ENOUGH: Final = 10
Verdict = Literal["not enough", "higher", "lower", "no difference shown"]


class Bounds(msgspec.Struct, frozen=True):
    """A value, and the bounds of its 95 % confidence interval."""

    value: float
    low: float
    high: float


class Arm(msgspec.Struct, frozen=True):
    """The persons who entered an arm.

    ``open``: the window of the goal is not over. ``left_out``: it cannot be known whether they reached the
    goal. ``matured``: the others; ``converted``: those of them who reached the goal.
    """

    open: int = 0
    left_out: int = 0
    matured: int = 0
    converted: int = 0

    @property
    def entries(self) -> int:
        """All of them."""
        return self.open + self.left_out + self.matured

    @property
    def rate(self) -> float | None:
        """The share of the matured that reached the goal; None without any."""
        return self.converted / self.matured if self.matured else None

    @property
    def is_enough(self) -> bool:
        """Whether enough reached the goal, and enough did not."""
        return min(self.converted, self.matured - self.converted) >= ENOUGH


class Lift(msgspec.Struct, frozen=True):
    """The difference between the arms.

    ``absolute``: of the rates; None while an arm has no matured entry. ``relative``: per rate of the
    hold-out, 0.25 being a quarter more; None while there are not enough entries.
    """

    absolute: Bounds | None
    relative: Bounds | None
    verdict: Verdict


def lift_of(sent: Arm, held_out: Arm) -> Lift:
    """Return the lift of an arm over its hold-out.

    >>> lift_of(Arm(matured=225, converted=60), Arm(matured=75, converted=10)).verdict
    'higher'
    >>> lift_of(Arm(matured=225, converted=60), Arm(matured=75, converted=9)).verdict
    'not enough'
    """
    if not sent.matured or not held_out.matured:
        return Lift(None, None, "not enough")
    absolute = difference(sent, held_out)
    if not (sent.is_enough and held_out.is_enough):
        return Lift(absolute, None, "not enough")
    risk = ratio(sent, held_out)
    relative = Bounds(risk.value - 1, risk.low - 1, risk.high - 1)
    return Lift(absolute, relative, _verdict(absolute))


def _verdict(absolute: Bounds) -> Verdict:
    if absolute.low > 0:
        return "higher"
    return "lower" if absolute.high < 0 else "no difference shown"


def wilson(found: int, of: int) -> tuple[float, float]:
    """Return the score interval of a proportion (Wilson 1927, J. Amer. Statist. Assoc. 22, 209-212).

    Method 3 of Newcombe (1998, "Two-sided confidence intervals for the single proportion", Statistics in
    Medicine 17, 857-872), with an example of its Table I:

    >>> ["%.4f" % bound for bound in wilson(81, 263)]
    ['0.2553', '0.3662']
    """
    middle = found + _Z * _Z / 2
    width = _Z * sqrt(found * (of - found) / of + _Z * _Z / 4)
    scale = of + _Z * _Z
    return max(0.0, (middle - width) / scale), min(1.0, (middle + width) / scale)


def difference(sent: Arm, held_out: Arm) -> Bounds:
    """Return the difference of the rates of two arms with matured entries, and its hybrid score interval.

    Method 10 of Newcombe (1998, "Interval estimation for the difference between independent proportions:
    comparison of eleven methods", Statistics in Medicine 17, 873-890), with examples of its Table II:

    >>> def shown(x, m, y, n):
    ...     found = difference(Arm(matured=m, converted=x), Arm(matured=n, converted=y))
    ...     return "%.4f %.4f" % (found.low, found.high)
    >>> shown(56, 70, 48, 80), shown(9, 10, 3, 10), shown(5, 56, 0, 29), shown(10, 10, 0, 20)
    ('0.0524 0.3339', '0.1705 0.8090', '-0.0381 0.1926', '0.6791 1.0000')
    """
    first, second = sent.converted / sent.matured, held_out.converted / held_out.matured
    low_1, high_1 = wilson(sent.converted, sent.matured)
    low_2, high_2 = wilson(held_out.converted, held_out.matured)
    below = sqrt((first - low_1) ** 2 + (high_2 - second) ** 2)
    above = sqrt((high_1 - first) ** 2 + (second - low_2) ** 2)
    value = first - second
    return Bounds(value, value - below, value + above)


def ratio(sent: Arm, held_out: Arm) -> Bounds:
    """Return the ratio of the rates of two arms that have both reached the goal, and its log interval.

    Method C of Katz, Baptista, Azen and Pike (1978, "Obtaining confidence intervals for the risk ratio in
    cohort studies", Biometrics 34, 469-474), with an example of Sahai and Khurshid (1996, "Statistics in
    Epidemiology", section 3.1.2):

    >>> found = ratio(Arm(matured=75, converted=10), Arm(matured=225, converted=12))
    >>> "%.4f %.4f %.4f" % (found.value, found.low, found.high)
    '2.5000 1.1262 5.5499'
    """
    value = sent.converted / sent.matured / (held_out.converted / held_out.matured)
    variance = sum(1 / arm.converted - 1 / arm.matured for arm in (sent, held_out))
    width = _Z * sqrt(variance)
    return Bounds(value, exp(log(value) - width), exp(log(value) + width))
