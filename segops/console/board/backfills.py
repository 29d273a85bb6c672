"""When past events were counted for segments, and how many entered and left by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from segops.schemas.sizes import TrendRecord

REASON: Final = "backfill"
#: Minutes that are kept of a segment, each once for each partition: the newest.
_MOST: Final = 2_000


class Backfill(NamedTuple):
    """Past events that were counted: from the first minute that was changed by it (ms UTC)."""

    at_ms: int
    entered: int
    left: int


class Backfills:
    """Keeps the minutes of segments in which past events changed who is in."""

    def __init__(self) -> None:
        self._minutes: dict[str, dict[tuple[int, int], tuple[int, int]]] = {}

    def note(self, found: TrendRecord) -> None:
        """Take a record; the last one of a minute and a partition counts."""
        counts = _count(found.entered), _count(found.left)
        if counts == (0, 0):
            return
        minutes = self._minutes.setdefault(found.segment_key, {})
        minutes[found.minute_ms, found.partition] = counts
        if len(minutes) > _MOST:
            del minutes[min(minutes)]

    def of(self, key: str, gap_ms: int) -> list[Backfill]:
        """Return the backfills of a segment, the first one first; minutes further apart are of two.

        The partitions of one backfill end at different times.
        """
        found: list[Backfill] = []
        latest_ms = 0
        for (at_ms, _), (entered, left) in sorted(self._minutes.get(key, {}).items()):
            if found and at_ms - latest_ms <= gap_ms:
                last = found.pop()
                found.append(Backfill(last.at_ms, last.entered + entered, last.left + left))
            else:
                found.append(Backfill(at_ms, entered, left))
            latest_ms = at_ms
        return found


def _count(by_reason: Mapping[str, int]) -> int:
    return by_reason.get(REASON, 0)
