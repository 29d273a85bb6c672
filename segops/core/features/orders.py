"""What RFM reads of a customer's orders: the last one, how many in a period, and their net revenue.

An order counts once per ``order_id``. A refund takes its amount off the order that it names, once, and
lies in the period as long as that order does, whichever of the two arrived first.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from decimal import Decimal
from functools import reduce
from typing import Any, NamedTuple

import msgspec

from segops.core.features.states import Order, Orders
from segops.core.values import MAX_MS, add_exact, subtract_exact

ORDER_NAME = "Order Completed"
REFUND_NAME = "Order Refunded"
#: At most this many of the latest orders are kept for one profile.
MAX_ORDERS = 4_096


class Purchases(msgspec.Struct, frozen=True):
    """Which orders RFM looks at: those of ``period_ms``, in ``currency`` where they name one (None: any)."""

    period_ms: int
    currency: str | None = None


class Bought(NamedTuple):
    """RFM's three figures: when the last order was, and number and net revenue of those in the period."""

    last_ms: int | None
    orders: int
    net: Decimal


class OrdersReducer:
    """The value of an event: whether it is a refund, its order_id, and its amount."""

    def __init__(self, purchases: Purchases) -> None:
        self.period_ms = purchases.period_ms

    def add(
        self, state: Orders | None, time_ms: int, value: tuple[bool, str, Decimal], now_ms: int
    ) -> Orders | None:
        refund, order_id, amount = value
        state = Orders(-MAX_MS, [], []) if state is None else state
        rows = state.refunds if refund else state.orders
        if order_id and any(row.order_id == order_id for row in rows):
            return None
        if not refund:
            state.last_ms = max(state.last_ms, time_ms)
        rows.insert(
            bisect_right(rows, time_ms, key=lambda row: row.time_ms), Order(time_ms, order_id, amount)
        )
        self._forget(state, now_ms)
        return state

    def _forget(self, state: Orders, now_ms: int) -> None:
        gone_ms = now_ms - self.period_ms
        gone = bisect_right(state.orders, gone_ms, key=lambda row: row.time_ms)
        del state.orders[: max(gone, len(state.orders) - MAX_ORDERS)]
        alive = {order.order_id for order in state.orders} if state.refunds else set()
        state.refunds = [r for r in state.refunds if r.time_ms > gone_ms or r.order_id in alive][-MAX_ORDERS:]

    def read(self, state: Orders | None, now_ms: int) -> Bought:
        return next(self.future(state, now_ms))[1]

    def future(self, state: Orders | None, now_ms: int) -> Iterator[tuple[int, Bought]]:
        if state is None:
            yield now_ms, Bought(None, 0, Decimal(0))
            return
        begin = bisect_right(state.orders, now_ms - self.period_ms, key=lambda row: row.time_ms)
        refunds = {refund.order_id: refund.amount for refund in state.refunds if refund.order_id}
        worth = [_worth(order, refunds) for order in state.orders[begin:]]
        last_ms = state.last_ms if state.last_ms > -MAX_MS else None
        at, net = now_ms, reduce(add_exact, worth, Decimal(0))
        for left, order in enumerate(state.orders[begin:]):
            if order.time_ms + self.period_ms != at:
                yield at, Bought(last_ms, len(worth) - left, net)
            at, net = order.time_ms + self.period_ms, subtract_exact(net, worth[left])
        yield at, Bought(last_ms, 0, net)


def _worth(order: Order, refunds: dict[str, Decimal]) -> Decimal:
    refund = refunds.get(order.order_id)
    return order.amount if refund is None else subtract_exact(order.amount, refund)


def order_value(
    properties: dict[str, Any], *, refund: bool, currency: str | None
) -> tuple[bool, str, Any] | None:
    """Refund or not, order_id and amount of an event; None if the amount is in another currency."""
    written = properties.get("currency")
    if currency is not None and written is not None and written != currency:
        return None
    names = ("total", "revenue") if refund else ("revenue", "total")
    amount = next((properties[name] for name in names if properties.get(name) is not None), 0)
    order_id = properties.get("order_id")
    return refund, "" if order_id is None else str(order_id), amount
