"""RFM: digits from edges, tiers from a grid of recency by frequency."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from decimal import Decimal
from itertools import product
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from segops.core.features import Feature
from segops.core.features.bands import Series
from segops.core.features.orders import (
    ACTIONS,
    ORDER_NAME,
    ORDER_NAMES,
    OrdersReducer,
    Purchases,
    PurchaseTotals,
)
from segops.core.operators import Predicate
from segops.core.paths import Path
from segops.core.windows import ALWAYS

#: The measures of a grid.
MEASURES: Final = ("recency", "frequency", "monetary")
#: Measure -> the field of a grid with its edges.
EDGES_OF: Final = {"recency": "recency_ms", "frequency": "frequency", "monetary": "monetary"}

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


class Actions(msgspec.Struct, frozen=True):
    """The events that a named grid reads instead of orders, and the property that has their amounts."""

    names: tuple[str, ...]
    where: tuple[tuple[Path, Predicate], ...] = ()
    amount: Path | None = None


class Quantiles(msgspec.Struct, frozen=True):
    """The measures of a grid whose edges are quantiles of all profiles, by the model ``model``.

    ``groups``: such a measure -> the number of groups of equal size. ``measured``: whether there is such a
    model; without one no profile has digits.
    """

    model: str
    groups: tuple[tuple[str, int], ...]
    measured: bool = False


class Rfm(msgspec.Struct, frozen=True):
    """RFM as a scoring model: the score is the digits, which change with orders and with time.

    Recency falls by one at each age of the last order in ``recency_ms`` (rising), to the millisecond.
    Frequency and monetary are one more than the number of edges strictly below the value, so that equal
    values have equal digits. ``tiers``: name, then the digits as in ``GRID``, perhaps with the lowest and
    highest digit of monetary; several may have one name. ``actions``: the events that count as orders.
    """

    purchases: Purchases = Purchases(365 * DAY_MS, None)
    recency_ms: tuple[int, ...] = (30 * DAY_MS, 60 * DAY_MS, 120 * DAY_MS, 240 * DAY_MS)
    frequency: tuple[int, ...] = (1, 2, 4, 8)
    monetary: tuple[Decimal, ...] = (Decimal(50), Decimal(100), Decimal(250), Decimal(500))
    tiers: tuple[tuple[Any, ...], ...] = tuple((name, *cells) for name, cells in GRID.items())
    actions: Actions | UnsetType = UNSET
    quantiles: Quantiles | UnsetType = UNSET

    @property
    def feature(self) -> Feature:
        """The orders, or other events, that the model reads."""
        if isinstance(self.actions, UnsetType):
            return Feature("orders", ORDER_NAMES, (), ALWAYS, purchases=self.purchases)
        names, where, path = self.actions.names, self.actions.where, self.actions.amount
        return Feature(ACTIONS, names, where, ALWAYS, path=path, purchases=self.purchases)

    @property
    def selection(self) -> tuple[tuple[str, ...], tuple[tuple[Path, Predicate], ...]]:
        """The names of the events that a profile needs to have digits, and the conditions on them."""
        if isinstance(self.actions, UnsetType):
            return (ORDER_NAME,), ()
        return self.actions.names, self.actions.where

    @property
    def unmeasured(self) -> str | None:
        """The name of the model that the grid waits for; None if it has all its edges."""
        if isinstance(self.quantiles, UnsetType) or self.quantiles.measured:
            return None
        return self.quantiles.model

    def value(self, read: PurchaseTotals, now_ms: int) -> Digits | None:
        """Return the digits at ``now_ms``; None for a profile without an order.

        >>> Rfm().value(PurchaseTotals(0, 3, Decimal(75)), 30 * DAY_MS)
        Digits(recency=4, frequency=3, monetary=2)
        """
        if read.last_ms is None or self.unmeasured is not None:
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
        cell = digits.recency, digits.frequency, digits.monetary
        return next((tier[0] for tier in self.tiers if _contains(tier[1:], cell)), None)

    @property
    def tier_names(self) -> list[str]:
        """The names of the tiers, in order."""
        return list(dict.fromkeys(name for name, *_ in self.tiers))

    @property
    def is_flat(self) -> bool:
        """Whether no tier depends on the digit of monetary."""
        return all(len(tier) <= _FLAT for tier in self.tiers)

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
        groups = {} if isinstance(self.quantiles, UnsetType) else dict(self.quantiles.groups)
        return groups.get(name, len(edges[name]) + 1)

    def cells(self) -> Iterable[Digits]:
        """Yield all combinations of digits."""
        digits = (range(1, self.greatest(name) + 1) for name in MEASURES)
        return (Digits(*cell) for cell in product(*digits))

    def dead_tiers(self) -> list[str]:
        """Return the tiers that no digits reach, since earlier tiers take all their cells."""
        reached = {self.tier(digits) for digits in self.cells()}
        return [name for name in self.tier_names if name not in reached]

    def holes(self) -> list[tuple[int, ...]]:
        """Return the cells (recency, frequency, and monetary if tiers depend on it) that are in no tier."""
        outside = (each for each in self.cells() if self.tier(each) is None)
        kept = 2 if self.is_flat else 3
        return list(dict.fromkeys((each.recency, each.frequency, each.monetary)[:kept] for each in outside))


#: The fields of a tier without digits of monetary.
_FLAT: Final = 5


def _contains(ends: tuple[int, ...], cell: tuple[int, ...]) -> bool:
    """Whether each digit is between its two ends; a digit without ends may have any value."""
    pairs = zip(ends[::2], ends[1::2], cell, strict=False)
    return all(low <= digit <= high for low, high, digit in pairs)
