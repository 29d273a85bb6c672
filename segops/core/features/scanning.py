"""``between``, and conditions on an event that change with time: every event that may yet count is kept."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import reduce
from typing import Any

from segops.core.features.running import ZERO
from segops.core.features.states import Entries, Entry
from segops.core.operators import Test
from segops.core.values import add_exact, exact
from segops.core.windows import Between, Calendar, Window, Within, period, span


class Scanning:
    """Any aggregate, read by going through the events.

    The value of an event is a pair: the property's, and those that its timed conditions read.
    """

    def __init__(self, window: Window, kind: str, tests: tuple[Test, ...]) -> None:
        self.window = window
        self.tests = tests
        self._summary = _SUMMARIES[kind]

    def add(self, state: Entries | None, time_ms: int, value: Any, now_ms: int) -> Entries | None:
        after, _ = span(self.window, now_ms)
        if time_ms <= after or not self._may_count(time_ms):
            return None
        entry = Entry(time_ms, *value)
        if state is None:
            return Entries([entry])
        del state.entries[: _first_after(state, after)]
        state.entries.insert(_first_after(state, time_ms), entry)
        return state

    def _may_count(self, time_ms: int) -> bool:
        return isinstance(self.window, Between) or time_ms <= span(self.window, time_ms)[1]

    def read(self, state: Entries | None, now_ms: int) -> Any:
        if state is None:
            return self._summary([])
        after, upto = span(self.window, now_ms)
        inside = state.entries[_first_after(state, after) : _first_after(state, upto)]
        return self._summary(
            [entry for entry in inside if self._holds(entry, now_ms)] if self.tests else inside
        )

    def _holds(self, entry: Entry, now_ms: int) -> bool:
        return all(test.holds(value, now_ms) for test, value in zip(self.tests, entry.timed, strict=True))

    def next_edge(self, state: Entries | None, now_ms: int) -> int | None:
        if state is None:
            return None
        edges = [*self._window_edges(state, now_ms), *self._test_edges(state, now_ms)]
        return min((edge for edge in edges if edge > now_ms), default=None)

    def _window_edges(self, state: Entries, now_ms: int) -> Iterable[int]:
        """When the next event comes in or leaves: they are in order, so it is one of two."""
        match self.window:
            case Within(length_ms=length):
                shifts: tuple[int, ...] = (length,)
            case Between(from_ms=from_ms, to_ms=to_ms):
                shifts = (to_ms, from_ms)
            case Calendar():
                if _first_after(state, span(self.window, now_ms)[0]) < len(state.entries):
                    yield period(self.window, now_ms)[1]
                return
            case _:
                return
        for shift in shifts:
            at = _first_after(state, now_ms - shift)
            if at < len(state.entries):
                yield state.entries[at].time_ms + shift

    def _test_edges(self, state: Entries, now_ms: int) -> Iterable[int]:
        for index, test in enumerate(self.tests):
            for entry in state.entries:
                edge = test.next_edge(entry.timed[index], now_ms)
                if edge is not None:
                    yield edge


def _first_after(state: Entries, time_ms: int) -> int:
    """The index of the first entry later than ``time_ms``."""
    return bisect_right(state.entries, time_ms, key=_time_of)


def _time_of(entry: Entry) -> int:
    return entry.time_ms


def _sum(entries: list[Entry]) -> tuple[int, Decimal]:
    return len(entries), reduce(add_exact, (exact(entry.value) for entry in entries), ZERO)


#: Kind -> its aggregate over entries, oldest first.
_SUMMARIES: dict[str, Callable[[list[Entry]], Any]] = {
    "count": len,
    "sum": _sum,
    "min": lambda entries: min((entry.value for entry in entries), default=None),
    "max": lambda entries: max((entry.value for entry in entries), default=None),
    "distinct": lambda entries: len({entry.value for entry in entries}),
    "latest": lambda entries: entries[-1].value if entries else None,
    "earliest": lambda entries: entries[0].value if entries else None,
    "first": lambda entries: entries[0].time_ms if entries else None,
    "last": lambda entries: entries[-1].time_ms if entries else None,
}
