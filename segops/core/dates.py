"""Dates in time zones: birthdays, and ages in whole years."""

from __future__ import annotations

from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from segops.core.values import datetime_ms, parse_datetime

#: The calendar, weekdays included, repeats after 400 years; zones fail near the limits of datetime.
_CYCLE_YEARS: Final = 400
_CYCLE_MS: Final = 146_097 * 86_400_000
_YEAR_MS: Final = _CYCLE_MS // _CYCLE_YEARS


class ZonedDate(NamedTuple):
    """A date by the clock of a zone; its year is ``local.year`` plus ``cycles`` times 400."""

    local: datetime
    cycles: int


@lru_cache(maxsize=16_384)
def in_zone(text: str, zone: str) -> ZonedDate | None:
    """Read an ISO date in a zone; return None for other strings.

    A date without a time is that day of the zone's calendar, and a date with a time is an instant.

    >>> found = in_zone("2026-01-04T23:30:00Z", "Europe/Paris")
    >>> found.local.isoformat(), in_zone("soon", "UTC")
    ('2026-01-05T00:30:00+01:00', None)
    """
    date = parse_datetime(text)
    if date is None:
        return None
    cycles, zone_info = _cycles(date.year), ZoneInfo(zone)
    date = date.replace(year=date.year - cycles * _CYCLE_YEARS)
    local = date.replace(tzinfo=zone_info) if len(text) <= 10 else date.astimezone(zone_info)
    return ZonedDate(local, cycles)


def _cycles(year: int) -> int:
    """Return by how many cycles a year is moved to be within the years 401 to 9599."""
    if year <= _CYCLE_YEARS:
        return -1
    return max(0, (year - 9_200) // _CYCLE_YEARS)


def in_year(date: datetime, year: int, zone: tzinfo | None) -> datetime:
    """Return the anniversary of a date in a year; 29 February becomes 1 March in common years."""
    try:
        return date.replace(year=year, tzinfo=zone)
    except ValueError:
        return date.replace(year=year, month=3, day=1, tzinfo=zone)


def birthday(date: ZonedDate, years: int) -> int:
    """Return the instant, in milliseconds, of the anniversary of a date after so many years; 0: the date.

    >>> birthday(in_zone("2024-02-29", "UTC"), 2)  # 2026-03-01
    1772323200000
    """
    year = date.local.year + date.cycles * _CYCLE_YEARS + years
    cycles = _cycles(year)
    moved = in_year(date.local, year - cycles * _CYCLE_YEARS, date.local.tzinfo)
    return datetime_ms(moved) + cycles * _CYCLE_MS


def years_since(date: ZonedDate, now_ms: int) -> int | None:
    """Return the number of anniversaries of a date up to ``now_ms``, included; None before the date.

    >>> born = in_zone("2024-02-29", "UTC")
    >>> [years_since(born, birthday(born, 2) + shift) for shift in (-1, 0)], years_since(born, 0)
    ([1, 2], None)
    """
    begun = birthday(date, 0)
    if now_ms < begun:
        return None
    years = (now_ms - begun) // _YEAR_MS  # at most one too many or too few
    if birthday(date, years) > now_ms:
        return years - 1
    return years + (birthday(date, years + 1) <= now_ms)
