"""The orders that RFM reads: the time of the last one, and the number and net revenue of those in a period.

An order counts once per ``order_id``: of two orders of the period with one id, the earlier is valid.
Statements about an order (refunds, updates, a cancellation) name its id, and count whether they arrive before
or after the order. They are dropped when the order leaves the period; statements about an unknown order are
kept for a period. Of refunds with one ``refund_id`` the earliest is valid, in any order of arrival.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator
from decimal import Decimal
from functools import reduce
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

import msgspec
from xxhash import xxh3_64_intdigest

from segops.core.events import Event
from segops.core.features.states import Order, Orders
from segops.core.values import MAX_MS, add_exact, exact, kind, subtract_exact

#: Event -> the list of the state that keeps it, and the properties that may have its amount.
_EVENTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Order Completed": ("orders", ("revenue", "total")),
    "Order Refunded": ("refunds", ("total", "revenue")),
    "Order Updated": ("updates", ("revenue", "total")),
    "Order Cancelled": ("cancellations", ()),
}
ORDER_NAMES = tuple(_EVENTS)
ORDER_NAME = "Order Completed"
#: The kind of a feature that reads other events as orders: each counts, with the amount at ``path``.
ACTIONS = "actions"
#: The number of latest orders kept per profile, and of statements of each kind.
MAX_ORDERS = 4_096

ZERO = Decimal(0)
_REFUNDS = ("refunds", "whole_refunds")
#: The statements that change an order's revenue; those of one instant apply in this order.
_PRICED = ("updates", *_REFUNDS)
_STATEMENTS = (*_PRICED, "cancellations")
_UPDATE, _REFUND = 0, 1  # indexes in _PRICED
_time_of = attrgetter("time_ms")


class Purchases(msgspec.Struct, frozen=True):
    """The orders that RFM reads: those of ``period_ms``, in ``currency`` if they name one (None: any)."""

    period_ms: int
    currency: str | None = None


class PurchaseTotals(NamedTuple):
    """The values of RFM: the time of the last order, and number and net revenue of those in the period."""

    last_ms: int | None
    orders: int
    net: Decimal


class OrderStatement(NamedTuple):
    """The content of one event: the list of ``Orders`` that keeps it, and its row there without the time."""

    part: str
    order_id: str
    amount: Decimal = ZERO
    key: int = 0


class OrdersReducer:
    """Updates and reads ``Orders``. An event's value is its ``OrderStatement``."""

    def __init__(self, purchases: Purchases) -> None:
        self.period_ms = purchases.period_ms

    def add(self, state: Orders | None, time_ms: int, value: OrderStatement, now_ms: int) -> Orders | None:
        state = Orders(-MAX_MS, [], [], -MAX_MS) if state is None else state
        self.expire(state, now_ms)
        row = Order(time_ms, value.order_id, value.amount, value.key)
        if value.part == "orders":
            changed = self._add_order(state, row, now_ms)
        else:
            changed = self._add_statement(state, value.part, row, now_ms)
        if not changed:
            return None
        self.expire(state, now_ms)
        return state

    def _add_order(self, state: Orders, row: Order, now_ms: int) -> bool:
        """Add an order, unless it is a later copy of a known one; return whether the state has changed."""
        again = (at for at, order in enumerate(state.orders) if order.order_id == row.order_id)
        at = next(again, None) if row.order_id else None
        if at is not None:
            later_ms = state.orders[at].time_ms - row.time_ms
            if not 0 < later_ms < self.period_ms:
                return False
            del state.orders[at]
        elif row.time_ms <= now_ms - self.period_ms and not self._is_cancelled(state, row):
            state.gone_ms = max(row.time_ms, _gone(state))  # keep the statements: the id may be used again
            return True
        insert(state.orders, row)
        return True

    def _is_cancelled(self, state: Orders, order: Order) -> bool:
        until_ms = order.time_ms + self.period_ms
        return any(row.order_id == order.order_id and row.time_ms < until_ms for row in state.cancellations)

    def expire(self, state: Orders, now_ms: int) -> None:
        """Drop orders and statements that have left the period, and set the time of the last order."""
        orders, after_ms = state.orders, now_ms - self.period_ms
        leaving = max(bisect_right(orders, after_ms, key=_time_of), len(orders) - MAX_ORDERS, 0)
        gone_ms = max(_gone(state), _last(state, orders[:leaving]))
        left = {order.order_id for order in orders[:leaving]}
        del orders[:leaving]
        if any(getattr(state, part) for part in _STATEMENTS):
            self._expire_statements(state, left, now_ms)
        state.gone_ms, state.last_ms = gone_ms, max(gone_ms, _last(state, orders))

    def _expire_statements(self, state: Orders, left: set[str], now_ms: int) -> None:
        known = _known(state)
        for part in _STATEMENTS:
            rows = [
                row
                for row in getattr(state, part)
                if row.time_ms > known.get(row.order_id, now_ms) - self.period_ms
                and (row.order_id in known or row.order_id not in left)
            ]
            setattr(state, part, rows[-MAX_ORDERS:])

    def _add_statement(self, state: Orders, part: str, row: Order, now_ms: int) -> bool:
        """Add a statement, unless it has expired or an earlier copy is known; return whether it was added."""
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

    def merged(
        self,
        mine: Orders,
        theirs: Orders,
        merge_rows: Callable[[list[Order], list[Order]], list[Order]],
        now_ms: int,
    ) -> Orders:
        """Return the merged state of two profiles; ``merge_rows`` sorts rows of both, each message once."""
        gone_ms = max(_gone(mine), _gone(theirs))
        state = Orders(-MAX_MS, self._unique(merge_rows(mine.orders, theirs.orders)), [], gone_ms)
        for part in _STATEMENTS:
            for row in merge_rows(getattr(mine, part), getattr(theirs, part)):
                self._add_statement(state, part, row, now_ms)
        self.expire(state, now_ms)
        return state

    def united(self, states: Collection[Orders], now_ms: int) -> Orders:
        """Return the state of the orders of all these states, which have no ``order_id`` in common."""
        state = Orders(-MAX_MS, [], [], max(map(_gone, states)))
        for part in ("orders", *_STATEMENTS):
            rows = chain.from_iterable(getattr(each, part) for each in states)
            setattr(state, part, sorted(rows, key=_time_of))
        self.expire(state, now_ms)
        return state

    def _unique(self, rows: list[Order]) -> list[Order]:
        """Return the orders without later copies in the period."""
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
        orders = valid_orders(state, state.orders[begin:])
        revenues = net_revenues(state, orders)
        last_ms = state.last_ms if state.last_ms > -MAX_MS else None
        at, net = now_ms, reduce(add_exact, revenues, ZERO)
        for left, order in enumerate(orders):
            if order.time_ms + self.period_ms != at:
                yield at, PurchaseTotals(last_ms, len(revenues) - left, net)
            at, net = order.time_ms + self.period_ms, subtract_exact(net, revenues[left])
        yield at, PurchaseTotals(last_ms, 0, net)


def insert(rows: list[Order], row: Order) -> None:
    """Insert a row by time, after rows of the same time."""
    rows.insert(bisect_right(rows, row.time_ms, key=_time_of), row)


def _gone(state: Orders) -> int:
    """Return the time of the last order that is no longer kept, inferred for states of earlier versions."""
    if state.gone_ms is not None:
        return state.gone_ms
    latest_ms = state.orders[-1].time_ms if state.orders else -MAX_MS
    return state.last_ms if state.last_ms > latest_ms else -MAX_MS


def valid_orders(state: Orders, orders: list[Order]) -> list[Order]:
    """Return the orders that are not cancelled."""
    if not state.cancellations:
        return orders
    cancelled = {row.order_id for row in state.cancellations}
    return [order for order in orders if order.order_id not in cancelled]


def _last(state: Orders, orders: list[Order]) -> int:
    valid = valid_orders(state, orders)
    return valid[-1].time_ms if valid else -MAX_MS


def _known(state: Orders) -> dict[str, int]:
    """Map the id of each kept order to its time."""
    return {order.order_id: order.time_ms for order in state.orders}


def _precedence(part: str, row: Order) -> tuple[int, bool, Decimal]:
    """Return a sort key: the least copy is valid: the earliest, then a stated amount, then the larger one."""
    return row.time_ms, part == "whole_refunds", -row.amount


def net_revenues(state: Orders, orders: list[Order]) -> list[Decimal]:
    """Return the net revenue of each order."""
    found: dict[str, list[tuple[int, int, Decimal]]] = {}
    for rank, part in enumerate(_PRICED):
        for row in getattr(state, part):
            found.setdefault(row.order_id, []).append((row.time_ms, rank, row.amount))
    if not found:
        return [order.amount for order in orders]
    return [_net_revenue(order, found.get(order.order_id, ()) if order.order_id else ()) for order in orders]


def _net_revenue(order: Order, statements: Iterable[tuple[int, int, Decimal]]) -> Decimal:
    """Return the latest amount of an order less its refunds, which cannot exceed the amount."""
    amount, refunded = order.amount, ZERO
    for time_ms, rank, value in sorted(statements, key=itemgetter(0, 1)):
        if rank == _UPDATE:
            amount = value if time_ms >= order.time_ms else amount
        else:
            refunded = add_exact(refunded, value) if rank == _REFUND else max(refunded, amount)
    return max(subtract_exact(amount, refunded), min(amount, ZERO)) if refunded else amount


def statement_of(event: Event, currency: str | None) -> OrderStatement | None:
    """Return the statement of an event about an order; None if it names no order or has no effect.

    Raises ValueError for an amount that is not a number, or in another currency.
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


def action_of(value: Any, currency: Any, purchases: Purchases) -> OrderStatement:
    """Return the statement of an event that counts as an order, by its amount and its currency, if any.

    Raises ValueError for an amount that is not a number, or in another currency.
    """
    if value is None:
        return OrderStatement("orders", "")
    if kind(value) != "number":
        raise ValueError(f"expected an amount that is a number, got {value!r}")
    if purchases.currency is not None and currency not in (None, purchases.currency):
        raise ValueError(f"expected an amount in {purchases.currency}, got one in {currency!r}")
    return OrderStatement("orders", "", exact(value))


def _amount(properties: dict[str, Any], names: tuple[str, ...], currency: str | None) -> Decimal | None:
    """Return the first of the properties that has a value; a refund may be a negative number."""
    written = properties.get("currency")
    if names and currency is not None and written is not None and written != currency:
        raise ValueError(f"expected an amount in {currency}, got one in {written!r}")
    value = next((properties[name] for name in names if properties.get(name) is not None), None)
    if value is not None and kind(value) != "number":
        raise ValueError(f"expected an amount that is a number, got {value!r}")
    return None if value is None else exact(value)


def _text(value: Any) -> str:
    """Return an id as a string; 7 and 7.0 are the same id."""
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
