"""BG/NBD and MBG/NBD: how a customer goes on to buy, from the number and the times of orders.

A customer orders at a rate that is gamma distributed among customers, and is lost after an order with a
probability that is beta distributed: P. Fader, B. Hardie, K. L. Lee, "Counting Your Customers the Easy Way:
An Alternative to the Pareto/NBD Model", Marketing Science 24 (2005), below [1]. In the modified model a
customer may be lost after the first order, too: E. P. Batislam, M. Denizel, A. Filiztekin, "Empirical
validation and comparison of models for customer base analysis", IJRM 24 (2007), below [2].

Times are in days. Sums of logarithms replace products, so that hundreds of orders do not overflow.
"""

from __future__ import annotations

from math import exp, lgamma, log
from typing import Final

import msgspec

from segops.core.scoring.hypergeometric import hyp2f1

#: This close to a = 1 the expectation is lost in rounding: it is the mean of its values on both sides.
_NEAR_ONE: Final = 1e-5


class History(msgspec.Struct, frozen=True, gc=False):
    """What the models know of a customer: x, t_x and T of [1].

    ``repeats``: orders after the first one; ``last``: days from the first to the latest order; ``age``: days
    since the first order.
    """

    repeats: int
    last: float
    age: float


class Buying(msgspec.Struct, frozen=True):
    """A fitted BG/NBD, or MBG/NBD if ``modified``.

    ``r`` and ``alpha`` (days) are those of the rate of orders, ``a`` and ``b`` of the probability to be lost.
    """

    r: float
    alpha: float
    a: float
    b: float
    modified: bool = False

    def log_likelihood(self, of: History) -> float:
        """Return the log-likelihood of one customer's history ([1] equation 6, [2] equation 3)."""
        x, survived = of.repeats, self.b + of.repeats + self.modified
        log_rate = lgamma(self.r + x) - lgamma(self.r) + self.r * log(self.alpha)
        log_drop = lgamma(self.a + self.b) + lgamma(survived) - lgamma(self.b) - lgamma(self.a + survived)
        alive = -(self.r + x) * log(self.alpha + of.age)
        if not self._may_be_lost(of):
            return log_rate + log_drop + alive
        lost = log(self.a) - log(survived - 1) - (self.r + x) * log(self.alpha + of.last)
        return log_rate + log_drop + _log_sum(alive, lost)

    def p_alive(self, of: History) -> float:
        """Return the probability that the customer is still one at ``of.age``.

        >>> tea = Buying(r=0.243, alpha=4.414, a=0.793, b=2.426)  # weeks instead of days: [1], table 2
        >>> round(tea.p_alive(History(2, 30.43, 38.86)), 4)
        0.7266
        """
        if not self._may_be_lost(of):
            return 1.0
        survived = self.b + of.repeats + self.modified
        log_odds = log(self.a / (survived - 1)) + (self.r + of.repeats) * log(
            (self.alpha + of.age) / (self.alpha + of.last)
        )
        return 1 / (1 + exp(log_odds)) if log_odds < 700 else 0.0

    def expected_orders(self, of: History, days: float) -> float:
        """Return the expected number of orders in the ``days`` after ``of.age`` ([1] equation 10).

        Euler's transformation (DLMF 15.8.1) of its 2F1 cancels the power that overflows with many orders, and
        leaves a series whose terms fall faster the more orders there are.

        >>> tea = Buying(r=0.243, alpha=4.414, a=0.793, b=2.426)
        >>> round(tea.expected_orders(History(2, 30.43, 38.86), 39), 3)
        1.226
        """
        if abs(self.a - 1) < _NEAR_ONE:
            around = (1 - 2 * _NEAR_ONE, 1 + 2 * _NEAR_ONE)
            return sum(msgspec.structs.replace(self, a=a).expected_orders(of, days) for a in around) / 2
        x, survived = of.repeats, self.b + of.repeats + self.modified
        start, end = self.alpha + of.age, self.alpha + of.age + days
        c = self.a + survived - 1
        gauss = hyp2f1(c - self.r - x, self.a - 1, c, days / end)
        grown = exp((self.a - 1) * log(start / end)) * gauss
        return self.p_alive(of) * c / (self.a - 1) * (1 - grown)

    def _may_be_lost(self, of: History) -> bool:
        return of.repeats > 0 or self.modified


def _log_sum(one: float, other: float) -> float:
    """Return log(exp(one) + exp(other))."""
    high, low = max(one, other), min(one, other)
    return high + log(1 + exp(low - high))
