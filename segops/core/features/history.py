"""The history of a trait: enough values to know how long a predicate has held, and when the trait changed."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from segops.core.features.feature import MAX_ENTRIES
from segops.core.features.states import Values


class TraitHistory:
    """The values of a trait and their times, oldest first: those within the length, and the previous one.

    Of more than ``MAX_ENTRIES`` the oldest are forgotten.
    """

    def __init__(self, length_ms: int) -> None:
        self.length_ms = length_ms

    def add(self, state: Values | None, time_ms: int, value: Any, now_ms: int) -> Values | None:
        if state is None:
            return Values([time_ms], [value])
        at = bisect_right(state.times, time_ms)
        state.times.insert(at, time_ms)
        state.values.insert(at, value)
        in_force = bisect_right(state.times, now_ms - self.length_ms) - 1
        forgotten = max(in_force, len(state.times) - MAX_ENTRIES)
        if forgotten > 0:
            del state.times[:forgotten], state.values[:forgotten]
        return state

    def read(self, state: Values | None, _now_ms: int) -> Values | None:
        return state
