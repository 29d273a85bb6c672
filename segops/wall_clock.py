"""The wall clock of this machine, read here and nowhere else."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_JUMP_MS: Final = 5_000


def wall_ms() -> int:
    """Return the wall clock in milliseconds UTC."""
    return int(time.time() * 1000)  # noqa: TID251 - the only reading


class Jumps:
    """Notices when the wall clock jumps: when it and the time since the start part."""

    def __init__(
        self, wall: Callable[[], int] = wall_ms, steady_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._steady_s = steady_s
        self._ahead_ms = self._now()

    def _now(self) -> int:
        return self._wall() - int(self._steady_s() * 1000)

    def jumped_ms(self) -> int:
        """By how much it jumped since the last call; 0 when that is less than five seconds."""
        before, self._ahead_ms = self._ahead_ms, self._now()
        jump_ms = self._ahead_ms - before
        return jump_ms if abs(jump_ms) >= _JUMP_MS else 0
