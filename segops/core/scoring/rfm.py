"""RFM: digits from edges, tiers from a grid of recency by frequency."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from segops.core.features import Feature
from segops.core.features.bands import Series
from segops.core.features.orders import ORDER_NAMES, OrdersReducer, Purchases, PurchaseTotals
from segops.core.operators import Predicate
from segops.core.windows import ALWAYS

DAY_MS = 86_400_000

#: Tier -> lowest and highest digit of recency, and of frequency. Each of the 25 cells lies in one tier.
GRID: dict[str, tuple[int, int, int, int]] = {
    "hibernating": (1, 2, 1, 2),
    "at_risk": (1, 2, 3, 4),
    "cant_lose": (1, 2, 5, 5),
    "about_to_sleep": (3, 3, 1, 2),
    "need_attention": (3, 3, 3, 3),
    "loyal": (3, 4, 4, 5),
    "promising": (4, 4, 1, 1),
    "new": (5, 5, 1, 1),
    "potential_loyalists": (4, 5, 2, 3),
    "champions": (5, 5, 4, 5),
}


class Digits(msgspec.Struct, frozen=True):
    """Recency, frequency and monetary, each from 1 (worst) to its number of edges plus one."""

    recency: int
    frequency: int
    monetary: int


class Rfm(msgspec.Struct, frozen=True):
    """RFM as a scoring model: the score is the digits, which change with orders and with time.

    Recency falls by one at each age of the last order in ``recency_ms`` (rising), to the millisecond.
    Frequency and monetary are one more than the number of edges strictly below the value, so that equal
    values have equal digits. ``tiers``: name, then the digits as in ``GRID``.
    """

    purchases: Purchases = Purchases(365 * DAY_MS, None)
    recency_ms: tuple[int, ...] = (30 * DAY_MS, 60 * DAY_MS, 120 * DAY_MS, 240 * DAY_MS)
    frequency: tuple[int, ...] = (1, 2, 4, 8)
    monetary: tuple[Decimal, ...] = (Decimal(50), Decimal(100), Decimal(250), Decimal(500))
    tiers: tuple[tuple[str, int, int, int, int], ...] = tuple((name, *cells) for name, cells in GRID.items())

    @property
    def feature(self) -> Feature:
        """The orders that the model reads."""
        return Feature("orders", ORDER_NAMES, (), ALWAYS, purchases=self.purchases)

    def value(self, read: PurchaseTotals, now_ms: int) -> Digits | None:
        """Return the digits at ``now_ms``; None for a profile without an order.

        >>> Rfm().value(PurchaseTotals(0, 3, Decimal(75)), 30 * DAY_MS)
        Digits(recency=4, frequency=3, monetary=2)
        """
        if read.last_ms is None:
            return None
        age_ms = now_ms - read.last_ms
        return Digits(
            len(self.recency_ms) + 1 - sum(edge <= age_ms for edge in self.recency_ms),
            1 + sum(edge < read.orders for edge in self.frequency),
            1 + sum(edge < read.net for edge in self.monetary),
        )

    def next_edge(self, read: PurchaseTotals, _tests: Iterable[Predicate], now_ms: int) -> int | None:
        """Return the next instant after ``now_ms`` at which recency falls, or None."""
        if read.last_ms is None:
            return None
        return next((read.last_ms + age for age in self.recency_ms if read.last_ms + age > now_ms), None)

    def future(self, state: Any, now_ms: int) -> Series:
        """Yield the totals whenever frequency or monetary change; ``next_edge`` follows recency."""
        known = None
        for at, totals in OrdersReducer(self.purchases).future(state, now_ms):
            passed = bisect_left(self.frequency, totals.orders), bisect_left(self.monetary, totals.net)
            if passed != known:
                known = passed
                yield at, totals

    def tier(self, digits: Digits) -> str | None:
        """Return the first tier whose cells contain the digits; None if there is none.

        >>> Rfm().tier(Digits(5, 5, 1)), Rfm().tier(Digits(1, 1, 5))
        ('champions', 'hibernating')
        """
        for name, r_low, r_high, f_low, f_high in self.tiers:
            if r_low <= digits.recency <= r_high and f_low <= digits.frequency <= f_high:
                return name
        return None

    def greatest(self, name: str) -> int:
        """Return the highest value of the digit ``name``.

        >>> Rfm().greatest("recency")
        5
        """
        edges: dict[str, tuple[object, ...]] = {
            "recency": self.recency_ms,
            "frequency": self.frequency,
            "monetary": self.monetary,
        }
        return len(edges[name]) + 1

    def dead_tiers(self) -> list[str]:
        """Return the tiers that no digits reach, since earlier tiers take all their cells."""
        reached = {self.tier(digits) for digits in self._cells()}
        return [name for name, *_ in self.tiers if name not in reached]

    def holes(self) -> list[tuple[int, int]]:
        """Return the cells (recency, frequency) that are in no tier."""
        return [(cell.recency, cell.frequency) for cell in self._cells() if self.tier(cell) is None]

    def _cells(self) -> list[Digits]:
        recencies, frequencies = range(1, len(self.recency_ms) + 2), range(1, len(self.frequency) + 2)
        return [Digits(r, f, 1) for r in recencies for f in frequencies]
