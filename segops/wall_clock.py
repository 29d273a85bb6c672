"""The wall clock of this machine. No other module reads it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_JUMP_MS: Final = 5_000


def wall_ms() -> int:
    """Return the wall clock in milliseconds UTC."""
    return int(time.time() * 1000)  # noqa: TID251 - the only reading


class Jumps:
    """Detects jumps of the wall clock by comparing it with the monotonic clock."""

    def __init__(
        self, wall: Callable[[], int] = wall_ms, steady_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._steady_s = steady_s
        self._ahead_ms = self._now()

    def _now(self) -> int:
        return self._wall() - int(self._steady_s() * 1000)

    def jumped_ms(self) -> int:
        """Return the jump since the last call in ms; 0 when it is less than five seconds."""
        before, self._ahead_ms = self._ahead_ms, self._now()
        jump_ms = self._ahead_ms - before
        return jump_ms if abs(jump_ms) >= _JUMP_MS else 0
