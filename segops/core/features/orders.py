"""What RFM reads of a customer's orders: the last one, how many in a period, and their net revenue.

An order counts once per ``order_id``: one with an id that an order of the period has is that order again, the
earlier of the two stands. What is said of an order (refunds, updates, a cancellation) names it, and counts
whichever of the two arrives first. It goes with the order, when that leaves the period; what is said of an
order that is not known is kept for a period. Of refunds with one ``refund_id`` the earliest stands, whichever
arrives first.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from functools import reduce
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

import msgspec
from xxhash import xxh3_64_intdigest

from segops.core.events import Event
from segops.core.features.states import Order, Orders
from segops.core.values import MAX_MS, add_exact, exact, kind, subtract_exact

#: Event -> the part of the state that it is kept in, and the properties that may have its amount.
_EVENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Order Completed": ("orders", ("revenue", "total")),
    "Order Refunded": ("refunds", ("total", "revenue")),
    "Order Updated": ("updates", ("revenue", "total")),
    "Order Cancelled": ("cancellations", ()),
}
ORDER_NAMES = tuple(_EVENTS)
ORDER_NAME = "Order Completed"
#: At most this many of the latest orders are kept for one profile, and of each kind of what is said of them.
MAX_ORDERS = 4_096

ZERO = Decimal(0)
_REFUNDS = ("refunds", "whole_refunds")
#: What is said of an order's price; of one instant in this order.
_PRICED = ("updates", *_REFUNDS)
_SAID = (*_PRICED, "cancellations")
_UPDATE, _REFUND = 0, 1  # their places among _PRICED
_time_of = attrgetter("time_ms")


class Purchases(msgspec.Struct, frozen=True):
    """Which orders RFM looks at: those of ``period_ms``, in ``currency`` where they name one (None: any)."""

    period_ms: int
    currency: str | None = None


class PurchaseTotals(NamedTuple):
    """RFM's three figures: when the last order was, and number and net revenue of those in the period."""

    last_ms: int | None
    orders: int
    net: Decimal


class OrderStatement(NamedTuple):
    """What one event says: the part of ``Orders`` that it is kept in, and the rest of its row there."""

    part: str
    order_id: str
    amount: Decimal = ZERO
    key: int = 0


class OrdersReducer:
    """The value of an event is what it says, ``OrderStatement``."""

    def __init__(self, purchases: Purchases) -> None:
        self.period_ms = purchases.period_ms

    def add(self, state: Orders | None, time_ms: int, value: OrderStatement, now_ms: int) -> Orders | None:
        state = Orders(-MAX_MS, [], [], -MAX_MS) if state is None else state
        self.forget(state, now_ms)
        row = Order(time_ms, value.order_id, value.amount, value.key)
        of_order = value.part == "orders"
        if not (self._order(state, row, now_ms) if of_order else self._say(state, value.part, row, now_ms)):
            return None
        self.forget(state, now_ms)
        return state

    def _order(self, state: Orders, row: Order, now_ms: int) -> bool:
        """Put in an order, unless it is a later copy of one that is there."""
        again = (at for at, order in enumerate(state.orders) if order.order_id == row.order_id)
        at = next(again, None) if row.order_id else None
        if at is not None:
            later_ms = state.orders[at].time_ms - row.time_ms
            if not 0 < later_ms < self.period_ms:
                return False
            del state.orders[at]
        elif row.time_ms <= now_ms - self.period_ms and not self._is_cancelled(state, row):
            state.gone_ms = max(row.time_ms, _gone(state))  # what is said of another one of this id stays
            return True
        insert(state.orders, row)
        return True

    def _is_cancelled(self, state: Orders, order: Order) -> bool:
        until_ms = order.time_ms + self.period_ms
        return any(row.order_id == order.order_id and row.time_ms < until_ms for row in state.cancellations)

    def forget(self, state: Orders, now_ms: int) -> None:
        """Drop what has left the period, and set the time of the last order."""
        orders, after_ms = state.orders, now_ms - self.period_ms
        leaving = max(bisect_right(orders, after_ms, key=_time_of), len(orders) - MAX_ORDERS, 0)
        gone_ms = max(_gone(state), _last(state, orders[:leaving]))
        left = {order.order_id for order in orders[:leaving]}
        del orders[:leaving]
        if any(getattr(state, part) for part in _SAID):
            self._forget_said(state, left, now_ms)
        state.gone_ms, state.last_ms = gone_ms, max(gone_ms, _last(state, orders))

    def _forget_said(self, state: Orders, left: set[str], now_ms: int) -> None:
        known = _known(state)
        for part in _SAID:
            rows = [
                row
                for row in getattr(state, part)
                if row.time_ms > known.get(row.order_id, now_ms) - self.period_ms
                and (row.order_id in known or row.order_id not in left)
            ]
            setattr(state, part, rows[-MAX_ORDERS:])

    def _say(self, state: Orders, part: str, row: Order, now_ms: int) -> bool:
        """Note what is said of an order, unless that has expired or the same is said earlier."""
        if row.time_ms <= _known(state).get(row.order_id, now_ms) - self.period_ms:
            return False
        for other_part in _REFUNDS if part in _REFUNDS else (part,):
            rows: list[Order] = getattr(state, other_part)
            for at, other in enumerate(rows):
                if row.key and (other.key, other.order_id) == (row.key, row.order_id):
                    if _precedence(other_part, other) <= _precedence(part, row):
                        return False
                    del rows[at]
                    break
        insert(getattr(state, part), row)
        return True

    def joined(
        self,
        mine: Orders,
        theirs: Orders,
        join: Callable[[list[Order], list[Order]], list[Order]],
        now_ms: int,
    ) -> Orders:
        """The state of two profiles made one; ``join`` puts rows of both in order, each message once."""
        gone_ms = max(_gone(mine), _gone(theirs))
        state = Orders(-MAX_MS, self._once(join(mine.orders, theirs.orders)), [], gone_ms)
        for part in _SAID:
            for row in join(getattr(mine, part), getattr(theirs, part)):
                self._say(state, part, row, now_ms)
        self.forget(state, now_ms)
        return state

    def _once(self, rows: list[Order]) -> list[Order]:
        """Orders without later copies in the period of the same."""
        known: dict[str, int] = {}
        found = []
        for row in rows:
            if not row.order_id or row.time_ms - known.get(row.order_id, -MAX_MS) >= self.period_ms:
                known[row.order_id] = row.time_ms
                found.append(row)
        return found

    def read(self, state: Orders | None, now_ms: int) -> PurchaseTotals:
        return next(self.future(state, now_ms))[1]

    def future(self, state: Orders | None, now_ms: int) -> Iterator[tuple[int, PurchaseTotals]]:
        if state is None:
            yield now_ms, PurchaseTotals(None, 0, ZERO)
            return
        begin = bisect_right(state.orders, now_ms - self.period_ms, key=_time_of)
        orders = _standing(state, state.orders[begin:])
        worth = _worths(state, orders)
        last_ms = state.last_ms if state.last_ms > -MAX_MS else None
        at, net = now_ms, reduce(add_exact, worth, ZERO)
        for left, order in enumerate(orders):
            if order.time_ms + self.period_ms != at:
                yield at, PurchaseTotals(last_ms, len(worth) - left, net)
            at, net = order.time_ms + self.period_ms, subtract_exact(net, worth[left])
        yield at, PurchaseTotals(last_ms, 0, net)


def insert(rows: list[Order], row: Order) -> None:
    """Put a row in its place; of equal times the one that came last is last."""
    rows.insert(bisect_right(rows, row.time_ms, key=_time_of), row)


def _gone(state: Orders) -> int:
    """When the last order was that is no longer kept; of states that do not note it, as far as it shows."""
    if state.gone_ms is not None:
        return state.gone_ms
    latest_ms = state.orders[-1].time_ms if state.orders else -MAX_MS
    return state.last_ms if state.last_ms > latest_ms else -MAX_MS


def _standing(state: Orders, orders: list[Order]) -> list[Order]:
    """Those that are not cancelled."""
    if not state.cancellations:
        return orders
    cancelled = {row.order_id for row in state.cancellations}
    return [order for order in orders if order.order_id not in cancelled]


def _last(state: Orders, orders: list[Order]) -> int:
    standing = _standing(state, orders)
    return standing[-1].time_ms if standing else -MAX_MS


def _known(state: Orders) -> dict[str, int]:
    """The time of each order that is kept, by its id."""
    return {order.order_id: order.time_ms for order in state.orders}


def _precedence(part: str, row: Order) -> tuple[int, bool, Decimal]:
    """The least stands among repetitions: the earliest; of one time, a stated amount, and the greatest."""
    return row.time_ms, part == "whole_refunds", -row.amount


def _worths(state: Orders, orders: list[Order]) -> list[Decimal]:
    """The net revenue of each order."""
    said: dict[str, list[tuple[int, int, Decimal]]] = {}
    for rank, part in enumerate(_PRICED):
        for row in getattr(state, part):
            said.setdefault(row.order_id, []).append((row.time_ms, rank, row.amount))
    if not said:
        return [order.amount for order in orders]
    return [_worth(order, said.get(order.order_id, ()) if order.order_id else ()) for order in orders]


def _worth(order: Order, said: Iterable[tuple[int, int, Decimal]]) -> Decimal:
    """What is left of an order: its latest amount less its refunds, which take no more than there is."""
    amount, refunded = order.amount, ZERO
    for time_ms, rank, value in sorted(said, key=itemgetter(0, 1)):
        if rank == _UPDATE:
            amount = value if time_ms >= order.time_ms else amount
        else:
            refunded = add_exact(refunded, value) if rank == _REFUND else max(refunded, amount)
    return max(subtract_exact(amount, refunded), min(amount, ZERO)) if refunded else amount


def statement_of(event: Event, currency: str | None) -> OrderStatement | None:
    """What an event says of an order; None where that concerns none.

    Raises ValueError for an amount that is no number, or in another currency.
    """
    part, names = _EVENTS[event.name]
    properties = event.properties
    order_id = _text(properties.get("order_id"))
    amount = _amount(properties, names, currency)
    refund_id = _text(properties.get("refund_id")) if part == "refunds" else ""
    if part == "orders":
        return OrderStatement(part, order_id, ZERO if amount is None else amount)
    if not order_id or (part == "updates" and amount is None):
        return None
    identity = f"refund {refund_id}" if refund_id else f"message {event.message_id}"
    key = xxh3_64_intdigest(identity.encode())
    if part == "refunds":
        part = "whole_refunds" if amount is None else part
        amount = ZERO if amount is None else amount.copy_abs()
    return OrderStatement(part, order_id, amount or ZERO, key)


def _amount(properties: dict[str, Any], names: tuple[str, ...], currency: str | None) -> Decimal | None:
    """The first of some properties that has a value; a refund's may be written as a negative number."""
    written = properties.get("currency")
    if names and currency is not None and written is not None and written != currency:
        raise ValueError(f"expected an amount in {currency}, got one in {written!r}")
    value = next((properties[name] for name in names if properties.get(name) is not None), None)
    if value is not None and kind(value) != "number":
        raise ValueError(f"expected an amount that is a number, got {value!r}")
    return None if value is None else exact(value)


def _text(value: Any) -> str:
    """An id as text; 7 and 7.0 are one."""
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
