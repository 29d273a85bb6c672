"""The stored states of features. The state codec distinguishes them by a tag; tags are never reused.

They contain no reference cycles, so the collector need not traverse them (``gc=False``).
"""

from __future__ import annotations

from collections.abc import Container
from decimal import Decimal
from typing import Any

import msgspec

from segops.core.values import numbers_of


class Tally(msgspec.Struct, array_like=True, gc=False, tag=0):
    """The number of events in the calendar period that began at ``since_ms`` (0: no period)."""

    since_ms: int
    count: int


class Total(msgspec.Struct, array_like=True, gc=False, tag=1):
    """The number of values and their exact sum in the period that began at ``since_ms``."""

    since_ms: int
    count: int
    total: Decimal


class RunningValue(msgspec.Struct, array_like=True, gc=False, tag=2):
    """One value and its event's time in the period that began at ``since_ms``."""

    since_ms: int
    time_ms: int
    value: Any


class Keys(msgspec.Struct, array_like=True, gc=False, tag=3):
    """The distinct values in the period that began at ``since_ms``, in ascending order.

    >>> Keys(0, ["sb", "sa"]).keys
    ['sa', 'sb']
    """

    since_ms: int
    keys: list[str]

    def __post_init__(self) -> None:
        self.keys.sort()  # earlier versions stored a set, in an order that differs between processes


class EventTimes(msgspec.Struct, array_like=True, gc=False, tag=4):
    """Event times, oldest first."""

    times: list[int]


class Sums(msgspec.Struct, array_like=True, gc=False, tag=5):
    """Event times, oldest first, each with the cumulative count and sum.

    ``base_count`` and ``base_total`` are the cumulative values before the oldest time kept.
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
    """One event: its time, its value, and the values that its timed conditions read."""

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
    """The events of a sequence, oldest first, and the spans of time in which it holds."""

    links: list[Link]
    spans: list[tuple[int, int]]


class Order(msgspec.Struct, array_like=True, gc=False):
    """One order, or one statement about an order: its time, the order_id (empty: none) and the amount.

    ``key``: the hash that identifies duplicates of a refund, update or cancellation; 0: unknown.
    """

    time_ms: int
    order_id: str
    amount: Decimal
    key: int = 0


class Orders(msgspec.Struct, array_like=True, gc=False, tag=9):
    """The time of the last order that was not cancelled; the orders of the period, and statements about them.

    Lists are oldest first. ``gone_ms``: the time of the last order that is no longer kept, -MAX_MS if there
    is none; earlier versions stored None. Refunds of a whole order have no amount, and neither have
    cancellations.
    """

    last_ms: int
    orders: list[Order]
    refunds: list[Order]
    gone_ms: int | None = None
    updates: list[Order] = []
    whole_refunds: list[Order] = []
    cancellations: list[Order] = []


class SinceAnchor(msgspec.Struct, array_like=True, gc=False, tag=40):
    """The last anchor, and the selected events after it in order: of all so far while there is no anchor.

    ``anchor_ms``: None without an anchor. ``anchor_key``: the distinct key of the compared value of the
    anchor; None if it is missing, or not compared. ``timed`` of an entry has its compared value in front.
    """

    anchor_ms: int | None
    anchor_key: str | None
    entries: list[Entry]


class Session(msgspec.Struct, array_like=True, gc=False):
    """One session: the times of its first and last event, and the number of its events.

    ``first``, ``last``: the first and the last value of the property that is read, each with its time.
    """

    begin_ms: int
    last_ms: int
    events: int
    first: tuple[int, Any] | None = None
    last: tuple[int, Any] | None = None


class Sessions(msgspec.Struct, array_like=True, gc=False, tag=25):
    """Sessions, oldest first."""

    sessions: list[Session]


class RecentSessions(Sessions, array_like=True, gc=False, tag=27):
    """The latest sessions, whose numbers of events are read."""


class Marks(msgspec.Struct, array_like=True, gc=False, tag=26):
    """Event times, oldest first, without those that decide nothing about periods (``periods``)."""

    times: list[int]


class Frozen(msgspec.Struct, array_like=True, gc=False, tag=45):
    """The state of a feature now (``live``), and as of the refresh before its latest event (``base``).

    ``refreshed_ms``: the latest refresh at the time of that event.
    """

    refreshed_ms: int
    base: State | None
    live: State | None


class Counted(msgspec.Struct, array_like=True, gc=False):
    """What one event added to accumulators: its time, the tallies and sessions with it, its part of totals.

    A total to which it added several numbers is also among the tallies, for each number after the first.

    Accumulators do not keep events, so a merge subtracts an event that both profiles have seen by this
    record.
    """

    time_ms: int
    tallies: list[int] = []
    totals: dict[int, Decimal] = {}

    def note(self, feature_id: int, state: State, value: Any) -> None:
        """Record that ``state`` includes the event, if it is an accumulator."""
        if state.__class__ is Tally:
            self.tallies.append(feature_id)
        elif state.__class__ is Total:
            number, self.totals[feature_id] = numbers_of(value)
            self.tallies += [feature_id] * (number - 1)
        elif state.__class__ is RecentSessions:
            self.tallies.append(feature_id)
        elif state.__class__ is Frozen and state.live is not None:
            self.note(feature_id, state.live, value)

    def drop(self, feature_ids: Container[int]) -> None:
        """Drop features whose state is replaced."""
        self.tallies = [key for key in self.tallies if key not in feature_ids]
        self.totals = {key: value for key, value in self.totals.items() if key not in feature_ids}

    def keep(self, feature_ids: Container[int]) -> None:
        """Drop all other features: if one is used again later, it starts empty."""
        self.tallies = [key for key in self.tallies if key in feature_ids]
        self.totals = {key: value for key, value in self.totals.items() if key in feature_ids}


State = (
    Tally
    | Total
    | RunningValue
    | Keys
    | EventTimes
    | Sums
    | Values
    | Entries
    | Chains
    | Orders
    | Sessions
    | RecentSessions
    | Marks
    | SinceAnchor
    | Frozen
)
