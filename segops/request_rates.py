"""Rate limits in two fixed windows, kept wherever the server's windows begin.

A client knows neither when the server's windows begin nor how long a request travels. So a request occupies
its slot from before it is sent until a whole window after its answer. Of any requests that the server counts
in one window, the last was then sent while all others still held their slots: there are at most as many as
slots.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

_SECOND_S: Final = 1.0
_MINUTE_S: Final = 60.0
#: By how much the clocks of the two ends may differ in speed.
_MARGIN: Final = 1.01
#: The shortest wait: differences of times have rounding errors.
_LEAST_S: Final = 0.001

#: After this time no earlier request counts any more.
COOL_DOWN_S: Final = _MINUTE_S * _MARGIN


@dataclass(frozen=True, slots=True)
class Rate:
    """How many requests a service accepts in a second (burst) and in a minute (steady)."""

    burst: int
    steady: int


class RateLimiter:
    """Admits the requests of one endpoint. ``now`` returns seconds of a monotonic clock."""

    def __init__(self, rate: Rate, now: Callable[[], float]) -> None:
        self._now = now
        self._windows = ((rate.burst, _SECOND_S * _MARGIN), (rate.steady, COOL_DOWN_S))
        self._in_flight = 0
        self._answered: deque[float] = deque(maxlen=rate.steady)
        self._closed_until = float("-inf")
        self._queue = asyncio.Lock()
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[float]:
        """Hold a slot for one request; yield the seconds that it waited for it."""
        began = self._now()
        async with self._queue:
            while (wait_s := self._wait_s()) > 0:
                self._changed.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), max(wait_s, _LEAST_S))
            self._in_flight += 1
        try:
            yield self._now() - began
        finally:
            self._in_flight -= 1
            self._answered.append(self._now())
            self._changed.set()

    def close_for(self, seconds: float) -> None:
        """Admit no request for ``seconds`` from now."""
        self._closed_until = max(self._closed_until, self._now() + seconds)

    def note_remaining(self, remaining: int, reset_s: float) -> None:
        """Note what the server says is left of its window of a minute; others may use the same account."""
        if remaining < self._in_flight:
            self.close_for(reset_s)

    def _wait_s(self) -> float:
        now = self._now()
        return max(self._closed_until - now, *(self._window_wait_s(*each, now) for each in self._windows))

    def _window_wait_s(self, slots: int, length_s: float, now: float) -> float:
        """Return the time until a slot of this window is free; all of it if an answer must come first."""
        if self._in_flight >= slots:
            return length_s
        free = slots - self._in_flight
        if len(self._answered) < free:
            return 0
        return self._answered[-free] + length_s - now
