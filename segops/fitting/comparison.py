"""What a model of buying foretold, beside what customers did afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from segops.core.scoring.buying import Buying, History
from segops.fitting.histories import DAY_MS, Order, days_of

#: Customers with so many orders after the first one, or more, are one group.
_MOST: Final = 7


class Group(msgspec.Struct, frozen=True):
    """Customers with the same number of orders after the first one: orders per customer, then."""

    repeats: int
    customers: int
    expected: float
    actual: float


class Comparison(msgspec.Struct, frozen=True):
    """Orders of the ``days`` that were held out: all that were expected, all that came, and by group."""

    days: int
    expected: float
    actual: int
    groups: list[Group]


def comparison(model: Buying, orders: Iterable[Order], until_ms: int, end_ms: int) -> Comparison:
    """Return what the model, fitted on orders until ``until_ms``, expects until ``end_ms``, and what came.

    Orders of one day are one order, as in the fit.
    """
    until, end = until_ms // DAY_MS, end_ms // DAY_MS
    groups: dict[int, list[tuple[float, int]]] = {}
    for days in days_of(orders).values():
        before = sorted(day for day in days if day <= until)
        if not before:
            continue
        history = History(len(before) - 1, before[-1] - before[0], until - before[0])
        expected = model.expected_orders(history, end - until)
        actual = sum(until < day <= end for day in days)
        groups.setdefault(min(history.repeats, _MOST), []).append((expected, actual))
    return _comparison(groups, end - until)


def _comparison(groups: Mapping[int, list[tuple[float, int]]], days: int) -> Comparison:
    found = [
        Group(
            repeats,
            len(of),
            sum(expected for expected, _ in of) / len(of),
            sum(actual for _, actual in of) / len(of),
        )
        for repeats, of in sorted(groups.items())
    ]
    expected = sum(each.expected * each.customers for each in found)
    return Comparison(days, expected, round(sum(each.actual * each.customers for each in found)), found)
