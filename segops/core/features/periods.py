"""Periods that slide back from now (``SPEC.md#regularly``): in which of them there was an event.

The state has event times, without those that decide nothing: if the times before and after a time are at most
a period apart, every period that contains it contains one of those, too. So at most two times per period are
kept, and three more.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

from segops.core.features.bands import Series
from segops.core.features.states import Marks

NEW, ACTIVE, RESURRECTED, DORMANT = STAGES = ("new", "active", "resurrected", "dormant")


class _Periods:
    """``number`` periods of ``period_ms``; ``keeps_first``: the first time of all is kept, however old."""

    keeps_first = False

    def __init__(self, period_ms: int, number: int) -> None:
        self.period_ms = period_ms
        self.number = number
        self.length_ms = period_ms * number

    def add(self, state: Marks | None, time_ms: int, value: Any, now_ms: int) -> Marks | None:
        times = [] if state is None else state.times
        expired_ms = now_ms - self.length_ms
        is_first = self.keeps_first and (not times or time_ms < times[0])
        if time_ms <= expired_ms and not is_first:
            return None
        begin = int(self.keeps_first)
        del times[begin : max(begin, bisect_right(times, expired_ms))]
        return (state or Marks(times)) if self._insert(times, time_ms) else None

    def _insert(self, times: list[int], time_ms: int) -> bool:
        """Insert a time, unless it decides nothing; remove those beside it that no longer do."""
        at, period_ms = bisect_left(times, time_ms), self.period_ms
        if at < len(times) and (times[at] == time_ms or (at and times[at] - times[at - 1] <= period_ms)):
            return False
        times.insert(at, time_ms)
        if at + 2 < len(times) and times[at + 2] - time_ms <= period_ms:
            del times[at + 1]
        if at >= 2 and time_ms - times[at - 2] <= period_ms:
            del times[at - 1]
        return True


class OccupiedPeriods(_Periods):
    """The number of periods with an event."""

    def read(self, state: Marks | None, now_ms: int) -> int:
        return 0 if state is None else len(self._occupied(state, now_ms))

    def _occupied(self, state: Marks, now_ms: int) -> Counter[int]:
        """Return the numbers of the periods with a time, 0 being the latest, and how many times each has."""
        numbers = ((now_ms - time_ms) // self.period_ms for time_ms in state.times)
        return Counter(number for number in numbers if number < self.number)

    def next_crossing(self, state: Marks | None, k: int, now_ms: int) -> int | None:
        """Return when it next begins or ends, without another event, that ``k`` periods have an event.

        A whole period later, the same periods have an event, each one number higher, except those that have
        passed the last one. So the number can only rise within one period from now; and when it falls below
        ``k`` follows from the k-th latest period with an event, for each phase of that one period.
        """
        if state is None:
            return None
        ends: list[int] = []
        occupied = self._occupied(state, now_ms)
        holds = len(occupied) >= k
        for offset, present in self._phases(state, occupied, now_ms):
            if (len(present) >= k) is not holds:
                return min([now_ms + offset, *ends])
            if holds:
                ends.append(now_ms + offset + (self.number - present[k - 1]) * self.period_ms)
        return min(ends, default=None)

    def _phases(self, state: Marks, occupied: Counter[int], now_ms: int) -> Iterator[tuple[int, list[int]]]:
        """Yield the phases of one period from now: when each begins, and which periods have a time in it."""
        present = sorted(occupied)
        yield 0, present
        ages = (divmod(now_ms - time_ms, self.period_ms) for time_ms in state.times)
        moves = sorted((self.period_ms - passed_ms, number) for number, passed_ms in ages)
        for offset, leaving in groupby(moves, key=itemgetter(0)):
            for _, number in leaving:
                if number < self.number:
                    _move(occupied, present, number, self.number)
            yield offset, present


def _move(occupied: Counter[int], present: list[int], number: int, end: int) -> None:
    """Move one time from a period to the one before it, unless that is the ``end``."""
    occupied[number] -= 1
    if not occupied[number]:
        present.remove(number)
    if number + 1 < end:
        occupied[number + 1] += 1
        if occupied[number + 1] == 1:
            insort(present, number + 1)


class Lifecycle(_Periods):
    """The stage by the latest period, the one before it, and all earlier time; None: no event."""

    keeps_first = True

    def __init__(self, period_ms: int) -> None:
        super().__init__(period_ms, 2)

    def read(self, state: Marks | None, now_ms: int) -> str | None:
        if state is None:
            return None
        age_ms = now_ms - state.times[0]
        numbers = {(now_ms - time_ms) // self.period_ms for time_ms in state.times}
        if 0 not in numbers:
            return DORMANT
        if 1 in numbers:
            return ACTIVE
        return NEW if age_ms < self.period_ms else RESURRECTED

    def future(self, state: Marks | None, now_ms: int) -> Series:
        yield now_ms, self.read(state, now_ms)
        shifts = (self.period_ms, self.length_ms)
        times = [] if state is None else state.times
        for at in sorted({time_ms + shift for time_ms in times for shift in shifts}):
            if at > now_ms:
                yield at, self.read(state, at)
