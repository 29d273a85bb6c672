"""BG/NBD and MBG/NBD: how a customer goes on to buy, from the number and the times of orders.

A customer orders at a rate that is gamma distributed among customers, and is lost after an order with a
probability that is beta distributed: P. Fader, B. Hardie, K. L. Lee, "Counting Your Customers the Easy Way:
An Alternative to the Pareto/NBD Model", Marketing Science 24 (2005), below [1]. In the modified model a
customer may be lost after the first order, too: E. P. Batislam, M. Denizel, A. Filiztekin, "Empirical
validation and comparison of models for customer base analysis", IJRM 24 (2007), below [2].

Times are in days. Sums of logarithms replace products, so that hundreds of orders do not overflow.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, lgamma, log
from typing import Final

import msgspec

from segops.core.scoring.losses import Spans, orders_in

#: Log-odds beyond it are certain.
_CERTAIN: Final = 700.0


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
        log_odds = self.log_odds_lost(of)
        return 1 / (1 + exp(log_odds)) if log_odds < _CERTAIN else 0.0

    def log_odds_lost(self, of: History) -> float:
        """Return the log-odds that the customer is lost: a straight line of log(alpha + age)."""
        if not self._may_be_lost(of):
            return -_CERTAIN
        survived = self.b + of.repeats + self.modified
        grown = log((self.alpha + of.age) / (self.alpha + of.last))
        return log(self.a / (survived - 1)) + (self.r + of.repeats) * grown

    def expected_orders(self, of: History, days: float) -> float:
        """Return the expected number of orders in the ``days`` after ``of.age`` ([1] equation 10).

        >>> tea = Buying(r=0.243, alpha=4.414, a=0.793, b=2.426)
        >>> round(tea.expected_orders(History(2, 30.43, 38.86), 39), 3)
        1.226
        """
        return self.p_alive(of) * self.orders_if_alive(of, days)

    def orders_if_alive(self, of: History, days: float) -> float:
        """Return ``expected_orders`` of a customer who is one for certain at ``of.age``."""
        return self.orders_over(of, span(days))

    def orders_over(self, of: History, spans: Spans) -> float:
        """Return the sum of ``orders_if_alive`` of each of the spans, times its share.

        Given that the customer is one, the rate is gamma distributed with shape r + x and scale alpha + T,
        and the probability to be lost beta distributed with a and b + x. The paper's 2F1 is then the mean of
        a function that neither cancels nor overflows, however many the orders are.
        """
        survived = self.b + of.repeats + self.modified
        return orders_in(self.a, survived, self.r + of.repeats, self.alpha + of.age, spans)

    def _may_be_lost(self, of: History) -> bool:
        return of.repeats > 0 or self.modified


@lru_cache(maxsize=64)
def span(days: float) -> Spans:
    """Return a single span."""
    return Spans.of((days,), (1.0,))


def _log_sum(one: float, other: float) -> float:
    """Return log(exp(one) + exp(other))."""
    high, low = max(one, other), min(one, other)
    return high + log(1 + exp(low - high))
