"""Features, and the interfaces of the families that implement them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

import msgspec

from segops.core.areas import Area
from segops.core.features.orders import Purchases
from segops.core.features.sequence import Sequence
from segops.core.lookups import read_path
from segops.core.operators import Predicate
from segops.core.paths import CONTEXT, Path
from segops.core.refresh import Refresh
from segops.core.windows import Between, Calendar, SinceLast, Window, Within

#: Stands for the capacity in the identity of a feature, which does not depend on it.
_OF_ANY_CAPACITY = 0
#: Stands for the names in the identity of orders: later versions added names.
_FIRST_NAMES = ("Order Completed", "Order Refunded")

#: Fields of later versions: left out of the identity where they have no value.
_LATER = frozenset(("convert", "days", "length_ms", "located", "money", "refresh"))

#: Stands for the names of a feature that reads every event.
ANY_NAME = "*"

#: The capacities of a counting feature. It gets the smallest one that suffices for its greatest threshold, so
#: that a new threshold seldom needs more events than the profile holds.
CAPACITIES = (1, 4, 16, 64, 257)
#: Above this many entries, the older half of a ``within`` feature is folded into panes of length/64.
MAX_ENTRIES = 4_096
PANES = 64


class Money(msgspec.Struct, frozen=True):
    """The currency that an aggregate reads, and where an event names its own; one without it has this one."""

    currency: str
    path: Path = ("currency",)


class Feature(msgspec.Struct, frozen=True):
    """A selection of events, a window and an aggregate.

    ``kind`` is count, sum (with the number of values, so that avg can read it, too), min, max, distinct,
    latest, earliest, most_frequent, first or last; or sequence, orders, actions or purchases; or history, of
    the trait at ``path`` instead of events. ``capacity`` limits what count and distinct keep (None: no
    limit). It is no part of the identity, except in a window that begins with an anchor. ``convert`` is the
    conversion of the value at ``path``, ``money`` its currency.

    With ``days``, distinct reads the local day, week or month of the event instead of a property. sessions
    and session have ``length_ms`` as their gap, periods and lifecycle as the length of a period.
    """

    kind: str
    names: tuple[str, ...]
    where: tuple[tuple[Path, Predicate], ...]
    window: Window
    path: Path | None = None
    capacity: int | None = None
    sequence: Sequence | None = None
    purchases: Purchases | None = None
    convert: str | None = None
    money: Money | None = None
    #: For a count: only events located in one of these areas.
    located: tuple[Area, ...] | None = None
    days: Calendar | None = None
    length_ms: int | None = None
    #: For a frozen feature: when it is computed. Its capacity is part of the identity.
    refresh: Refresh | None = None

    @property
    def id(self) -> int:
        """The 63-bit hash by which rules share the feature and profiles store it.

        >>> from segops.core.windows import Within
        >>> a = Feature("count", ("Product Viewed",), (), Within(1000), capacity=4)
        >>> a.id == Feature("count", ("Product Viewed",), (), Within(1000), capacity=257).id
        True
        """
        return self._ids((_OF_ANY_CAPACITY if self.is_limited else self.capacity,))[0]

    @property
    def former_ids(self) -> tuple[int, ...]:
        """The ids in earlier versions, which had one id per capacity."""
        return self._ids((*CAPACITIES, None)) if self.is_limited else ()

    def _ids(self, capacities: Iterable[int | None]) -> tuple[int, ...]:
        form = msgspec.to_builtins(self)
        if self.kind == "orders":
            form["names"] = _FIRST_NAMES
        form = {name: value for name, value in form.items() if name not in _LATER or value is not None}
        form["capacity"] = None
        _, _, rest = msgspec.json.encode(form, order="sorted").partition(b"null")  # the first key
        texts = (b"null" if capacity is None else b"%d" % capacity for capacity in capacities)
        hashes = (hashlib.sha256(b'{"capacity":' + text + rest).digest() for text in texts)
        return tuple(int.from_bytes(each[:8], "big") >> 1 for each in hashes)

    @property
    def is_limited(self) -> bool:
        """Whether features of this kind may have a ``capacity`` that is not part of the identity."""
        if isinstance(self.window, SinceLast) or self.refresh is not None:
            return False
        return self.kind == "distinct" or (self.kind == "count" and isinstance(self.window, Within))

    @property
    def read_names(self) -> tuple[str, ...]:
        """The names of all events that the feature reads: those that it selects, and anchors."""
        anchors = self.window.names if isinstance(self.window, SinceLast) else ()
        return (*self.names, *anchors)

    @property
    def keeps_events(self) -> bool:
        """Whether every event that may still count is kept, and the aggregate computed at every reading."""
        dated = isinstance(self.window, (Between, SinceLast)) or bool(self.timed_where)
        return dated or self.kind == "most_frequent"

    def or_wider(self, other: Feature) -> Feature:
        """Return the one of two features with the same id that has the larger capacity."""
        if self.capacity is None or (other.capacity is not None and other.capacity <= self.capacity):
            return self
        return other

    @property
    def counts_entries(self) -> bool:
        """Whether the value is the number of entries, of which ``capacity`` are kept."""
        if self.refresh is not None:
            return False
        return self.capacity is not None and isinstance(self.window, Within) and not self.timed_where

    @property
    def context_keys(self) -> frozenset[str]:
        """The top-level names of the context that the feature reads."""
        found = [path for path, _ in self.where]
        if self.path is not None and self.kind != "history":
            found.append(self.path)
        if self.money is not None:
            found.append(self.money.path)
        if isinstance(self.window, SinceLast) and self.window.same is not None:
            found.append(self.window.same)
        if self.sequence is not None:
            found += [*self.sequence.paths, *(path for step in self.sequence.steps for path, _ in step.where)]
        return frozenset(path[2] for path in map(read_path, found) if path[:2] == CONTEXT)

    @property
    def timed_where(self) -> tuple[tuple[Path, Predicate], ...]:
        """The conditions on an event that change with time, evaluated at every reading."""
        return tuple((path, test) for path, test in self.where if test.timed)

    @property
    def static_where(self) -> tuple[tuple[Path, Predicate], ...]:
        """The conditions on an event that are evaluated once, when it arrives."""
        return tuple((path, test) for path, test in self.where if not test.timed)


def context_keys(features: Iterable[Feature]) -> frozenset[str]:
    """Return the top-level names of the context that any of these features reads."""
    return frozenset(key for feature in features for key in feature.context_keys)


class Reducer(Protocol):
    """The update and the reading of one feature. Each family has its own states; None: no event yet."""

    def add(self, state: Any, time_ms: int, value: Any, now_ms: int) -> Any:
        """Add an event to the state, in place, and return the state; None if the event changes nothing.

        ``time_ms`` must not exceed ``now_ms``.
        """

    def read(self, state: Any, now_ms: int) -> Any:
        """Return the aggregate at ``now_ms``, which may be in the future, without changing the state."""


@runtime_checkable
class Unfolding(Reducer, Protocol):
    """A reducer whose value may change with time as often as it has entries."""

    def future(self, state: Any, now_ms: int) -> Iterator[tuple[int, Any]]:
        """Yield what ``read`` returns without another event: now, and at each instant at which it may differ.

        The readings are computed lazily, in one pass.
        """


@runtime_checkable
class Stepping(Reducer, Protocol):
    """A reducer whose value changes with time once or twice."""

    def next_edge(self, state: Any, now_ms: int) -> int | None:
        """Return when ``read`` could next differ after ``now_ms`` without another event, or None."""
