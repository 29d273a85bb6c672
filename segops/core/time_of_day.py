"""The condition on the local day and time of an event (``SPEC.md#time-of-day``)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from segops.core.operators import Predicate

#: The names of the days of a week, in the order of ``date.weekday``.
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MS: Final = 86_400_000
MINUTE_MS: Final = 60_000


class TimeOfDay(Predicate, frozen=True):
    """A predicate of the time of an event, by the clocks of a zone.

    ``days`` are numbers from 0, Monday; none: every day. ``from_ms`` and ``to_ms`` are milliseconds after
    midnight by those clocks: from the first on, up to the second. If the first is later, the span passes
    midnight, and belongs to the day on which it begins.

    >>> evening = TimeOfDay((), (4,), 22 * 3_600_000, 2 * 3_600_000, "UTC")
    >>> friday = 1_767_312_000_000
    >>> [evening.holds(friday + hours * 3_600_000, 0) for hours in (1, 21, 22, 25, 26)]
    [False, False, True, True, False]
    """

    days: tuple[int, ...]
    from_ms: int
    to_ms: int
    zone: str

    def holds(self, value: Any, _now_ms: int) -> bool:
        """Return whether an event of the time ``value``, in milliseconds, is at such a time of such a day."""
        local = datetime.fromtimestamp(value // 1_000, ZoneInfo(self.zone))
        day, seconds = local.weekday(), local.hour * 3_600 + local.minute * 60 + local.second
        at = seconds * 1_000 + value % 1_000
        if self.from_ms < self.to_ms:
            inside = self.from_ms <= at < self.to_ms
        else:
            inside = at >= self.from_ms or at < self.to_ms
            day -= at < self.to_ms
        return inside and (not self.days or day % 7 in self.days)


def clock_text(ms: int) -> str:
    """Return a time of day as it is written.

    >>> clock_text(64_800_000), clock_text(DAY_MS)
    ('18:00', '24:00')
    """
    return f"{ms // 3_600_000:02}:{ms // MINUTE_MS % 60:02}"
