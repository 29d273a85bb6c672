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
        state.entries = [kept for kept in state.entries if kept.time_ms > after]
        at = bisect_right(state.entries, time_ms, key=lambda kept: kept.time_ms)
        state.entries.insert(at, entry)
        return state

    def _may_count(self, time_ms: int) -> bool:
        return isinstance(self.window, Between) or time_ms <= span(self.window, time_ms)[1]

    def read(self, state: Entries | None, now_ms: int) -> Any:
        after, upto = span(self.window, now_ms)
        entries = () if state is None else state.entries
        return self._summary(
            [
                entry
                for entry in entries
                if after < entry.time_ms <= upto
                and all(
                    test.holds(value, now_ms) for test, value in zip(self.tests, entry.timed, strict=True)
                )
            ]
        )

    def next_edge(self, state: Entries | None, now_ms: int) -> int | None:
        if state is None:
            return None
        edges = (edge for entry in state.entries for edge in self._edges(entry, now_ms))
        return min((edge for edge in edges if edge is not None and edge > now_ms), default=None)

    def _edges(self, entry: Entry, now_ms: int) -> Iterable[int | None]:
        match self.window:
            case Within(length_ms=length):
                yield entry.time_ms + length
            case Between(from_ms=from_ms, to_ms=to_ms):
                yield entry.time_ms + to_ms
                yield entry.time_ms + from_ms
            case Calendar():
                if entry.time_ms > span(self.window, now_ms)[0]:
                    yield period(self.window, now_ms)[1]
        for test, value in zip(self.tests, entry.timed, strict=True):
            yield test.next_edge(value, now_ms)


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
