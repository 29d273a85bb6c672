"""Windows that drop nothing, or everything at once: all time, fixed dates, the current calendar period."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Generic, TypeVar

from segops.core.features.states import Keys, RunningValue, Tally, Total
from segops.core.values import add_exact, numbers_of
from segops.core.windows import ALWAYS, Calendar, Fixed, period, span

S = TypeVar("S", Tally, Total, RunningValue, Keys)
ZERO = Decimal(0)


class _Running(Generic[S]):
    """One accumulator, which restarts with every calendar period."""

    def __init__(self, window: Fixed | Calendar, capacity: int | None = None) -> None:
        self.window = window
        self.capacity = capacity

    def _begin(self, since_ms: int, time_ms: int, value: Any) -> S:
        raise NotImplementedError

    def _step(self, state: S, time_ms: int, value: Any) -> bool:
        raise NotImplementedError

    def _value(self, state: S | None) -> Any:
        raise NotImplementedError

    def _since(self, now_ms: int) -> int:
        return period(self.window, now_ms)[0] if isinstance(self.window, Calendar) else 0

    def add(self, state: S | None, time_ms: int, value: Any, now_ms: int) -> S | None:
        if self.window is not ALWAYS:
            after, upto = span(self.window, now_ms)
            if not after < time_ms <= upto:
                return None
        since = self._since(now_ms)
        if state is None or state.since_ms != since:
            return self._begin(since, time_ms, value)
        return state if self._step(state, time_ms, value) else None

    def read(self, state: S | None, now_ms: int) -> Any:
        return self._value(state if state is not None and state.since_ms == self._since(now_ms) else None)

    def next_edge(self, state: S | None, now_ms: int) -> int | None:
        if state is None or not isinstance(self.window, Calendar):
            return None
        since, until = period(self.window, now_ms)
        return until if state.since_ms == since else None


class RunningCount(_Running[Tally]):
    """The number of events."""

    def _begin(self, since_ms: int, time_ms: int, value: Any) -> Tally:
        return Tally(since_ms, 1)

    def _step(self, state: Tally, time_ms: int, value: Any) -> bool:
        state.count += 1
        return True

    def _value(self, state: Tally | None) -> int:
        return 0 if state is None else state.count


class RunningSum(_Running[Total]):
    """The number of values and their exact sum."""

    def _begin(self, since_ms: int, time_ms: int, value: Any) -> Total:
        return Total(since_ms, *numbers_of(value))

    def _step(self, state: Total, time_ms: int, value: Any) -> bool:
        number, total = numbers_of(value)
        state.count += number
        state.total = add_exact(state.total, total)
        return True

    def _value(self, state: Total | None) -> tuple[int, Decimal]:
        return (0, ZERO) if state is None else (state.count, state.total)


class RunningDistinct(_Running[Keys]):
    """The number of distinct values, exact up to the capacity."""

    def _begin(self, since_ms: int, time_ms: int, value: Any) -> Keys:
        return Keys(since_ms, [value])

    def _step(self, state: Keys, time_ms: int, value: Any) -> bool:
        keys = state.keys
        at = bisect_left(keys, value)
        if at < len(keys) and keys[at] == value:
            return False
        if self.capacity is not None and len(keys) >= self.capacity:
            return False
        keys.insert(at, value)
        return True

    def _value(self, state: Keys | None) -> int:
        return 0 if state is None else len(state.keys)


#: Kind -> whether an event with this time and value replaces the current one.
REPLACES: dict[str, Callable[[RunningValue, int, Any], bool]] = {
    "min": lambda current, _, value: bool(value < current.value),
    "max": lambda current, _, value: bool(value > current.value),
    "latest": lambda current, time_ms, _: time_ms >= current.time_ms,
    "earliest": lambda current, time_ms, _: time_ms < current.time_ms,
    "first": lambda current, time_ms, _: time_ms < current.time_ms,
    "last": lambda current, time_ms, _: time_ms > current.time_ms,
}


class RunningSelected(_Running[RunningValue]):
    """The extreme, first or latest value; for ``first`` and ``last`` its time. None if there is none."""

    def __init__(self, window: Fixed | Calendar, kind: str) -> None:
        super().__init__(window)
        self._replaces = REPLACES[kind]
        self._reads_time = kind in ("first", "last")

    def _begin(self, since_ms: int, time_ms: int, value: Any) -> RunningValue:
        return RunningValue(since_ms, time_ms, value)

    def _step(self, state: RunningValue, time_ms: int, value: Any) -> bool:
        if not self._replaces(state, time_ms, value):
            return False
        state.time_ms, state.value = time_ms, value
        return True

    def _value(self, state: RunningValue | None) -> Any:
        if state is None:
            return None
        return state.time_ms if self._reads_time else state.value
