"""The scores of a customer's orders: BG/NBD, MBG/NBD and Gamma-Gamma on the days with orders.

Most of them fall with every millisecond without an order, and ``churn_risk`` rises. That they do not turn:
given that a customer is one, a longer silence makes the posterior of the rate smaller in every quantile, so
the expected number of orders of any span falls, and so does the probability to be one. A lifetime value is a
sum of the former with positive factors, since discounts rise.

What a predicate reads at a millisecond is the score in floating point there, rounded to nine decimals.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from math import exp, inf, log
from typing import Any, Final

import msgspec

from segops.core.features import Feature
from segops.core.features.orders import ORDER_NAMES, Purchases
from segops.core.features.purchases import DAY_MS, LIFETIME_MS, LifetimeOrders, PurchaseHistory
from segops.core.operators import Predicate
from segops.core.scoring.buying import Buying, History, span
from segops.core.scoring.crossing import first_outside, guess_crossing, log_odds
from segops.core.scoring.losses import Spans
from segops.core.scoring.models import Gaps
from segops.core.scoring.spending import Spending, discounted, lifetime_value
from segops.core.values import format_instant, kind
from segops.core.windows import ALWAYS

#: The decimals of every score.
DECIMALS: Final = 9
_HALF: Final = 0.5 * 10**-DECIMALS
#: The last millisecond of the year 9999: no later instant can be stored for certain, or written.
LATEST_MS: Final = 253_402_300_799_999
_MONTHS: Final = 12
#: A bound that is less than a number, times it, is less than it however it is rounded.
_SURELY: Final = 1 - 1e-6


class OrderScore(msgspec.Struct, frozen=True, tag="orders", omit_defaults=True):
    """A score of orders; ``name`` is one of ``ORDER_SCORES``, which says what must not be None."""

    name: str
    buying: Buying | None = None
    spending: Spending | None = None
    gaps: Gaps | None = None
    discount: float = 0.1
    currency: str | None = None

    @property
    def feature(self) -> Feature:
        """The orders that the score reads."""
        return Feature("purchases", ORDER_NAMES, (), ALWAYS, purchases=Purchases(LIFETIME_MS, self.currency))

    @property
    def moves(self) -> bool:
        """Whether the score moves with every millisecond."""
        return self.name in _MOVING

    @property
    def is_date(self) -> bool:
        """Whether the score is an instant instead of a number."""
        return self.name == "next_order_at"

    @property
    def spans(self) -> Spans | None:
        """The time to come in which orders count; None for a score that counts none."""
        if self.name not in _DAYS:
            return None
        days = _DAYS[self.name]
        return span(days) if self.spending is None else discounted(days, _monthly(self.discount))

    def value(self, read: PurchaseHistory | None, now_ms: int) -> Any:
        """Return the score at ``now_ms``; None without an order, or without what the model needs.

        >>> score = OrderScore("p_alive", Buying(r=0.243, alpha=31.0, a=0.793, b=2.426))
        >>> score.value(None, 0) is None
        True
        """
        if read is None:
            return None
        found = _VALUES[self.name](self, read, now_ms)
        return round(found, DECIMALS) if found.__class__ is float else found

    def next_edge(self, read: Any, tests: Iterable[Predicate], now_ms: int) -> int | None:
        """Return the first instant after ``now_ms`` at which the truth of the tests may change, or None."""
        if self.is_date:
            value = self.value(read, now_ms)
            edges = (test.next_edge(value, now_ms) for test in tests)
            return min((edge for edge in edges if edge is not None), default=None)
        return self.next_crossing(read, numbers_in(tests), now_ms)

    def next_crossing(
        self, read: Any, numbers: Sequence[Any], now_ms: int, view: Callable[[Any], Any] = lambda value: value
    ) -> int | None:
        """Return the first instant after ``now_ms`` at which the score reaches, passes or leaves a number.

        ``numbers`` are sorted, and compared with the ``view`` of the score. None: it does not until the year
        9999.
        """
        if read is None or not self.moves:
            return None
        begun = view(self.value(read, now_ms))
        target = _target(numbers, begun, rises=self.name in _RISING)
        if target is None:
            return None
        place = rank_among(numbers, begun)

        def inside(at_ms: int) -> bool:
            return rank_among(numbers, view(self.value(read, at_ms))) == place

        last = self._most(read, LATEST_MS)
        if last > target * _SURELY:
            if inside(LATEST_MS):
                return None
            last = min(last, float(_VALUES[self.name](self, read, LATEST_MS)))
        guess = self._guess(read, target, now_ms, (float(begun), last))
        return first_outside(inside, now_ms, LATEST_MS, guess)

    def future(self, state: Any, now_ms: int) -> Iterator[tuple[int, Any]]:
        """Yield the value of the feature at ``now_ms``: time alone does not change it."""
        yield now_ms, history_of(state, now_ms)

    def _most(self, read: PurchaseHistory, at_ms: int) -> float:
        """Return a bound of the value before rounding, of one that falls; for ``churn_risk``, of 1 less it.

        A customer expects at most the orders of one who is never lost, which are worth most undiscounted.
        """
        buying, past = self.buying, _past(read, at_ms)
        if buying is None:
            return inf
        alive = buying.p_alive(past)
        if self.name in _PROBABILITIES:
            return alive
        most = alive * (buying.r + past.repeats) * _DAYS[self.name] / (buying.alpha + past.age)
        return most * _order_value(self, read, at_ms) if self.spending is not None else most

    def _guess(self, read: PurchaseHistory, target: float, now_ms: int, ends: tuple[float, float]) -> int:
        """Return about when the score reaches ``target``: log-odds and logarithms fall with that of time.

        ``ends`` are about the score at ``now_ms``, and at the end.
        """
        of_probability = self.name in _PROBABILITIES
        straight = log_odds if of_probability else _log
        scale_ms = self.buying.alpha * DAY_MS if self.buying is not None else DAY_MS
        begin_ms = scale_ms + now_ms - read.first_day * DAY_MS
        latest = log((LATEST_MS - now_ms + begin_ms) / begin_ms)

        def at_ms(log_time: float) -> int:
            return now_ms + int(begin_ms * (exp(min(max(log_time, 0.0), latest)) - 1))

        def of(log_time: float) -> float:
            if of_probability:
                return -_log_odds_lost(self, read, at_ms(log_time))
            return _log(_VALUES[self.name](self, read, at_ms(log_time)))

        known = (of(0.0), of(latest)) if of_probability else (_log(ends[0]), _log(ends[1]))
        return at_ms(guess_crossing(of, straight(target), latest, known, 1 / begin_ms))


def history_of(state: Any, now_ms: int) -> PurchaseHistory | None:
    """Return what scores of orders read of the state of their feature."""
    found: PurchaseHistory | None = _ORDERS.read(state, now_ms)
    return found


_ORDERS: Final = LifetimeOrders(Purchases(LIFETIME_MS))


def numbers_in(tests: Iterable[Predicate]) -> list[Any]:
    """Return the sorted numbers at which predicates may change their verdicts."""
    operands = (operand for test in tests for _, operand in test.ops)
    each = (one for operand in operands for one in (operand if operand.__class__ is tuple else (operand,)))
    return sorted({one for one in each if kind(one) == "number"})


def rank_among(numbers: Sequence[Any], value: Any) -> int:
    """Return where a value is among sorted numbers: even between two of them, odd on one."""
    return bisect_left(numbers, value) + bisect_right(numbers, value)


def _target(numbers: Sequence[Any], value: Any, *, rises: bool) -> float | None:
    """Return the value before rounding at which the place among the numbers changes; None without one.

    A score that ``rises`` is 1 less one that falls, and the value returned is that of the latter.
    """
    left, right = bisect_left(numbers, value), bisect_right(numbers, value)
    at, sign = (left, -1) if right > left else (left, 1) if rises else (left - 1, 1)
    if not 0 <= at < len(numbers):
        return None
    number = float(numbers[at])
    return (1 - number if rises else number) + sign * _HALF


def _log(value: float) -> float:
    return log(max(value, 1e-300))


# -- values ------------------------------------------------------------------------------------------------


def _past(read: PurchaseHistory, now_ms: int) -> History:
    return History(read.repeats, read.last, read.age(now_ms))


def _p_alive(score: Any, read: PurchaseHistory, now_ms: int) -> float:
    found: float = score.buying.p_alive(_past(read, now_ms))
    return found


def _log_odds_lost(score: Any, read: PurchaseHistory, now_ms: int) -> float:
    found: float = score.buying.log_odds_lost(_past(read, now_ms))
    return found


def _churn_risk(score: Any, read: PurchaseHistory, now_ms: int) -> float:
    return 1 - round(_p_alive(score, read, now_ms), DECIMALS)


def _expected(score: Any, read: PurchaseHistory, now_ms: int, *, days: int) -> float:
    found: float = score.buying.expected_orders(_past(read, now_ms), days)
    return found


def _order_value(score: Any, read: PurchaseHistory, _now_ms: int) -> float:
    orders, total = read.spent()
    found: float = score.spending.expected_order_value(orders, float(total) / orders if orders else 0.0)
    return found


def _lifetime(score: Any, read: PurchaseHistory, now_ms: int, *, days: int) -> float:
    value, monthly = _order_value(score, read, now_ms), _monthly(score.discount)
    return lifetime_value(score.buying, _past(read, now_ms), value, days=days, monthly_discount=monthly)


def _monthly(discount: float) -> float:
    """Return the discount of a month from that of a year."""
    monthly: float = (1 + discount) ** (1 / _MONTHS) - 1
    return monthly


def _next_order_at(score: Any, read: PurchaseHistory, _now_ms: int) -> str | None:
    """Return the last day with orders and the expected gap: the mean of the customer's own, shrunk to all's.

    Gaps are exponential with a rate that is gamma distributed among customers, with ``shape`` and ``scale``
    (in days). After n gaps of t days together its posterior has shape + n and scale + t, so the mean gap is
    (scale + t) / (shape + n - 1): that of all customers without a gap, the customer's own with many.
    """
    if score.gaps is None:
        return None
    days = (score.gaps.scale + read.last) / (score.gaps.shape + read.repeats - 1)
    at_ms = read.last_day * DAY_MS + days * DAY_MS
    return format_instant(int(at_ms)) if at_ms <= LATEST_MS else None


#: Score -> its value before rounding.
_VALUES: Final[dict[str, Callable[[Any, PurchaseHistory, int], Any]]] = {
    "p_alive": _p_alive,
    "churn_risk": _churn_risk,
    **{f"expected_orders_{days}d": partial(_expected, days=days) for days in (30, 90, 365)},
    "next_order_at": _next_order_at,
    "average_order_value_expected": _order_value,
    **{f"ltv_{days}d": partial(_lifetime, days=days) for days in (90, 365)},
}
_CONSTANT: Final = ("next_order_at", "average_order_value_expected")
_MOVING: Final = frozenset(_VALUES) - frozenset(_CONSTANT)
_RISING: Final = frozenset(("churn_risk",))
_PROBABILITIES: Final = frozenset(("p_alive", "churn_risk"))
#: The days of the scores of a time to come.
_DAYS: Final = {name: int(name[:-1].rsplit("_", 1)[1]) for name in _MOVING - _PROBABILITIES}
