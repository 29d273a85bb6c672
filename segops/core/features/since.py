"""``since_last`` (``SPEC.md#since-last``): the selected events after the last anchor, in order.

A late anchor leaves the events after it in place, and a late event before the last anchor never counts. So
the state needs no event before the last anchor; without an anchor it needs all, since an earlier one may yet
arrive.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import Any

from segops.core.features.feature import MAX_ENTRIES, Feature
from segops.core.features.scanning import Scanning
from segops.core.features.states import Entries, Entry, SinceAnchor
from segops.core.windows import ALWAYS, SinceLast

#: From the entries of a survivor and a source to those of both in order, without second copies.
Unite = Callable[[list[Entry], list[Entry]], list[Entry]]


def is_anchored(state: SinceAnchor | None) -> bool:
    """Return whether there is an anchor; without one, every node with the window is false."""
    return state is not None and state.anchor_ms is not None


class SinceReducer:
    """Any aggregate of the events after the last anchor, computed from them at every reading.

    An event's value is a pair: the value of the property, and whether the event is an anchor, the distinct
    key of its compared value, and the values that its timed conditions read. ``limit``: the number of latest
    events kept. ``timed``: the value may change with time as often as there are entries.
    """

    def __init__(self, scanning: Scanning, limit: int, *, compares: bool) -> None:
        self.scanning = scanning
        self.limit = limit
        self.compares = compares
        self.timed = bool(scanning.tests)

    def add(
        self, state: SinceAnchor | None, time_ms: int, value: tuple[Any, tuple[Any, ...]], _now_ms: int
    ) -> SinceAnchor | None:
        read, (is_anchor, key, *timed) = value
        if state is None:
            state = SinceAnchor(None, None, [])
        if state.anchor_ms is not None and time_ms < state.anchor_ms:
            return None
        if is_anchor:
            state.anchor_ms, state.anchor_key = time_ms, key
            del state.entries[: bisect_right(state.entries, time_ms, key=_time_of)]
            return state
        entry = Entry(time_ms, read, (key, *timed) if self.compares else tuple(timed))
        state.entries.insert(bisect_right(state.entries, time_ms, key=_time_of), entry)
        del state.entries[: -self.limit]
        return state

    def read(self, state: SinceAnchor | None, now_ms: int) -> Any:
        """Return the aggregate at ``now_ms``; None without an anchor."""
        if state is None or state.anchor_ms is None:
            return None
        return self.scanning.read(self._counting(state), now_ms)

    def future(self, state: SinceAnchor | None, now_ms: int) -> Iterator[tuple[int, Any]]:
        """Yield what ``read`` returns now, and at each instant at which a timed condition may change it."""
        if state is None or state.anchor_ms is None:
            return iter([(now_ms, None)])
        return self.scanning.future(self._counting(state), now_ms)

    def _counting(self, state: SinceAnchor) -> Entries:
        """Return the entries that count: with a comparison, those with the value of the anchor."""
        if not self.compares:
            return Entries(state.entries)
        key = state.anchor_key
        return Entries(
            [
                Entry(entry.time_ms, entry.value, entry.timed[1:])
                for entry in state.entries
                if key is not None and entry.timed[0] == key
            ]
        )

    def merged(self, mine: SinceAnchor, theirs: SinceAnchor, unite: Unite) -> SinceAnchor:
        """Return the state of a survivor and a source, whose events count as having arrived first."""
        ends = [state.anchor_ms for state in (mine, theirs) if state.anchor_ms is not None]
        own, others, anchor = mine.entries, theirs.entries, mine
        if ends and mine.anchor_ms == max(ends):
            others = others[bisect_right(others, mine.anchor_ms, key=_time_of) :]
        elif ends and theirs.anchor_ms is not None:
            own, anchor = own[bisect_left(own, theirs.anchor_ms, key=_time_of) :], theirs
        return SinceAnchor(anchor.anchor_ms, anchor.anchor_key, unite(own, others)[-self.limit :])


def _time_of(entry: Entry) -> int:
    return entry.time_ms


def since_reducer(feature: Feature, window: SinceLast) -> SinceReducer:
    """Return the reducer of a feature in a window that begins with an anchor.

    Without comparison and timed conditions, the latest value keeps one event, and a count no more than its
    threshold needs.

    >>> window = SinceLast(("B",))
    >>> reducer = since_reducer(Feature("count", ("A",), (), window, capacity=4), window)
    >>> state = reducer.add(None, 10, (None, (False, None)), 10)
    >>> reducer.read(state, 10), reducer.read(reducer.add(state, 5, (None, (True, None)), 10), 10)
    (None, 1)
    """
    tests = tuple(test.plain for _, test in feature.timed_where)
    compares = window.same is not None
    needed = 1 if feature.kind == "latest" else feature.capacity
    limit = MAX_ENTRIES if needed is None or tests or compares else needed
    return SinceReducer(Scanning(ALWAYS, feature.kind, tests), limit, compares=compares)
