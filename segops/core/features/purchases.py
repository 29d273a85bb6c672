"""All orders of a customer as models of buying know them: the days with orders, and what was spent on them.

The state is that of ``orders`` with a period without end, so updates, refunds, cancellations and merges are
the same. Days are those of UTC, and the orders of one day are one order of their sum, as in ``segops fit``.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from functools import reduce
from typing import Any, Final

import msgspec

from segops.core.features.orders import ZERO, OrdersReducer, net_revenues, valid_orders
from segops.core.features.states import Order, Orders
from segops.core.values import add_exact

DAY_MS: Final = 86_400_000
#: The longest duration that rules may have: no order leaves such a period.
LIFETIME_MS: Final = 1_000_000_000_000_000


class PurchaseHistory(msgspec.Struct, frozen=True, gc=False):
    """The ``days`` with ``orders``: how many, the first and the last of them, each since 1970."""

    days: int
    first_day: int
    last_day: int
    orders: list[Order]
    state: Orders

    @property
    def repeats(self) -> int:
        """The number of days with orders after the first one."""
        return self.days - 1

    @property
    def last(self) -> float:
        """The days from the first day with orders to the last one."""
        return float(self.last_day - self.first_day)

    def age(self, now_ms: int) -> float:
        """Return the days since the beginning of the first day with orders."""
        return (now_ms - self.first_day * DAY_MS) / DAY_MS

    def spent(self) -> tuple[int, Decimal]:
        """Return how many days after the first one brought money, and how much together.

        The first day is left out, as the model of spending is fitted on customers who came back.
        """
        days: dict[int, Decimal] = {}
        for order, net in zip(self.orders, net_revenues(self.state, self.orders), strict=True):
            day = order.time_ms // DAY_MS
            days[day] = add_exact(days.get(day, ZERO), net)
        priced = [net for day, net in days.items() if day > self.first_day and net > 0]
        return len(priced), reduce(add_exact, priced, ZERO)


class LifetimeOrders(OrdersReducer):
    """Updates ``Orders`` like RFM, and reads them as a ``PurchaseHistory``; None without an order."""

    def read(self, state: Orders | None, _now_ms: int) -> Any:
        orders = [] if state is None else valid_orders(state, state.orders)
        if state is None or not orders:
            return None
        days = {order.time_ms // DAY_MS for order in orders}
        first, last = orders[0].time_ms // DAY_MS, orders[-1].time_ms // DAY_MS
        return PurchaseHistory(len(days), first, last, orders, state)

    def future(self, state: Orders | None, now_ms: int) -> Iterator[tuple[int, Any]]:
        yield now_ms, self.read(state, now_ms)
