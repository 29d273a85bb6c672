"""``between``, and conditions on an event that change with time: keep every event that may still count."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from functools import lru_cache, reduce
from typing import Any, Final

from segops.core.features.bands import Series
from segops.core.features.feature import MAX_ENTRIES
from segops.core.features.running import ZERO
from segops.core.features.states import Entries, Entry
from segops.core.features.window_aggregates import AGGREGATES, WindowAggregate
from segops.core.operators import Predicate
from segops.core.values import add_exact, distinct_key, numbers_of, values_of
from segops.core.windows import Between, Calendar, Fixed, Window, Within, period, span

YEAR_MS = 366 * 86_400_000
#: Only anniversaries have infinitely many edges. Beyond this time and number of edges, they only repeat.
LOOK_AHEAD_MS = 3_653 * 86_400_000
MAX_STEPS = 64
#: Later than the sum of any date and duration.
NEVER: Final = 1 << 62
#: The number of dates for which a feature caches when its conditions hold.
MAX_SPANS = 8_192

Spans = tuple[tuple[int, int], ...]
_ALWAYS: Spans = ((-NEVER, NEVER),)


class Scanning:
    """Any aggregate, computed from the events at every reading.

    An event's value is a pair: the value of the property, and the values that its timed conditions read.
    """

    def __init__(self, window: Window, kind: str, tests: tuple[Predicate, ...]) -> None:
        self.window = window
        self.tests = tests
        self.kind = kind
        self.most = MAX_ENTRIES if kind == "most_frequent" else None
        self.periodic = any(name == "anniversary_in_next" for test in tests for name, _ in test.ops)
        self._known_spans = lru_cache(MAX_SPANS)(self._find_spans)
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
        if self.most is not None and len(state.entries) > self.most:
            del state.entries[0]
        return state

    def newest(self, entries: list[Entry]) -> list[Entry]:
        """Return the entries that are kept of these, which are in order of time."""
        return entries if self.most is None else entries[-self.most :]

    def entries(self, events: Iterable[tuple[int, Any]], now_ms: int) -> list[Entry]:
        """Return the entries of events in order of time that are kept at ``now_ms``."""
        after, _ = span(self.window, now_ms)
        kept = [
            Entry(time_ms, *value)
            for time_ms, value in events
            if time_ms > after and self._may_count(time_ms)
        ]
        return self.newest(kept)

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

    def future(self, state: Entries | None, now_ms: int) -> Series:
        if isinstance(self.window, Fixed) and not self.tests:
            yield now_ms, self.read(state, now_ms)  # no event leaves
            return
        entries = [] if state is None else state.entries
        aggregate, passed = AGGREGATES[self.kind](entries), 0
        while True:
            until_ms = now_ms + LOOK_AHEAD_MS if self.periodic else NEVER
            steps = sorted(self._steps(entries, now_ms, until_ms))
            yield from _sweep(aggregate, steps, now_ms)
            passed += len(steps)
            if not steps or passed > MAX_STEPS or not self.periodic:
                return
            now_ms, aggregate = until_ms, AGGREGATES[self.kind](entries)

    def _steps(self, entries: list[Entry], now_ms: int, until_ms: int) -> Iterator[tuple[int, int]]:
        """Yield when an entry enters, with its index, and when it leaves, with the index's complement."""
        in_window = self._in_window(now_ms)
        for index, entry in enumerate(entries):
            enters, leaves = in_window(entry.time_ms)
            if leaves <= now_ms:
                continue
            for begin, end in self._spans(entry.timed, now_ms):
                begin, end = max(begin, enters, now_ms), min(end, leaves)
                if begin < end and begin < until_ms:
                    yield begin, index
                    if end < until_ms:
                        yield end, ~index

    def _in_window(self, now_ms: int) -> Callable[[int], tuple[int, int]]:
        """Return a function from an event time to the present or future span of the event in the window."""
        match self.window:
            case Within(length_ms=length):
                return lambda time_ms: (time_ms, time_ms + length)
            case Between(from_ms=from_ms, to_ms=to_ms):
                return lambda time_ms: (time_ms + to_ms, time_ms + from_ms)
        after, _ = span(self.window, now_ms)
        end = period(self.window, now_ms)[1] if isinstance(self.window, Calendar) else NEVER
        return lambda time_ms: (time_ms, end if time_ms > after else now_ms)

    def _spans(self, timed: tuple[Any, ...], now_ms: int) -> Spans:
        if not self.tests:
            return _ALWAYS
        if not all(value.__class__ is str for value in timed):
            return ()  # not dates
        return self._known_spans(timed, now_ms // YEAR_MS if self.periodic else None)

    def _find_spans(self, timed: tuple[str, ...], year: int | None) -> Spans:
        """Find when all conditions hold; periodic ones, from ``year`` up to ``LOOK_AHEAD_MS`` after it."""
        at: int | None = -NEVER if year is None else year * YEAR_MS
        until = NEVER if year is None else (year + 1) * YEAR_MS + LOOK_AHEAD_MS
        found: list[tuple[int, int]] = []
        while at is not None and at < until:
            edges = (test.next_edge(value, at) for test, value in zip(self.tests, timed, strict=True))
            later = min((edge for edge in edges if edge is not None), default=None)
            if all(test.holds(value, at) for test, value in zip(self.tests, timed, strict=True)):
                begin = found.pop()[0] if found and found[-1][1] == at else at
                found.append((begin, until if later is None else min(later, until)))
            at = later
        return tuple(found)


def _sweep(aggregate: WindowAggregate, steps: list[tuple[int, int]], now_ms: int) -> Series:
    at = now_ms
    for instant, index in steps:
        if instant != at:
            yield at, aggregate.value()
            at = instant
        if index >= 0:
            aggregate.enter(index)
        else:
            aggregate.leave(~index)
    yield at, aggregate.value()


def _first_after(state: Entries, time_ms: int) -> int:
    """Return the index of the first entry later than ``time_ms``."""
    return bisect_right(state.entries, time_ms, key=_time_of)


def _time_of(entry: Entry) -> int:
    return entry.time_ms


def _sum(entries: list[Entry]) -> tuple[int, Decimal]:
    found = [numbers_of(entry.value) for entry in entries]
    return sum(number for number, _ in found), reduce(add_exact, (total for _, total in found), ZERO)


def _most_frequent(entries: list[Entry]) -> Any:
    """Return the most frequent of the values in the entries; of several such values, the last one."""
    counts: Counter[str] = Counter()
    last: dict[str, int] = {}
    values = [value for entry in entries for value in entry.value]
    for at, value in enumerate(values):
        key = distinct_key(value)
        counts[key] += 1
        last[key] = at
    if not counts:
        return None
    return values[max((number, last[key]) for key, number in counts.items())[1]]


#: Kind -> its aggregate over entries, oldest first.
_SUMMARIES: dict[str, Callable[[list[Entry]], Any]] = {
    "count": len,
    "sum": _sum,
    "min": lambda entries: min((entry.value for entry in entries), default=None),
    "max": lambda entries: max((entry.value for entry in entries), default=None),
    "distinct": lambda entries: len({value for entry in entries for value in values_of(entry.value)}),
    "most_frequent": _most_frequent,
    "latest": lambda entries: entries[-1].value if entries else None,
    "earliest": lambda entries: entries[0].value if entries else None,
    "first": lambda entries: entries[0].time_ms if entries else None,
    "last": lambda entries: entries[-1].time_ms if entries else None,
}
