"""The segments in a row each: the figures that lists show, kept up to date in steps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from segops.analytics.sizes import SegmentSizes
from segops.analytics.views import SegmentView

#: Rows made between two looks at the clock.
_SLICE: Final = 20
_SLICE_S: Final = 0.004
#: How long rows are made at one tick; the others follow at the next one.
_MOST_S: Final = 0.25
#: Seconds in which each row is made again: what happened 24 hours ago leaves its figures.
_ROUND_S: Final = 60


class Row(NamedTuple):
    """A segment's figures as of the latest tick; ``adds``, ``drops`` and ``volatility``: of 24 hours.

    ``state``: what workers say. ``progress``: the share of its history that has been read, while it is built.
    """

    key: str
    members: int
    adds: int
    drops: int
    volatility: float | None
    version: int
    state: str
    complete: bool
    progress: float | None


def row_of(view: SegmentView) -> Row:
    """Return the row of a segment."""
    day, progress = view.last_day, view.progress
    return Row(
        view.key,
        view.members,
        day.adds,
        day.drops,
        day.volatility,
        view.version,
        view.state,
        view.complete,
        None if progress is None else progress.read / max(1, progress.total),
    )


class Subscription:
    """The keys of the rows that changed since they were taken; ``keys``: only these, None: all."""

    def __init__(self, keys: frozenset[str] | None = None) -> None:
        self.keys = keys
        self._changed: dict[str, None] = {}

    def note(self, changed: Iterable[str]) -> None:
        """Take over what changed."""
        wanted = changed if self.keys is None else [key for key in changed if key in self.keys]
        self._changed.update(dict.fromkeys(wanted))

    def take(self, most: int) -> list[str]:
        """Return at most so many of the keys, those that changed first; the others wait."""
        found = [*islice(self._changed, most)]
        for key in found:
            del self._changed[key]
        return found


class Rows:
    """All rows by key."""

    def __init__(self, sizes: Callable[[], SegmentSizes]) -> None:
        self._sizes = sizes
        self.found: dict[str, Row] = {}
        self._due: dict[str, None] = {}
        self._round: Iterator[str] = iter(())
        self._listening: list[Subscription] = []

    def clear(self) -> None:
        """Forget all rows."""
        self.found.clear()
        self._due.clear()

    def note(self, key: str | None) -> None:
        """Note that a segment has changed."""
        if key is not None:
            self._due[key] = None

    def subscribe(self, keys: frozenset[str] | None = None) -> Subscription:
        """Return a subscription that hears which rows change from now on, until ``unsubscribe``."""
        found = Subscription(keys)
        self._listening.append(found)
        return found

    def unsubscribe(self, subscription: Subscription) -> None:
        """Tell it no more."""
        self._listening.remove(subscription)

    async def tick(self) -> None:
        """Make rows that are due, those that changed first; other tasks run every few milliseconds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _MOST_S
        changed: list[str] = []
        for key in self._next():
            self._due.setdefault(key)
        while self._due and loop.time() < end:
            until = loop.time() + _SLICE_S
            while self._due and loop.time() < until:
                changed += filter(self._make, self._taken())
            await asyncio.sleep(0)
        for each in self._listening:
            each.note(changed)

    def _taken(self) -> list[str]:
        keys = [*islice(self._due, _SLICE)]
        for key in keys:
            del self._due[key]
        return keys

    def _make(self, key: str) -> bool:
        """Make a row; return whether it differs from the one before."""
        view = self._sizes().segment(key)
        former = self.found.get(key)
        if view is None:
            self.found.pop(key, None)
            return former is not None
        row = self.found[key] = row_of(view)
        return row != former

    def _next(self) -> list[str]:
        found = [*islice(self._round, 1 + len(self.found) // _ROUND_S)]
        if not found:
            self._round = iter([*self.found])
        return found
