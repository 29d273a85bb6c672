"""Rate limits: a token bucket per client."""

from __future__ import annotations


class TokenBucket:
    """Allows ``rate`` events or requests per second, and as many at once after a pause.

    One request may take more than there is; the next one then waits until that is made up for. So a batch of
    any size passes, and the rate holds on average.

    >>> bucket = TokenBucket(10, now_s=0.0)
    >>> [bucket.take(30, now_s=second) for second in (0.0, 1.0, 2.0, 3.0)]
    [0.0, 1.0, 0.0, 2.0]
    """

    def __init__(self, rate: float, *, now_s: float) -> None:
        self._rate = rate
        self._tokens = rate
        self._at_s = now_s

    def take(self, count: int, *, now_s: float) -> float:
        """Take tokens and return 0, or take none and return the seconds after which it can succeed."""
        self._tokens = min(self._rate, self._tokens + (now_s - self._at_s) * self._rate)
        self._at_s = now_s
        if self._tokens < 0:
            return -self._tokens / self._rate
        self._tokens -= count
        return 0.0
