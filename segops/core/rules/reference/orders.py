"""RFM's three figures from all events of a profile, for the reference evaluator.

Events are applied in order of arrival: an order that has already left the period can neither be repeated by
a new order nor be refunded.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

from segops.core.events import Event
from segops.core.features.orders import Purchases
from segops.core.rules.reference.history import History
from segops.core.rules.reference.values import exact, is_number, value_at
from segops.core.scoring.rfm import Actions

_AMOUNTS = {
    "Order Completed": ("revenue", "total"),
    "Order Updated": ("revenue", "total"),
    "Order Refunded": ("total", "revenue"),
    "Order Cancelled": (),
}


class Figures(NamedTuple):
    """The time of the last order (None: never), and number and net revenue of the orders in the period."""

    last_ms: int | None
    orders: int
    net: Fraction


class _Statement(NamedTuple):
    """An event about an order: the order id, the amount if any, and the identity that repetitions share."""

    name: str
    time_ms: int
    order_id: str
    amount: Fraction | None
    identity: tuple[str, str]


class _Book(NamedTuple):
    """The orders of the period, the statements about orders, and the times of orders that have left."""

    orders: list[_Statement]
    about: list[_Statement]
    gone: list[int]


def figures(history: History, now_ms: int, *, period_ms: int, currency: str | None = None) -> Figures:
    """Return the figures at ``now_ms``."""
    book, standing = _not_cancelled(history, period_ms, currency)
    alive = [order for order in standing if order.time_ms > now_ms - period_ms]
    net = sum((_worth(order, book.about) for order in alive), Fraction(0))
    last_ms = max([*(order.time_ms for order in standing), *book.gone], default=None)
    return Figures(last_ms, len(alive), net)


def lifetime_orders(history: History, currency: str | None) -> list[tuple[int, Fraction]]:
    """Return the time and the net amount of every order that was not cancelled."""
    book, standing = _not_cancelled(history, 10**15, currency)
    return [(order.time_ms, _worth(order, book.about)) for order in standing]


def _not_cancelled(history: History, period_ms: int, currency: str | None) -> tuple[_Book, list[_Statement]]:
    """Return all that is known of orders, and those that are not cancelled."""
    book = _Book([], [], [])
    for event, at_ms in history.arrivals():
        statement = _statement(event, currency)
        if statement is not None:
            book = _without_expired(book, at_ms, period_ms)
            book = _taken(book, statement, at_ms, period_ms)
            book = _without_expired(book, at_ms, period_ms)
    return book, [order for order in book.orders if not _cancelled(order, book.about)]


def action_figures(history: History, now_ms: int, actions: Actions, purchases: Purchases) -> Figures:
    """Return the figures of the events that a named grid counts, at ``now_ms``."""
    counted: list[tuple[int, Fraction]] = []
    for event in history.events:
        selected = event.name in actions.names
        if not selected or not all(test.holds(value_at(event, path), now_ms) for path, test in actions.where):
            continue
        amount = None if actions.amount is None else value_at(event, actions.amount)
        named = event.properties.get("currency")
        foreign = purchases.currency is not None and named not in (None, purchases.currency)
        if amount is None:
            counted.append((event.time_ms, Fraction(0)))
        elif is_number(amount) and not foreign:
            counted.append((event.time_ms, exact(amount)))
    inside = [amount for time_ms, amount in counted if time_ms > now_ms - purchases.period_ms]
    last_ms = max((time_ms for time_ms, _ in counted), default=None)
    return Figures(last_ms, len(inside), sum(inside, Fraction(0)))


def _statement(event: Event, currency: str | None) -> _Statement | None:
    names = _AMOUNTS.get(event.name)
    if names is None:
        return None
    found = [event.properties[name] for name in names if event.properties.get(name) is not None]
    foreign = currency is not None and event.properties.get("currency") not in (None, currency)
    if (names and foreign) or (found and not is_number(found[0])):
        return None
    amount = exact(found[0]) if found else None
    order_id = _id(event.properties.get("order_id"))
    refund_id = _id(event.properties.get("refund_id")) if event.name == "Order Refunded" else ""
    identity = ("refund", refund_id) if refund_id else ("message", event.message_id)
    idle = event.name == "Order Updated" and amount is None
    if event.name != "Order Completed" and (idle or not order_id):
        return None
    return _Statement(event.name, event.time_ms, order_id, amount, identity)


def _id(value: Any) -> str:
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, float) and value == int(value) else str(value)


def _taken(book: _Book, statement: _Statement, at_ms: int, period_ms: int) -> _Book:
    if statement.name != "Order Completed":
        return book._replace(about=_with(book, statement, at_ms, period_ms))
    same = [order for order in book.orders if statement.order_id and order.order_id == statement.order_id]
    if any(not 0 < order.time_ms - statement.time_ms < period_ms for order in same):
        return book
    others = [order for order in book.orders if order not in same]
    sooner = [other for other in book.about if other.time_ms < statement.time_ms + period_ms]
    late = not same and statement.time_ms <= at_ms - period_ms
    if late and not _cancelled(statement, sooner):
        return book._replace(gone=[*book.gone, statement.time_ms])
    # A late order that is cancelled expires at once, with its cancellation, as if it had arrived in time.
    return book._replace(orders=[*others, statement])


def _with(book: _Book, statement: _Statement, at_ms: int, period_ms: int) -> list[_Statement]:
    """Return the statements with one more; of repetitions, the earliest counts."""
    ordered = [order.time_ms for order in book.orders if order.order_id == statement.order_id]
    if statement.time_ms <= max(ordered, default=at_ms) - period_ms:
        return book.about
    repeated = statement.name, statement.order_id, statement.identity
    same = [other for other in book.about if (other.name, other.order_id, other.identity) == repeated]
    others = [other for other in book.about if other not in same]
    return [*others, min([*same, statement], key=_precedence)]


def _precedence(statement: _Statement) -> tuple[int, bool, Fraction]:
    return statement.time_ms, statement.amount is None, -abs(statement.amount or Fraction(0))


def _without_expired(book: _Book, at_ms: int, period_ms: int) -> _Book:
    alive = [order for order in book.orders if order.time_ms > at_ms - period_ms]
    expired = [order for order in book.orders if order not in alive]
    known = {order.order_id: order.time_ms for order in alive}
    ended = {order.order_id for order in expired} - known.keys()
    about = [
        statement
        for statement in book.about
        if statement.order_id not in ended
        and statement.time_ms > known.get(statement.order_id, at_ms) - period_ms
    ]
    gone = [order.time_ms for order in expired if not _cancelled(order, book.about)]
    return _Book(alive, about, [*book.gone, *gone])


def _cancelled(order: _Statement, about: list[_Statement]) -> bool:
    return any(
        statement.name == "Order Cancelled" and statement.order_id == order.order_id for statement in about
    )


def _worth(order: _Statement, about: list[_Statement]) -> Fraction:
    """Return the net amount: refunds apply in order of time, each at the price of that time."""
    own = [statement for statement in about if statement.order_id == order.order_id and order.order_id]
    refunds = sorted(
        (statement for statement in own if statement.name == "Order Refunded"),
        key=lambda s: (s.time_ms, s.amount is None),
    )
    refunded = Fraction(0)
    for refund in refunds:
        if refund.amount is None:
            refunded = max(refunded, _price(order, own, refund.time_ms))
        else:
            refunded += abs(refund.amount)
    price = _price(order, own, None)
    return price if not refunded else max(price - refunded, min(price, Fraction(0)))


def _price(order: _Statement, own: list[_Statement], until_ms: int | None) -> Fraction:
    """Return the amount of the order, or of its latest update up to an instant."""
    updates = [
        statement
        for statement in own
        if statement.name == "Order Updated"
        and statement.time_ms >= order.time_ms
        and (until_ms is None or statement.time_ms <= until_ms)
    ]
    latest = sorted(updates, key=lambda statement: statement.time_ms)[-1:]
    return (latest or [order])[0].amount or Fraction(0)
