"""Aggregates over a path through lists: one event has several values.

A sum adds the numbers of one event as one entry, so that a message that two merged profiles have both seen
is one entry of each. Distinct values are added one by one: a second copy changes no reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from segops.core.features.feature import Feature, Reducer
from segops.core.values import values_of
from segops.core.windows import Between, SinceLast

Add = Callable[[Any, int, Any, int], Any]


def adds_each(feature: Feature) -> bool:
    """Return whether an event may have a list of values that the feature's reducer adds one by one.

    >>> from segops.core.windows import ALWAYS
    >>> paths = ("category",), ("products", "category")
    >>> [adds_each(Feature("distinct", ("Order Completed",), (), ALWAYS, path)) for path in paths]
    [False, True]
    """
    scans = isinstance(feature.window, Between | SinceLast) or feature.timed_where
    return feature.kind == "distinct" and len(feature.path or ()) > 1 and not scans


def spread(events: Iterable[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """Return the time and the value of all that these events add.

    >>> spread([(5, ["sx", "sy"]), (6, "sx")])
    [(5, 'sx'), (5, 'sy'), (6, 'sx')]
    """
    return [(time_ms, one) for time_ms, value in events for one in values_of(value)]


def adding(feature: Feature, reducer: Reducer) -> Add:
    """Return the function that adds what an event has to the state of a feature."""
    add = reducer.add
    if not adds_each(feature):
        return add

    def add_each(state: Any, time_ms: int, value: Any, now_ms: int) -> Any:
        changed = None
        for one in values_of(value):
            found = add(state, time_ms, one, now_ms)
            if found is not None:
                state = changed = found
        return changed

    return add_each
