"""An even pace below a documented rate, so that no request waits for the end of a window of a minute."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from segops.request_rates import Rate

#: A window of a minute, and by how much it may seem longer to the server.
_WINDOW_S: Final = 61.0


class Pace:
    """The pace of an endpoint: a burst of a second, then the rest of a minute's requests, evenly.

    ``now`` returns seconds of a monotonic clock.
    """

    def __init__(self, rate: Rate, now: Callable[[], float]) -> None:
        self._burst = rate.burst
        self._per_s = max(rate.steady - rate.burst, 1) / _WINDOW_S
        self._now = now
        self._saved = float(rate.burst)
        self._as_of_s = now()

    def spare(self) -> int:
        """Return how many requests may be sent now without a wait.

        >>> pace = Pace(Rate(10, 150), lambda: 0.0)
        >>> pace.spare()
        10
        """
        now = self._now()
        self._saved = min(self._burst, self._saved + (now - self._as_of_s) * self._per_s)
        self._as_of_s = now
        return max(0, int(self._saved))

    async def wait(self) -> None:
        """Wait until the next request may be sent; requests go in the order of their calls."""
        self.spare()
        self._saved -= 1
        if self._saved < 0:
            await asyncio.sleep(-self._saved / self._per_s)
