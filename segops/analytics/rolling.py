"""The sum of a figure over a sliding window that ends at one instant after another."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import Final

#: Ended entries that are kept, so that they are deleted many at a time.
_SPARE: Final = 64


class Rolling:
    """Numbers by step, and their sum over the window that ends at ``at_ms``: after ``at_ms - window_ms``.

    Both are multiples of the step. Takes 16 bytes per step of the window in which there is a number, and per
    step after ``at_ms``.

    >>> rolling = Rolling(3_600_000, 60_000)
    >>> rolling.add(0, 5), rolling.add(120_000, 2)
    (None, None)
    >>> rolling.edges(7_200_000)
    [60000, 180000, 3660000, 3780000]
    >>> rolling.move(180_000); (rolling.inside, rolling.later)
    (7, 0)
    >>> rolling.move(3_660_000); rolling.inside
    2
    """

    __slots__ = ("_ends", "_numbers", "_step_ms", "_window_ms", "at_ms", "inside", "later")

    def __init__(self, window_ms: int, step_ms: int, at_ms: int = 0) -> None:
        self._window_ms = window_ms
        self._step_ms = step_ms
        self._ends = array("q")
        self._numbers = array("q")
        self.at_ms = at_ms // step_ms * step_ms
        #: The sum of the window, and the sum of all after it.
        self.inside = self.later = 0

    def add(self, time_ms: int, number: int) -> None:
        """Add to the step that contains an instant; ignore one from before the window."""
        end_ms = (time_ms // self._step_ms + 1) * self._step_ms
        if not number or end_ms <= self.at_ms - self._window_ms:
            return
        if end_ms > self.at_ms:
            self.later += number
        else:
            self.inside += number
        index = bisect_left(self._ends, end_ms)
        if index < len(self._ends) and self._ends[index] == end_ms:
            self._numbers[index] += number
        else:
            self._ends.insert(index, end_ms)
            self._numbers.insert(index, number)

    def edges(self, until_ms: int) -> list[int]:
        """Return the instants after ``at_ms``, up to ``until_ms``, at which one of the sums changes."""
        window_ms = self._window_ms
        entering = self._ends[self._slice(self.at_ms, until_ms)]
        leaving = self._ends[self._slice(self.at_ms - window_ms, until_ms - window_ms)]
        return sorted({*entering, *(end_ms + window_ms for end_ms in leaving)})

    def move(self, to_ms: int) -> None:
        """Let the window end at a later instant."""
        entered = sum(self._numbers[self._slice(self.at_ms, to_ms)])
        gone = self._slice(self.at_ms - self._window_ms, to_ms - self._window_ms)
        self.later -= entered
        self.inside += entered - sum(self._numbers[gone])
        self.at_ms = to_ms
        if gone.stop > _SPARE:
            del self._ends[: gone.stop], self._numbers[: gone.stop]

    def _slice(self, after_ms: int, until_ms: int) -> slice:
        return slice(bisect_right(self._ends, after_ms), bisect_right(self._ends, until_ms))
