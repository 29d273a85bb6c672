"""``within``: the oldest event leaves first, exactly at its time plus the window's length."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from segops.core.features.bands import Points, Series, end_of_instant
from segops.core.features.feature import MAX_ENTRIES, PANES
from segops.core.features.running import ZERO
from segops.core.features.states import EventTimes, Sums, Values
from segops.core.values import add_exact, numbers_of, subtract_exact


class SlidingCount:
    """The number of events, exact up to ``capacity``: only that many of the latest are kept.

    A state with more entries, from a larger capacity before, does not grow, and shrinks as they expire.
    """

    def __init__(self, length_ms: int, capacity: int) -> None:
        self.length_ms = length_ms
        self.capacity = capacity

    def add(self, state: EventTimes | None, time_ms: int, value: Any, now_ms: int) -> EventTimes | None:
        expired_ms = now_ms - self.length_ms
        if time_ms <= expired_ms:
            return None
        if state is None:
            return EventTimes([time_ms])
        times = state.times
        if times[0] <= expired_ms:
            del times[: bisect_right(times, expired_ms)]
        at = bisect_right(times, time_ms)
        if at == 0 and len(times) >= self.capacity:
            return None
        times.insert(at, time_ms)
        if len(times) > self.capacity:
            del times[0]
        return state

    def read(self, state: EventTimes | None, now_ms: int) -> int:
        return 0 if state is None else len(state.times) - bisect_right(state.times, now_ms - self.length_ms)

    def next_crossing(self, state: EventTimes | None, falling: tuple[int, ...], now_ms: int) -> int | None:
        """Return when the count next falls below one of ``falling`` (greatest first) by expiry."""
        return None if state is None else _next_crossing(state.times, self.length_ms, falling, now_ms)


def _next_crossing(times: list[int], length_ms: int, falling: tuple[int, ...], now_ms: int) -> int | None:
    # The number of times is below k from the instant at which the k-th latest leaves.
    kept = len(times)
    for threshold in falling:
        if threshold <= kept:
            at = times[-threshold] + length_ms
            if at > now_ms:
                return at
    return None


#: Finds the entry whose leaving takes the count, the sum or the mean out of its band (``bands``).
Leaving = Callable[[Sums, int, Points], int]


class SlidingSum:
    """The number of values and their exact sum."""

    def __init__(self, length_ms: int) -> None:
        self.length_ms = length_ms

    def add(self, state: Sums | None, time_ms: int, value: Any, now_ms: int) -> Sums | None:
        if time_ms <= now_ms - self.length_ms:
            return None
        if state is None:
            state = Sums([], [], [], 0, ZERO)
        self._expire(state, now_ms)
        number, total = (1, ZERO) if value is None else numbers_of(value)
        self._insert(state, time_ms, number, total)
        if is_long(state):
            fold(state, max(1, self.length_ms // PANES))
        return state

    def _expire(self, state: Sums, now_ms: int) -> None:
        expired = bisect_right(state.times, now_ms - self.length_ms)
        if expired:
            state.base_count, state.base_total = state.counts[expired - 1], state.totals[expired - 1]
            del state.times[:expired], state.counts[:expired], state.totals[:expired]

    def _insert(self, state: Sums, time_ms: int, number: int, value: Decimal) -> None:
        at = bisect_right(state.times, time_ms)
        count, total = self._upto(state, at)
        state.times.insert(at, time_ms)
        state.counts.insert(at, count + number)
        state.totals.insert(at, add_exact(total, value))
        for i in range(at + 1, len(state.times)):
            state.counts[i] += number
            state.totals[i] = add_exact(state.totals[i], value)

    @staticmethod
    def _upto(state: Sums, at: int) -> tuple[int, Decimal]:
        return (state.counts[at - 1], state.totals[at - 1]) if at else (state.base_count, state.base_total)

    def read(self, state: Sums | None, now_ms: int) -> tuple[int, Decimal]:
        if state is None or not state.times:
            return 0, ZERO
        count, total = self._upto(state, bisect_right(state.times, now_ms - self.length_ms))
        return state.counts[-1] - count, subtract_exact(state.totals[-1], total)

    def crossings(self, state: Sums | None, points: Points, leaving: Leaving, now_ms: int) -> Series:
        """Yield what ``read`` returns now, and whenever the number of ``leaving`` changes its band."""
        yield now_ms, self.read(state, now_ms)
        if state is None:
            return
        begin = bisect_right(state.times, now_ms - self.length_ms)
        while begin < len(state.times) and (at := leaving(state, begin, points)) < len(state.times):
            begin = end_of_instant(state.times, at)
            count, total = self._upto(state, begin)
            instant = state.times[at] + self.length_ms
            yield instant, (state.counts[-1] - count, subtract_exact(state.totals[-1], total))

    def future(self, state: Sums | None, now_ms: int) -> Series:
        yield now_ms, self.read(state, now_ms)
        if state is None or not state.times:
            return
        times, last = state.times, len(state.times) - 1
        count, total = state.counts[-1], state.totals[-1]
        for at in range(bisect_right(times, now_ms - self.length_ms), len(times)):
            if at == last or times[at] != times[at + 1]:
                left = count - state.counts[at], subtract_exact(total, state.totals[at])
                yield times[at] + self.length_ms, left


def is_long(state: Sums) -> bool:
    """Return whether the state has to be folded."""
    return len(state.times) > MAX_ENTRIES


def fold(state: Sums, pane_ms: int) -> None:
    """Keep only the last entry of each pane of the older half: a pane leaves with its last event."""
    half = len(state.times) // 2
    keep = [i for i in range(half) if state.times[i] // pane_ms != state.times[i + 1] // pane_ms]
    keep += range(half, len(state.times))
    state.times = [state.times[i] for i in keep]
    state.counts = [state.counts[i] for i in keep]
    state.totals = [state.totals[i] for i in keep]


Insert = Callable[[Values, int, Any, "SlidingValue"], bool]


class SlidingValue:
    """The min, max, earliest or latest value (None if there is none), or the number of distinct values."""

    def __init__(self, length_ms: int, kind: str, capacity: int | None) -> None:
        self.length_ms = length_ms
        self.kind = kind
        self.capacity = capacity
        self._insert = _INSERTS[kind]
        self._read = _READS[kind]

    def add(self, state: Values | None, time_ms: int, value: Any, now_ms: int) -> Values | None:
        expired_ms = now_ms - self.length_ms
        if time_ms <= expired_ms:
            return None
        if state is None:
            return Values([time_ms], [value])
        if state.times and state.times[0] <= expired_ms:
            expired = bisect_right(state.times, expired_ms)
            del state.times[:expired], state.values[:expired]
        return state if self._insert(state, time_ms, value, self) else None

    def read(self, state: Values | None, now_ms: int) -> Any:
        if state is None:
            return self._read([], 0)
        return self._read(state.values, bisect_right(state.times, now_ms - self.length_ms))

    def next_crossing(self, state: Values | None, falling: tuple[int, ...], now_ms: int) -> int | None:
        """Return when the number of distinct values next falls below one of ``falling`` (greatest first)."""
        return None if state is None else _next_crossing(state.times, self.length_ms, falling, now_ms)

    def future(self, state: Values | None, now_ms: int) -> Series:
        yield now_ms, self.read(state, now_ms)
        if state is None:
            return
        times, values = state.times, state.values
        last = len(times) - 1
        for at in range(bisect_right(times, now_ms - self.length_ms), len(times)):
            if at == last or times[at] != times[at + 1]:
                yield times[at] + self.length_ms, self._read(values, at + 1)


def _insert_extreme(beats: Callable[[Any, Any], bool]) -> Insert:
    """Keep only values that no later event beats: the oldest kept value is the extreme of the window."""

    def insert(state: Values, time_ms: int, value: Any, _spec: SlidingValue) -> bool:
        at = bisect_right(state.times, time_ms)
        if at < len(state.times) and not beats(value, state.values[at]):
            return False
        begin = at
        while begin and not beats(state.values[begin - 1], value):
            begin -= 1
        state.times[begin:at], state.values[begin:at] = [time_ms], [value]
        return True

    return insert


def _insert_latest(state: Values, time_ms: int, value: Any, _spec: SlidingValue) -> bool:
    if state.times and time_ms < state.times[-1]:
        return False
    state.times[:], state.values[:] = [time_ms], [value]
    return True


def _insert_earliest(state: Values, time_ms: int, value: Any, spec: SlidingValue) -> bool:
    at = bisect_right(state.times, time_ms)
    state.times.insert(at, time_ms)
    state.values.insert(at, value)
    if len(state.times) > MAX_ENTRIES:
        _thin(state, max(1, spec.length_ms // PANES))
    return True


def _thin(state: Values, pane_ms: int) -> None:
    half = len(state.times) // 2
    keep = [i for i in range(half) if i == 0 or state.times[i] // pane_ms != state.times[i - 1] // pane_ms]
    keep += range(half, len(state.times))
    state.times, state.values = [state.times[i] for i in keep], [state.values[i] for i in keep]


def _insert_distinct(state: Values, time_ms: int, value: Any, spec: SlidingValue) -> bool:
    if value in state.values:
        known = state.values.index(value)
        if state.times[known] >= time_ms:
            return False
        del state.times[known], state.values[known]
    elif spec.capacity is not None and len(state.times) >= spec.capacity:
        if time_ms < state.times[0]:
            return False
        del state.times[0], state.values[0]
    at = bisect_right(state.times, time_ms)
    state.times.insert(at, time_ms)
    state.values.insert(at, value)
    return True


_INSERTS: dict[str, Insert] = {
    "min": _insert_extreme(lambda a, b: bool(a < b)),
    "max": _insert_extreme(lambda a, b: bool(a > b)),
    "latest": _insert_latest,
    "earliest": _insert_earliest,
    "distinct": _insert_distinct,
}


def _oldest(values: list[Any], begin: int) -> Any:
    return values[begin] if begin < len(values) else None


def _newest(values: list[Any], begin: int) -> Any:
    return values[-1] if begin < len(values) else None


def _count(values: list[Any], begin: int) -> int:
    return len(values) - begin


_READS: dict[str, Callable[[list[Any], int], Any]] = {
    "min": _oldest,
    "max": _oldest,
    "earliest": _oldest,
    "latest": _newest,
    "distinct": _count,
}
