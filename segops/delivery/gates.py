"""A gate per destination: closed while the destination takes nothing, for all partitions of the process."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from typing import Final

from segops.metrics import Metrics

log = logging.getLogger(__name__)

#: The page of a process that says which destinations take nothing, and why.
CLOSED: Final = "/closed"
_FIRST_S: Final = 0.5
_LONGEST_S: Final = 60.0
#: How long a destination that a person has to mend is left alone.
_REFUSED_S: Final = 60.0


class Gate:
    """The gate of one destination. ``now`` returns seconds of a monotonic clock."""

    def __init__(self, name: str, metrics: Metrics, now: Callable[[], float]) -> None:
        self._name = name
        self._metrics = metrics
        self._now = now
        self._until = float("-inf")
        self._pause_s = _FIRST_S
        #: Why it is closed, or None.
        self.reason: str | None = None

    def wait_s(self) -> float:
        """Return how long it stays closed; 0: it is open, or one may try."""
        return max(0.0, self._until - self._now())

    def open(self) -> None:
        """Note that the destination takes messages."""
        if self.reason is not None:
            log.warning("the destination %s takes messages again", self._name)
        self.reason, self._until, self._pause_s = None, float("-inf"), _FIRST_S
        self._metrics.delivery.closed.labels(self._name).set(0)

    def away(self, reason: str, retry_after_s: float) -> None:
        """Close it, each time for longer, and for at least ``retry_after_s``."""
        self._close(reason, max(retry_after_s, self._pause_s * (0.5 + random.random() / 2)))  # noqa: S311
        self._pause_s = min(self._pause_s * 2, _LONGEST_S)

    def refuses(self, reason: str) -> None:
        """Close it until it may have been mended."""
        self._close(reason, _REFUSED_S, is_new=self.reason != reason)

    def _close(self, reason: str, seconds: float, *, is_new: bool = False) -> None:
        if self.reason is None or is_new:  # a person has to know what is to be mended
            log.error("the destination %s takes nothing: %s", self._name, reason)
        self.reason = reason
        self._until = max(self._until, self._now() + seconds)
        self._metrics.delivery.closed.labels(self._name).set(1)
