"""Refreshes: the instants at which a frozen figure is computed (``SPEC.md#refresh``)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

from segops.core.values import datetime_ms

_HOUR_MS = 3_600_000
_MINUTE_MS = 60_000
#: Beyond these years an instant may have no date in some zone.
_FIRST_MS, _LAST_MS = -62_000_000_000_000, 253_300_000_000_000


class Refresh(msgspec.Struct, frozen=True):
    """Instants that recur: each full hour UTC, or a time of each day, Monday or first of a month in a zone.

    ``at_ms`` are milliseconds after midnight by the clocks of the ``zone``. A time that clocks show twice is
    the first one; one that they skip is as much later as they are put forward.
    """

    every: str
    at_ms: int = 0
    zone: str = "UTC"

    def latest(self, now_ms: int) -> int:
        """Return the latest instant up to ``now_ms``.

        >>> Refresh("day", 3 * 3_600_000).latest(86_400_000) == 3 * 3_600_000
        True
        """
        return _around(self, now_ms // _MINUTE_MS)[0]

    def following(self, now_ms: int) -> int | None:
        """Return the first instant after ``now_ms``; None near the end of the calendar.

        >>> Refresh("week").following(0) // 86_400_000  # 1970-01-05 was a Monday
        4
        """
        return _around(self, now_ms // _MINUTE_MS)[1]

    def upcoming(self, now_ms: int) -> int | None:
        """Return the first instant from ``now_ms`` on; None near the end of the calendar."""
        return now_ms if self.latest(now_ms) == now_ms else self.following(now_ms)


@lru_cache(maxsize=16_384)
def _around(refresh: Refresh, minute: int) -> tuple[int, int | None]:
    """Return the instants around a minute. Since 1972 each of them begins a minute, in every zone."""
    now_ms = min(max(minute * _MINUTE_MS, _FIRST_MS), _LAST_MS)
    if refresh.every == "hour":
        latest = now_ms - now_ms % _HOUR_MS
        return latest, _before_the_end(latest + _HOUR_MS)
    zone, (number_of, first_day) = ZoneInfo(refresh.zone), _UNITS[refresh.every]
    number = number_of(datetime.fromtimestamp(now_ms // 1_000, zone).date()) + 1
    while _instant(refresh, first_day(number), zone) > now_ms:
        number -= 1
    return (
        _instant(refresh, first_day(number), zone),
        _before_the_end(_instant(refresh, first_day(number + 1), zone)),
    )


def _before_the_end(at_ms: int) -> int | None:
    return at_ms if at_ms <= _LAST_MS else None


def _instant(refresh: Refresh, day: date, zone: ZoneInfo) -> int:
    local = datetime(day.year, day.month, day.day, tzinfo=zone) + timedelta(milliseconds=refresh.at_ms)
    # A whole minute: before 1972, offsets had seconds.
    return -(-datetime_ms(local) // _MINUTE_MS) * _MINUTE_MS


def _month(number: int) -> date:
    return date(number // 12, number % 12 + 1, 1)


#: Unit -> the number of the one that contains a day, and the first day of the one with a number.
_UNITS: dict[str, tuple[Callable[[date], int], Callable[[int], date]]] = {
    "day": (date.toordinal, date.fromordinal),
    "week": (lambda day: (day.toordinal() - 1) // 7, lambda number: date.fromordinal(number * 7 + 1)),
    "month": (lambda day: day.year * 12 + day.month - 1, _month),
}
UNITS = ("hour", *_UNITS)
