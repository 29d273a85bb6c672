"""Aggregates over events that enter and leave a window one at a time, in any order."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Protocol

from segops.core.features.states import Entry
from segops.core.values import add_exact, distinct_key, numbers_of, subtract_exact, values_of


class WindowAggregate(Protocol):
    """The aggregate of the events that count now, each given by its index in the entries."""

    def enter(self, at: int) -> None:
        """Add an entry."""

    def leave(self, at: int) -> None:
        """Remove an entry."""

    def value(self) -> Any:
        """Return the aggregate."""


class _Count:
    def __init__(self, _entries: list[Entry]) -> None:
        self.count = 0

    def enter(self, _at: int) -> None:
        self.count += 1

    def leave(self, _at: int) -> None:
        self.count -= 1

    def value(self) -> int:
        return self.count


class _Sum:
    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.count = 0
        self.total = Decimal(0)

    def enter(self, at: int) -> None:
        number, total = numbers_of(self.entries[at].value)
        self.count += number
        self.total = add_exact(self.total, total)

    def leave(self, at: int) -> None:
        number, total = numbers_of(self.entries[at].value)
        self.count -= number
        self.total = subtract_exact(self.total, total)

    def value(self) -> tuple[int, Decimal]:
        return self.count, self.total


class _Distinct:
    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.counts: Counter[str] = Counter()

    def enter(self, at: int) -> None:
        self.counts.update(values_of(self.entries[at].value))

    def leave(self, at: int) -> None:
        for value in values_of(self.entries[at].value):
            self.counts[value] -= 1
            if not self.counts[value]:
                del self.counts[value]

    def value(self) -> int:
        return len(self.counts)


class _MostFrequent:
    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        #: Value -> the places of its copies in order: the index of the entry, and that in the entry's list.
        self.held: dict[str, list[tuple[int, int]]] = {}
        self.best = ""

    def enter(self, at: int) -> None:
        for index, value in enumerate(self.entries[at].value):
            key = distinct_key(value)
            insort(self.held.setdefault(key, []), (at, index))
            if self._rank(key) > self._rank(self.best):
                self.best = key

    def leave(self, at: int) -> None:
        for index, value in enumerate(self.entries[at].value):
            key = distinct_key(value)
            places = self.held[key]
            del places[bisect_left(places, (at, index))]
            if key == self.best:  # the others have only fallen
                self.best = max(self.held, key=self._rank)
            if not places:
                del self.held[key]

    def _rank(self, key: str) -> tuple[int, tuple[int, int]]:
        places = self.held.get(key)
        return (len(places), places[-1]) if places else (0, (-1, -1))

    def value(self) -> Any:
        places = self.held.get(self.best)
        if not places:
            return None
        at, index = places[-1]
        return self.entries[at].value[index]


class _Ordered:
    """The first or the last key in order; ``result`` turns it into the aggregate."""

    def __init__(self, key: Callable[[int], Any], pick: int, result: Callable[[Any], Any]) -> None:
        self.key, self.pick, self.result = key, pick, result
        self.keys: list[Any] = []

    def enter(self, at: int) -> None:
        insort(self.keys, self.key(at))

    def leave(self, at: int) -> None:
        del self.keys[bisect_left(self.keys, self.key(at))]

    def value(self) -> Any:
        return self.result(self.keys[self.pick]) if self.keys else None


def _same(value: Any) -> Any:
    return value


def _by_value(pick: int) -> Callable[[list[Entry]], WindowAggregate]:
    return lambda entries: _Ordered(lambda at: entries[at].value, pick, _same)


def _by_index(pick: int, part: Callable[[Entry], Any]) -> Callable[[list[Entry]], WindowAggregate]:
    return lambda entries: _Ordered(_same, pick, lambda at: part(entries[at]))


#: Kind -> a factory of its aggregate, initially empty; the entries are given oldest first.
AGGREGATES: dict[str, Callable[[list[Entry]], WindowAggregate]] = {
    "count": _Count,
    "sum": _Sum,
    "distinct": _Distinct,
    "min": _by_value(0),
    "max": _by_value(-1),
    "most_frequent": _MostFrequent,
    "latest": _by_index(-1, lambda entry: entry.value),
    "earliest": _by_index(0, lambda entry: entry.value),
    "first": _by_index(0, lambda entry: entry.time_ms),
    "last": _by_index(-1, lambda entry: entry.time_ms),
}
