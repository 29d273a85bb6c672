"""Noticing that this process was out of touch."""

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
    """For how long partitions are surely a worker's own after its last sign of life."""
    return _SHARE * worker.session_timeout_ms / 1000


class LivenessFence:
    """Beats in the process's loop. A gap means that the process was stopped, or stuck.

    After a gap of ``limit_s`` the group may have given the partitions to somebody else, and writing
    their changelog would undo what the new owner wrote: ``check`` then raises OutOfTouch.
    """

    def __init__(self, limit_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self.limit_s = limit_s
        self._now = now
        self._last = now()

    def check(self) -> None:
        """Raise OutOfTouch when the last beat is too long ago."""
        gap_s = self._now() - self._last
        if gap_s > self.limit_s:
            raise OutOfTouch(
                f"this process stood still for {gap_s:.0f} s: its partitions may be another's by now"
            )

    def beat(self) -> None:
        """The process is alive. Raises OutOfTouch like ``check``."""
        self.check()
        self._last = self._now()

    async def run(self, pat: Callable[[], None] = lambda: None) -> None:
        """Beat for ever, and pat the watchdog each time."""
        while True:
            self.beat()
            pat()
            await asyncio.sleep(_BEAT_S)
