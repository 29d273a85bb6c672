"""A clock for tests of code that is given its clock."""

from __future__ import annotations


class FakeClock:
    """A clock that only moves when a test moves it. Call it for the time in milliseconds.

    ``seconds`` is the same time as a monotonic clock returns it. Set ``now_ms`` to let the clock jump.

    >>> clock = FakeClock(5_000)
    >>> clock.advance(500)
    >>> clock(), clock.seconds()
    (5500, 5.5)
    """

    def __init__(self, now_ms: int = 0) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def seconds(self) -> float:
        """Return the time in seconds."""
        return self.now_ms / 1000

    def advance(self, by_ms: int) -> None:
        """Move the clock by a number of milliseconds; a negative one moves it back."""
        self.now_ms += by_ms
