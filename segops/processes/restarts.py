"""When a process that failed is started again: after a pause that doubles, at most five times in a row."""

from __future__ import annotations

from typing import Final

_MOST: Final = 5
_HEALTHY_S: Final = 300.0


class Restarts:
    """The failures of one process in a row; five minutes without one end the row. All times in seconds.

    >>> restarts = Restarts()
    >>> restarts.started(0.0)
    >>> [restarts.failed(1.0) for _ in range(6)]
    [1.0, 2.0, 4.0, 8.0, 16.0, None]
    """

    def __init__(self) -> None:
        self._failures = 0
        self._started_s = 0.0

    def started(self, now_s: float) -> None:
        """Note a start."""
        self._started_s = now_s

    def failed(self, now_s: float) -> float | None:
        """Note a failure; return the pause before the next start, or None if the process keeps failing."""
        if now_s - self._started_s > _HEALTHY_S:
            self._failures = 0
        self._failures += 1
        return None if self._failures > _MOST else 2.0 ** (self._failures - 1)
