"""What the models are fitted on: one history per customer, from orders or from a table of histories."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from segops.core.scoring.buying import History

DAY_MS: Final = 86_400_000


class Order(NamedTuple):
    """An order; ``amount``: in the currency of all, None if it is not known."""

    customer: str
    at_ms: int
    amount: float | None


class Customer(msgspec.Struct, frozen=True, gc=False):
    """A customer's history, with the mean amount of ``priced`` orders after the first one.

    The first order is left out of the mean, as in the literature: the model of spending is fitted on
    customers who came back.
    """

    history: History
    priced: int
    mean: float


def histories(orders: Iterable[Order], until_ms: int) -> list[Customer]:
    """Return the customers who ordered until ``until_ms``, each with a history in days up to then.

    Orders of one day (UTC) are one order of their sum.

    >>> orders = [Order("u1", 0, 10.0), Order("u1", 10, 5.0), Order("u1", 2 * DAY_MS, 8.0)]
    >>> (found,) = histories(orders, 5 * DAY_MS)
    >>> found.history, found.priced, found.mean
    (History(repeats=1, last=2.0, age=5.0), 1, 8.0)
    """
    until = until_ms // DAY_MS
    known = ({day: amount for day, amount in of.items() if day <= until} for of in days_of(orders).values())
    return [_customer(of, until) for of in known if of]


def days_of(orders: Iterable[Order]) -> dict[str, dict[int, float | None]]:
    """Return the days (UTC, since 1970) with orders of each customer, and their amounts as far as known."""
    days: dict[str, dict[int, float | None]] = {}
    for customer, at_ms, amount in orders:
        of = days.setdefault(customer, {})
        day = at_ms // DAY_MS
        before = of.get(day, 0.0)
        of[day] = None if amount is None or before is None else before + amount
    return days


def _customer(amounts: dict[int, float | None], until: int) -> Customer:
    first, *others = sorted(amounts)
    last = others[-1] if others else first
    priced = [found for day in others if (found := amounts[day]) is not None and found > 0]
    history = History(len(others), float(last - first), float(until - first))
    return Customer(history, len(priced), sum(priced) / len(priced) if priced else 0.0)


class Distinct(NamedTuple):
    """Equal histories once each: repeats, last, age, and how many customers have them."""

    repeats: Sequence[int]
    last: Sequence[float]
    age: Sequence[float]
    customers: Sequence[int]


def distinct(found: Iterable[Customer]) -> Distinct:
    """Return the distinct histories: customers by the thousand share one."""
    counts: dict[tuple[int, float, float], int] = {}
    for each in found:
        key = (each.history.repeats, each.history.last, each.history.age)
        counts[key] = counts.get(key, 0) + 1
    rows = list(counts)
    return Distinct(
        [x for x, _, _ in rows], [t for _, t, _ in rows], [t for *_, t in rows], [*counts.values()]
    )
