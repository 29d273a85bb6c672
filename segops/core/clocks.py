"""The hour and the day of the week that clocks in a time zone show (``SPEC.md#score-models``)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from segops.core.windows import FIRST_MS, LAST_MS, QUARTER_MS

#: Unit -> the number of its values, which begin with 0: midnight, or Monday.
CIRCLES: Final = {"hour": 24, "weekday": 7}
#: How long after the latest event of a profile clocks count: then each hour of the week has been there once.
CLOCK_MS: Final = 7 * 86_400_000
#: More than the quarters of an hour of the longest day.
_QUARTERS: Final = 200
_SHOWN: Final[dict[str, Callable[[datetime], int]]] = {
    "hour": lambda local: local.hour,
    "weekday": datetime.weekday,
}


def shown(unit: str, zone: str, at_ms: int) -> int:
    """Return what clocks in a zone show at an instant; all of a quarter of an hour is read as its begin.

    >>> [shown(unit, "Europe/Paris", 1_774_746_000_000) for unit in CIRCLES]  # 02:00 is 03:00
    [3, 6]
    """
    return _in_quarter(unit, zone, _quarter(at_ms))


def next_shown(unit: str, zone: str, at_ms: int) -> int | None:
    """Return the first instant after ``at_ms`` at which clocks show another value; None near the year 9999.

    >>> next_shown("hour", "Asia/Kolkata", 0) // 60_000
    30
    """
    return _next_after(unit, zone, _quarter(at_ms))


def _quarter(at_ms: int) -> int:
    return min(max(at_ms, FIRST_MS), LAST_MS) // QUARTER_MS


@lru_cache(maxsize=16_384)
def _in_quarter(unit: str, zone: str, quarter: int) -> int:
    # As for the periods of a calendar: offsets are multiples of a quarter of an hour since 1972.
    return _SHOWN[unit](datetime.fromtimestamp(quarter * QUARTER_MS // 1_000, ZoneInfo(zone)))


@lru_cache(maxsize=16_384)
def _next_after(unit: str, zone: str, quarter: int) -> int | None:
    value = _in_quarter(unit, zone, quarter)
    coming = range(quarter + 1, min(quarter + _QUARTERS, LAST_MS // QUARTER_MS))
    return next((at * QUARTER_MS for at in coming if _in_quarter(unit, zone, at) != value), None)
