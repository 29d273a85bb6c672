"""The work of a worker that no checkpoint covers: when one is due, and when events have to wait for it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple, Self

from segops.streaming.partition.segment import SegmentProcessor

#: How much changed profiles may take, as a part of the memory of cached ones, before a checkpoint is due.
#: With 0.5, and 1 for the next, a worker that changes 60,000 profiles did a quarter fewer events per CPU
#: second; with 1 and 2, a tenth fewer.
_CHANGED: Final = 2.0
#: How much those may take which the store lacks.
_UNSTORED: Final = 3.0
#: Shortest pause between two checkpoints when profiles of other partitions wait for one, in seconds.
_REST_S: Final = 0.02
#: The pause after a checkpoint, relative to its duration. Without one, a busy worker writes most profiles
#: again and again: with 2, it does a fifth more events per CPU second.
_PAUSE: Final = 2.0


class Uncommitted(NamedTuple):
    """Uncommitted work. ``records``: input records or changed profiles, whichever are more.

    ``changed`` and ``unstored`` are the memory of profiles, relative to the bound of cached ones
    (``CacheUse``).
    """

    records: int
    changed: float
    unstored: float

    @classmethod
    def of(cls, processors: Collection[SegmentProcessor]) -> Self:
        """Return the work of all partitions of a worker, which share the memory equally."""
        uses = [processor.cached for processor in processors]
        return cls(
            sum(processor.pending for processor in processors),
            sum(use.changed for use in uses) / max(1, len(uses)),
            sum(use.unstored for use in uses) / max(1, len(uses)),
        )

    def needs_checkpoint(self, max_records: int) -> bool:
        """Return whether a checkpoint is due because of the work.

        >>> [each.needs_checkpoint(10) for each in (Uncommitted(9, 1.9, 2.9), Uncommitted(10, 0.0, 0.0))]
        [False, True]
        >>> Uncommitted(1, 2.0, 2.0).needs_checkpoint(10)
        True
        """
        return self.records >= max_records or self.changed >= _CHANGED

    def is_too_much(self, max_records: int) -> bool:
        """Return whether events have to wait for a checkpoint.

        >>> [each.is_too_much(10) for each in (Uncommitted(20, 1.9, 3.0), Uncommitted(21, 0.0, 0.0))]
        [False, True]
        >>> Uncommitted(1, 0.1, 3.1).is_too_much(10)
        True
        """
        return self.records > 2 * max_records or self.unstored > _UNSTORED


def rest_after(took_s: float, interval_s: float) -> float:
    """Return the pause after a checkpoint that took so long, before one that waiting profiles bring forward.

    >>> [rest_after(took_s, 0.25) for took_s in (0.001, 0.1, 3.0)], rest_after(0.001, 0.01)
    ([0.02, 0.1, 0.25], 0.01)
    """
    return min(max(_REST_S, took_s), interval_s)


def pause_after(took_s: float, interval_s: float, *, exactly_once: bool) -> float:
    """Return the pause after a checkpoint that took so long.

    Exactly once, nothing is visible before the next one, so that the interval holds.

    >>> [pause_after(took_s, 1.0, exactly_once=False) for took_s in (0.1, 3.0)]
    [1.0, 6.0]
    >>> pause_after(3.0, 1.0, exactly_once=True)
    1.0
    """
    return interval_s if exactly_once else max(interval_s, _PAUSE * took_s)
