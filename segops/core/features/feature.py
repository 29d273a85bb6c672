"""What a feature is, and what every family of them can do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

import msgspec

from segops.core.features.orders import Purchases
from segops.core.features.sequence import Sequence
from segops.core.operators import Predicate
from segops.core.windows import Window, Within

Path = tuple[str, ...]

#: In the identity of a feature, in place of its capacity.
_OF_ANY_CAPACITY = 0
#: In the identity of orders, in place of their names, to which some have been added.
_FIRST_NAMES = ("Order Completed", "Order Refunded")

#: In place of names: every event concerns the feature.
ANY_NAME = "*"

#: How many of the latest events a counting feature may be asked to keep: the class that its greatest
#: threshold needs, so that a new threshold seldom asks for more than is held.
CAPACITIES = (1, 4, 16, 64, 257)
#: Above this many entries the older half of a ``within`` feature is folded into panes of length/64.
MAX_ENTRIES = 4_096
PANES = 64


class Feature(msgspec.Struct, frozen=True):
    """A selection of events, a window and an aggregate.

    ``kind`` is count, sum (with the number of values, so that avg reads it too), min, max, distinct,
    latest, earliest, first or last; or sequence, or orders; or history, of the trait at ``path`` instead
    of events. ``capacity`` bounds what count and distinct keep, None keeps all: it says how much of the
    figure is kept, not which figure it is.
    """

    kind: str
    names: tuple[str, ...]
    where: tuple[tuple[Path, Predicate], ...]
    window: Window
    path: Path | None = None
    capacity: int | None = None
    sequence: Sequence | None = None
    purchases: Purchases | None = None

    @property
    def id(self) -> int:
        """The identity by which rules share it and profiles store it: 63 bits of a hash.

        >>> from segops.core.windows import Within
        >>> a = Feature("count", ("Product Viewed",), (), Within(1000), capacity=4)
        >>> a.id == Feature("count", ("Product Viewed",), (), Within(1000), capacity=257).id
        True
        """
        return self._ids((_OF_ANY_CAPACITY if self.is_limited else None,))[0]

    @property
    def former_ids(self) -> tuple[int, ...]:
        """The identities by earlier versions, to which each class of ``capacity`` was another feature."""
        return self._ids((*CAPACITIES, None)) if self.is_limited else ()

    def _ids(self, capacities: Iterable[int | None]) -> tuple[int, ...]:
        form = msgspec.to_builtins(self)
        if self.purchases is not None:
            form["names"] = _FIRST_NAMES
        form["capacity"] = None
        _, _, rest = msgspec.json.encode(form, order="sorted").partition(b"null")  # the first key
        texts = (b"null" if capacity is None else b"%d" % capacity for capacity in capacities)
        hashes = (hashlib.sha256(b'{"capacity":' + text + rest).digest() for text in texts)
        return tuple(int.from_bytes(each[:8], "big") >> 1 for each in hashes)

    @property
    def is_limited(self) -> bool:
        """Whether it is of a kind of which a ``capacity`` may keep a part."""
        return self.kind == "distinct" or (self.kind == "count" and isinstance(self.window, Within))

    def or_wider(self, other: Feature) -> Feature:
        """The one of two features that keeps more: they are one figure."""
        if self.capacity is None or (other.capacity is not None and other.capacity <= self.capacity):
            return self
        return other

    @property
    def counts_entries(self) -> bool:
        """Whether its value is the number of the entries that it keeps, of which ``capacity`` are enough."""
        return self.capacity is not None and isinstance(self.window, Within) and not self.timed_where

    @property
    def timed_where(self) -> tuple[tuple[Path, Predicate], ...]:
        """The conditions on an event that change with time, read anew at every instant."""
        return tuple((path, test) for path, test in self.where if test.timed)

    @property
    def static_where(self) -> tuple[tuple[Path, Predicate], ...]:
        """The conditions on an event that are settled when it arrives."""
        return tuple((path, test) for path, test in self.where if not test.timed)


class Reducer(Protocol):
    """How one feature is kept and read. States are of the family's own kind; None is no event yet."""

    def add(self, state: Any, time_ms: int, value: Any, now_ms: int) -> Any:
        """The state with an event in it (changed in place); None if the event changes nothing.

        The event is not in the future: ``time_ms <= now_ms``.
        """

    def read(self, state: Any, now_ms: int) -> Any:
        """The aggregate at ``now_ms``, which may lie ahead; the state is not touched."""


@runtime_checkable
class Unfolding(Reducer, Protocol):
    """A reducer whose value may change with time as often as it has entries."""

    def future(self, state: Any, now_ms: int) -> Iterator[tuple[int, Any]]:
        """What ``read`` returns if nothing more happens: now, and at each instant at which it may differ.

        Found in one pass, as far as it is asked for.
        """


@runtime_checkable
class Stepping(Reducer, Protocol):
    """A reducer whose value changes with time once or twice."""

    def next_edge(self, state: Any, now_ms: int) -> int | None:
        """The earliest instant after ``now_ms`` at which ``read`` could differ if nothing more happens."""
