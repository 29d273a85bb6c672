"""Windows: which event times count at an instant (``SPEC.md#windows``).

Times are whole milliseconds, so every window is a span ``after < t <= upto``.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

from segops.core.values import MAX_MS, datetime_ms

CALENDAR_UNITS = ("day", "week", "month", "year")


class Within(msgspec.Struct, frozen=True, tag="within"):
    """``now - length < t <= now``."""

    length_ms: int


class Between(msgspec.Struct, frozen=True, tag="between"):
    """``now - from < t <= now - to``."""

    from_ms: int
    to_ms: int


class Fixed(msgspec.Struct, frozen=True, tag="fixed"):
    """``since <= t < until``; without both, every event so far."""

    since_ms: int | None = None
    until_ms: int | None = None


class Calendar(msgspec.Struct, frozen=True, tag="calendar"):
    """The current day, week (from Monday), month or year of a time zone."""

    this: str
    zone: str


class SinceLast(msgspec.Struct, frozen=True, tag="since_last"):
    """After the last event of ``names``, the anchor; with ``same``, only with its value at that path."""

    names: tuple[str, ...]
    same: tuple[str, ...] | None = None


Window = Within | Between | Fixed | Calendar | SinceLast
ALWAYS = Fixed()


def reaches(window: Window, since_ms: int, now_ms: int) -> bool:
    """Return whether events before ``since_ms`` count at ``now_ms``.

    >>> reaches(Within(10), 91, 100), reaches(Within(10), 92, 100)
    (False, True)
    """
    return span(window, now_ms)[0] < since_ms - 1


_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000
QUARTER_MS = 900_000
#: Unit of a calendar -> more than its longest period.
_LONGEST_MS = {"day": 26 * _HOUR_MS, "week": 8 * _DAY_MS, "month": 32 * _DAY_MS, "year": 367 * _DAY_MS}


def reach_ms(window: Window) -> int:
    """Return an age from which on an event counts no more; MAX_MS if there is none.

    >>> reach_ms(Within(10)), reach_ms(Between(30, 10)), reach_ms(Fixed()) == MAX_MS
    (10, 30, True)
    """
    match window:
        case Within(length_ms=length):
            return length
        case Between(from_ms=from_ms):
            return from_ms
        case Calendar(this=this):
            return _LONGEST_MS[this]
    return MAX_MS


def span(window: Window, now_ms: int) -> tuple[int, int]:
    """Return the bounds ``(after, upto)`` of the times that count at ``now_ms``: ``after < t <= upto``.

    >>> span(Within(10), 100), span(Between(30, 10), 100), span(Fixed(since_ms=5), 100)
    ((90, 100), (70, 90), (4, 100))
    """
    match window:
        case Within(length_ms=length):
            return now_ms - length, now_ms
        case Between(from_ms=from_ms, to_ms=to_ms):
            return now_ms - from_ms, now_ms - to_ms
        case Calendar():
            return period(window, now_ms)[0] - 1, now_ms
        case Fixed(since_ms=since, until_ms=until):
            upto = now_ms if until is None else min(now_ms, until - 1)
            return (-MAX_MS if since is None else since - 1), upto
        case SinceLast():  # the anchor decides, not the time
            return -MAX_MS, now_ms


def _day(midnight: datetime) -> tuple[datetime, datetime]:
    return midnight, midnight + timedelta(days=1)


def _week(midnight: datetime) -> tuple[datetime, datetime]:
    monday = midnight - timedelta(days=midnight.weekday())
    return monday, monday + timedelta(days=7)


def _month(midnight: datetime) -> tuple[datetime, datetime]:
    first = midnight.replace(day=1)
    return first, (first + timedelta(days=32)).replace(day=1)


def _year(midnight: datetime) -> tuple[datetime, datetime]:
    first = midnight.replace(month=1, day=1)
    return first, first.replace(year=first.year + 1)


_PERIODS: dict[str, Callable[[datetime], tuple[datetime, datetime]]] = dict(
    zip(CALENDAR_UNITS, (_day, _week, _month, _year), strict=True)
)


@lru_cache(maxsize=4_096)
def _period_of_quarter(window: Calendar, quarter_hour: int) -> tuple[int, int]:
    zone = ZoneInfo(window.zone)
    local = datetime.fromtimestamp(quarter_hour * 900, zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    start, end = _PERIODS[window.this](midnight)
    return datetime_ms(start), datetime_ms(end)


def period(window: Calendar, now_ms: int) -> tuple[int, int]:
    """Return the start of the calendar period that contains ``now_ms``, and the start of the next one.

    Days follow the zone's local time, so the day on which daylight saving time begins has 23 hours.

    >>> start, end = period(Calendar("day", "Europe/Paris"), 1_774_746_000_000)
    >>> (end - start) // 3_600_000
    23
    """
    # Since 1972 every zone's offset is a multiple of 15 minutes, so one cached result serves 15 minutes.
    return _period_of_quarter(window, now_ms // QUARTER_MS)


#: Instants that have a date in every zone.
FIRST_MS, LAST_MS = (datetime_ms(datetime(*date, tzinfo=UTC)) for date in ((1, 1, 2), (9999, 12, 30)))

#: Unit of a calendar -> the number of the period that contains a local time.
_NUMBERS: dict[str, Callable[[datetime], int]] = {
    "day": datetime.toordinal,
    "week": lambda local: (local.toordinal() - 1) // 7,
    "month": lambda local: local.year * 12 + local.month,
    "year": lambda local: local.year,
}


@lru_cache(maxsize=4_096)
def _key_of_quarter(calendar: Calendar, quarter_hour: int) -> str:
    local = datetime.fromtimestamp(quarter_hour * 900, ZoneInfo(calendar.zone))
    return str(_NUMBERS[calendar.this](local))


def period_key(calendar: Calendar, time_ms: int) -> str:
    """Return a text that instants share exactly if they are in the same calendar period.

    >>> keys = [period_key(Calendar("day", "Europe/Paris"), ms) for ms in (82_799_999, 82_800_000)]
    >>> keys
    ['719163', '719164']
    """
    return _key_of_quarter(calendar, min(max(time_ms, FIRST_MS), LAST_MS) // QUARTER_MS)
