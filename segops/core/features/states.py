"""The stored form of features. A tag tells them apart in the state codec; tags are never reused.

They hold no cycles, so that the collector leaves them out (``gc=False``).
"""

from __future__ import annotations

from collections.abc import Container
from decimal import Decimal
from typing import Any

import msgspec

from segops.core.values import exact


class Tally(msgspec.Struct, array_like=True, gc=False, tag=0):
    """How many events, in the calendar period that began at ``since_ms`` (0: no period)."""

    since_ms: int
    count: int


class Total(msgspec.Struct, array_like=True, gc=False, tag=1):
    """How many numbers and their exact sum, in the period that began at ``since_ms``."""

    since_ms: int
    count: int
    total: Decimal


class RunningValue(msgspec.Struct, array_like=True, gc=False, tag=2):
    """The one value that matters and its event's time, in the period that began at ``since_ms``."""

    since_ms: int
    time_ms: int
    value: Any


class Keys(msgspec.Struct, array_like=True, gc=False, tag=3):
    """The different values seen, in the period that began at ``since_ms``."""

    since_ms: int
    keys: set[str]


class EventTimes(msgspec.Struct, array_like=True, gc=False, tag=4):
    """Event times, oldest first."""

    times: list[int]


class Sums(msgspec.Struct, array_like=True, gc=False, tag=5):
    """Event times, oldest first, each with the count and the sum of all up to it.

    ``base_count`` and ``base_total`` are what had been summed before the oldest time kept.
    """

    times: list[int]
    counts: list[int]
    totals: list[Decimal]
    base_count: int
    base_total: Decimal


class Values(msgspec.Struct, array_like=True, gc=False, tag=6):
    """Event times, oldest first, each with its value."""

    times: list[int]
    values: list[Any]


class Entry(msgspec.Struct, array_like=True, gc=False):
    """One event: its time, its value, and the values that conditions on it read anew at every instant."""

    time_ms: int
    value: Any
    timed: tuple[Any, ...]


class Entries(msgspec.Struct, array_like=True, gc=False, tag=7):
    """Events, oldest first."""

    entries: list[Entry]


class Link(msgspec.Struct, array_like=True, gc=False):
    """One event of a sequence: its time, the steps that it matches (a bit each), and its compared values."""

    time_ms: int
    steps: int
    values: tuple[Any, ...]


class Chains(msgspec.Struct, array_like=True, gc=False, tag=8):
    """The events of a sequence, oldest first, and the spans of time in which it is true."""

    links: list[Link]
    spans: list[tuple[int, int]]


class Order(msgspec.Struct, array_like=True, gc=False):
    """One order, or what was said of one: its time, the order_id (empty: none) and the amount.

    ``key``: of a refund or an update, the hash by which a repetition is known; 0: not known.
    """

    time_ms: int
    order_id: str
    amount: Decimal
    key: int = 0


class Orders(msgspec.Struct, array_like=True, gc=False, tag=9):
    """The time of the last order that was not cancelled; orders of the period and what was said of them.

    All are oldest first. ``gone_ms``: when the last order was that is no longer kept, -MAX_MS if none was;
    None is what earlier versions stored.
    Refunds of all that is left of an order have no amount, cancellations neither.
    """

    last_ms: int
    orders: list[Order]
    refunds: list[Order]
    gone_ms: int | None = None
    updates: list[Order] = []
    whole_refunds: list[Order] = []
    cancellations: list[Order] = []


class Counted(msgspec.Struct, array_like=True, gc=False):
    """What one event added to a profile: its time, the tallies it is in, and its part of each total.

    Accumulators forget their events, so this is how one that two profiles saw is taken off again.
    """

    time_ms: int
    tallies: list[int] = []
    totals: dict[int, Decimal] = {}

    def note(self, feature_id: int, state: State, value: Any) -> None:
        """Remember that the event is in ``state``, if that is an accumulator."""
        if state.__class__ is Tally:
            self.tallies.append(feature_id)
        elif state.__class__ is Total:
            self.totals[feature_id] = exact(value)

    def keep(self, feature_ids: Container[int]) -> None:
        """Forget all other features: should one come back, it begins anew."""
        self.tallies = [key for key in self.tallies if key in feature_ids]
        self.totals = {key: value for key, value in self.totals.items() if key in feature_ids}


State = Tally | Total | RunningValue | Keys | EventTimes | Sums | Values | Entries | Chains | Orders
