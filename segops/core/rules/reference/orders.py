"""RFM's three figures from all events that a customer ever sent, for the slow and obvious evaluator.

The events are gone through as they arrived, since what has left the period by then is not what a new order
repeats, nor what a refund can be of.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

from segops.core.events import Event
from segops.core.rules.reference.history import History
from segops.core.rules.reference.values import exact, is_number

_AMOUNTS = {
    "Order Completed": ("revenue", "total"),
    "Order Updated": ("revenue", "total"),
    "Order Refunded": ("total", "revenue"),
    "Order Cancelled": (),
}


class Figures(NamedTuple):
    """When the last order was (None: never), and number and net revenue of the orders in the period."""

    last_ms: int | None
    orders: int
    net: Fraction


class _Said(NamedTuple):
    """An event, the order that it names, its amount if it has one, and what tells it from a repetition."""

    name: str
    time_ms: int
    order_id: str
    amount: Fraction | None
    identity: tuple[str, str]


class _Book(NamedTuple):
    """The orders of the period, what is said of orders, and the times of orders that are not kept."""

    orders: list[_Said]
    about: list[_Said]
    gone: list[int]


def figures(history: History, now_ms: int, *, period_ms: int, currency: str | None = None) -> Figures:
    """The figures at ``now_ms``."""
    book = _Book([], [], [])
    for event, at_ms in history.arrivals():
        said = _said(event, currency)
        if said is not None:
            book = _without_expired(book, at_ms, period_ms)
            book = _taken(book, said, at_ms, period_ms)
            book = _without_expired(book, at_ms, period_ms)
    standing = [order for order in book.orders if not _cancelled(order, book.about)]
    alive = [order for order in standing if order.time_ms > now_ms - period_ms]
    net = sum((_worth(order, book.about) for order in alive), Fraction(0))
    last_ms = max([*(order.time_ms for order in standing), *book.gone], default=None)
    return Figures(last_ms, len(alive), net)


def _said(event: Event, currency: str | None) -> _Said | None:
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
    return _Said(event.name, event.time_ms, order_id, amount, identity)


def _id(value: Any) -> str:
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, float) and value == int(value) else str(value)


def _taken(book: _Book, said: _Said, at_ms: int, period_ms: int) -> _Book:
    if said.name != "Order Completed":
        return book._replace(about=_with(book, said, at_ms, period_ms))
    same = [order for order in book.orders if said.order_id and order.order_id == said.order_id]
    if any(not 0 < order.time_ms - said.time_ms < period_ms for order in same):
        return book
    others = [order for order in book.orders if order not in same]
    sooner = [other for other in book.about if other.time_ms < said.time_ms + period_ms]
    late = not same and said.time_ms <= at_ms - period_ms
    if late and not _cancelled(said, sooner):
        return book._replace(gone=[*book.gone, said.time_ms])
    # A late one that is cancelled leaves at once, and its cancellation with it, as if it had come in time.
    return book._replace(orders=[*others, said])


def _with(book: _Book, said: _Said, at_ms: int, period_ms: int) -> list[_Said]:
    """What is said of orders with one more; of repetitions the earliest stands."""
    ordered = [order.time_ms for order in book.orders if order.order_id == said.order_id]
    if said.time_ms <= max(ordered, default=at_ms) - period_ms:
        return book.about
    repeated = said.name, said.order_id, said.identity
    same = [other for other in book.about if (other.name, other.order_id, other.identity) == repeated]
    others = [other for other in book.about if other not in same]
    return [*others, min([*same, said], key=_precedence)]


def _precedence(said: _Said) -> tuple[int, bool, Fraction]:
    return said.time_ms, said.amount is None, -abs(said.amount or Fraction(0))


def _without_expired(book: _Book, at_ms: int, period_ms: int) -> _Book:
    alive = [order for order in book.orders if order.time_ms > at_ms - period_ms]
    expired = [order for order in book.orders if order not in alive]
    known = {order.order_id: order.time_ms for order in alive}
    ended = {order.order_id for order in expired} - known.keys()
    about = [
        said
        for said in book.about
        if said.order_id not in ended and said.time_ms > known.get(said.order_id, at_ms) - period_ms
    ]
    gone = [order.time_ms for order in expired if not _cancelled(order, book.about)]
    return _Book(alive, about, [*book.gone, *gone])


def _cancelled(order: _Said, about: list[_Said]) -> bool:
    return any(said.name == "Order Cancelled" and said.order_id == order.order_id for said in about)


def _worth(order: _Said, about: list[_Said]) -> Fraction:
    """The price at each refund, in the order of their times, decides what is left then."""
    own = [said for said in about if said.order_id == order.order_id and order.order_id]
    refunds = sorted(
        (said for said in own if said.name == "Order Refunded"), key=lambda s: (s.time_ms, s.amount is None)
    )
    refunded = Fraction(0)
    for refund in refunds:
        if refund.amount is None:
            refunded = max(refunded, _price(order, own, refund.time_ms))
        else:
            refunded += abs(refund.amount)
    price = _price(order, own, None)
    return price if not refunded else max(price - refunded, min(price, Fraction(0)))


def _price(order: _Said, own: list[_Said], until_ms: int | None) -> Fraction:
    """The amount of the order, or of its latest update up to an instant."""
    updates = [
        said
        for said in own
        if said.name == "Order Updated"
        and said.time_ms >= order.time_ms
        and (until_ms is None or said.time_ms <= until_ms)
    ]
    latest = sorted(updates, key=lambda said: said.time_ms)[-1:]
    return (latest or [order])[0].amount or Fraction(0)
