"""Gamma-Gamma: how much a customer spends per order, and with a buying model, what the customer is worth.

P. Fader, B. Hardie, "The Gamma-Gamma Model of Monetary Value" (2013, note 025 of brucehardie.com), below [1].
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from math import lgamma, log

import msgspec

from segops.core.scoring.buying import Buying, History
from segops.core.scoring.losses import Spans

#: Periods of a lifetime value are months of this many days, discounted at their ends.
MONTH = 30.4375


class Spending(msgspec.Struct, frozen=True):
    """A fitted Gamma-Gamma; ``gamma`` is in the currency of the orders. The mean exists for ``q`` > 1."""

    p: float
    q: float
    gamma: float

    def log_likelihood(self, orders: int, mean: float) -> float:
        """Return the log-likelihood of ``orders`` > 0 with this ``mean`` > 0 ([1] equation 1a)."""
        q, shape = self.q, self.p * orders
        return (
            lgamma(shape + q)
            - lgamma(shape)
            - lgamma(q)
            + q * log(self.gamma)
            + (shape - 1) * log(mean)
            + shape * log(orders)
            - (shape + q) * log(orders * mean + self.gamma)
        )

    def expected_order_value(self, orders: int, mean: float) -> float:
        """Return the expected mean of orders to come, given ``orders`` with this ``mean`` ([1] equation 5).

        Without an order, it is the mean of the population.

        >>> cdnow = Spending(p=6.25, q=3.74, gamma=15.44)
        >>> round(cdnow.expected_order_value(0, 0.0), 2), round(cdnow.expected_order_value(2, 50.0), 2)
        (35.22, 47.34)
        """
        return self.p * (self.gamma + orders * mean) / (self.p * orders + self.q - 1)


def lifetime_value(
    buying: Buying, of: History, order_value: float, *, days: float, monthly_discount: float
) -> float:
    """Return the value of the orders expected in the next ``days``, discounted by month.

    ``order_value`` is that of one order; orders of a month count at its end, and a part of a month as a part.

    >>> tea = Buying(r=0.243, alpha=31.0, a=0.793, b=2.426)
    >>> of = History(2, 213.0, 272.0)
    >>> round(lifetime_value(tea, of, 40.0, days=90, monthly_discount=0.0), 2)
    18.1
    >>> lifetime_value(tea, of, 40.0, days=90, monthly_discount=0.01) < 18.1
    True
    """
    spans = discounted(days, monthly_discount)
    return buying.p_alive(of) * order_value * buying.orders_over(of, spans)


@lru_cache(maxsize=64)
def discounted(days: float, monthly_discount: float) -> Spans:
    """Return the spans to the ends of months: orders before one count for the discount that it adds."""
    ends = _month_ends(days)
    factors = [(1 + monthly_discount) ** (-end / MONTH) for end in ends] + [0.0]
    return Spans.of(ends, tuple([factor - later for factor, later in pairwise(factors)]))


def _month_ends(days: float) -> tuple[float, ...]:
    """Return the ends of the months of so many days; the last one may be shorter.

    >>> _month_ends(40.0)
    (30.4375, 40.0)
    """
    ends = [0.0]
    while ends[-1] < days:
        ends.append(min(ends[-1] + MONTH, days))
    return tuple(ends[1:])
