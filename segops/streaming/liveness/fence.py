"""Detect that this process was suspended for longer than its lease on its partitions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from segops.config import WorkerSettings
from segops.kafka.outages import OutOfTouch

_BEAT_S: Final = 1.0
_SHARE: Final = 0.9


def lease_s(worker: WorkerSettings) -> float:
    """Return for how long after its last heartbeat a worker certainly owns its partitions, in seconds."""
    return _SHARE * worker.session_timeout_ms / 1000


class LivenessFence:
    """Beats in the event loop. A gap between beats means that the process was suspended or blocked.

    After a gap of ``limit_s`` the group may have assigned the partitions to another worker, whose changelog
    records would be overwritten: ``check`` then raises OutOfTouch.
    """

    def __init__(self, limit_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self.limit_s = limit_s
        self._now = now
        self._last = now()

    def check(self) -> None:
        """Raise OutOfTouch when the last beat is older than the limit."""
        gap_s = self._now() - self._last
        if gap_s > self.limit_s:
            raise OutOfTouch(
                f"this process was unresponsive for {gap_s:.0f} s: another worker may own its partitions"
            )

    def beat(self) -> None:
        """Record a sign of life. Raises OutOfTouch like ``check``."""
        self.check()
        self._last = self._now()

    async def run(self, pat: Callable[[], None] = lambda: None) -> None:
        """Beat and call ``pat`` periodically. Runs until cancelled."""
        while True:
            self.beat()
            pat()
            await asyncio.sleep(_BEAT_S)
