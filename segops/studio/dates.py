"""Dates: "since March", "the first of June", "before 2026", "from 1 May to 31 May 2026", "since last Tuesday"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from segops.core.values import datetime_ms, parse_datetime

MONTHS: Final = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_SHORT: Final = {
    **{month[:3]: number for number, month in enumerate(MONTHS, 1) if month != "may"},
    "sept": 9,
}
_MONTH_NUMBERS: Final = {**{month: number for number, month in enumerate(MONTHS, 1)}, **_SHORT}
WEEKDAYS: Final = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_ORDINALS: Final = {
    word: number
    for number, word in enumerate(
        [
            "first",
            "second",
            "third",
            "fourth",
            "fifth",
            "sixth",
            "seventh",
            "eighth",
            "ninth",
            "tenth",
            "eleventh",
            "twelfth",
            "thirteenth",
            "fourteenth",
            "fifteenth",
            "sixteenth",
            "seventeenth",
            "eighteenth",
            "nineteenth",
            "twentieth",
        ],
        1,
    )
}
MONTH: Final = "(?:" + "|".join(sorted(_MONTH_NUMBERS, key=len, reverse=True)) + ")"
_YEAR: Final = r"(?:19|20)\d\d"
#: A year that stands alone is a recent one: "in 2025", not "more than 2000".
_LONE_YEAR: Final = r"(?:19[3-9]\d|20[0-3]\d)"
_DAY: Final = rf"(?:(?:the )?(?:\d{{1,2}}(?: (?:st|nd|rd|th))?|{'|'.join(_ORDINALS)}))"
_ISO: Final = r"\d{4}-\d{2}-\d{2}(?:[t ][\d:.]+(?:z|[+-]\d{2}:?\d{2})?)?"


def _dated(prefix: str) -> str:
    """Return the pattern of a date whose groups begin with ``prefix``."""
    p = prefix
    return (
        rf"(?:(?P<{p}iso>{_ISO})"
        rf"|(?P<{p}d1>{_DAY})(?: of)? (?P<{p}m1>{MONTH})(?: ,)?(?: (?P<{p}y1>{_YEAR}))?"
        rf"|(?:the )?(?P<{p}m2>{MONTH}) (?P<{p}d2>{_DAY})(?! {_YEAR[:-2]})(?: ,)?(?: (?P<{p}y2>{_YEAR}))?"
        rf"|(?:(?:the )?(?:start|beginning) of |early )?(?:last )?(?P<{p}m3>{MONTH})(?: of)?(?: (?P<{p}y3>{_YEAR}))?"
        rf"|(?P<{p}q>q[1-4])(?: (?:of )?(?P<{p}y6>{_YEAR}))?"
        rf"|(?:the )?(?P<{p}nth>first|second|third|fourth) (?P<{p}part>quarter|half|0\.5|0\.25)(?: of)? (?P<{p}y7>{_YEAR}|this year)"
        rf"|(?:the )?(?:start|beginning) of (?:the |this |the current )?(?P<{p}start>year|month|week|day)"
        rf"|(?:last |this |on )?(?P<{p}weekday>{'|'.join(WEEKDAYS)})"
        rf"|(?:the )?(?P<{p}rel>yesterday|today|this morning|(?:christmas|xmas) eve|(?:christmas|xmas)(?: day)?|boxing day|valentines? day|halloween|nye|new years? day|new years? eve|new years?)(?: (?P<{p}y5>{_YEAR}))?"
        rf"|(?:the )?(?:(?:start|beginning) of )?(?:year )?(?P<{p}y4>{_LONE_YEAR})(?! (?:{MONTH}))(?! (?:or|points?|euros?|times|and more)))"
    )


DATE: Final = _dated("a").replace(
    rf"|(?:the )?(?:(?:start|beginning) of )?(?:year )?(?P<ay4>{_LONE_YEAR})",
    rf"|(?:the )?year (?P<ay4>{_LONE_YEAR})",
)


@dataclass(frozen=True, slots=True)
class DateSpan:
    """A stretch of time as said: from ``start_ms`` until before ``end_ms``.

    ``month`` is the number of a month said without a year or a day; ``yearly`` tells that no year was said.
    """

    start_ms: int
    end_ms: int
    month: int = 0
    yearly: bool = False


@dataclass(frozen=True, slots=True)
class DateWindow:
    """What a request says with dates: ``kind`` is since, until, fixed (both ends) or in (the month of a date)."""

    kind: str
    since_ms: int | None = None
    until_ms: int | None = None
    month: int = 0


_Groups = Mapping[str, str | None]


def read_date(groups: _Groups, prefix: str, now_ms: int) -> DateSpan | None:
    """Return the latest stretch of time that a matched date can mean, or None if there is no such day."""
    said = {key[len(prefix) :]: value for key, value in groups.items() if key.startswith(prefix) and value}
    now = datetime.fromtimestamp(now_ms / 1_000, UTC)
    try:
        return next((read(said, now) for key, read in _READERS.items() if key in said), None)
    except (ValueError, OverflowError):
        return None


def _span(start: datetime, end: datetime, *, month: int = 0, yearly: bool = False) -> DateSpan:
    return DateSpan(datetime_ms(start), datetime_ms(end), month, yearly)


def _iso(said: Mapping[str, str], _now: datetime) -> DateSpan | None:
    parsed = parse_datetime(said["iso"])
    if parsed is None:
        return None
    exact = len(said["iso"]) > len("2026-01-01")
    return _span(parsed, parsed + (timedelta() if exact else timedelta(days=1)))


def _day(said: Mapping[str, str], now: datetime) -> DateSpan:
    which = "1" if "d1" in said else "2"
    month, year = _MONTH_NUMBERS[said[f"m{which}"]], said.get(f"y{which}")
    word = said[f"d{which}"].removeprefix("the ").split()[0]
    day = _ORDINALS.get(word) or int(word)
    start = _latest(now, lambda y: datetime(y, month, day, tzinfo=UTC), year)
    return _span(start, start + timedelta(days=1), yearly=year is None)


def _latest(now: datetime, at: Callable[[int], datetime], year: str | None) -> datetime:
    if year:
        return at(int(year))
    found = at(now.year)
    return found if found <= now else at(now.year - 1)


def _month(said: Mapping[str, str], now: datetime) -> DateSpan:
    number, year = _MONTH_NUMBERS[said["m3"]], said.get("y3")
    start = _latest(now, lambda y: datetime(y, number, 1, tzinfo=UTC), year)
    return _span(start, _next_month(start), month=0 if year else number, yearly=year is None)


def _next_month(start: datetime) -> datetime:
    return (start.replace(day=28) + timedelta(days=4)).replace(day=1)


def _part(said: Mapping[str, str], now: datetime) -> DateSpan | None:
    """Read a quarter or a half of a year: "Q1 2026", "the first half of 2026"."""
    length = 6 if said.get("part") in ("half", "0.5") else 3
    number = int(said["q"][1]) if "q" in said else _ORDINALS[said["nth"]]
    year = said.get("y6") or said.get("y7")
    if length * number > 12:
        return None
    year = str(now.year) if year == "this year" else year
    start = _latest(now, lambda y: datetime(y, length * (number - 1) + 1, 1, tzinfo=UTC), year)
    end = datetime(start.year + length * number // 12, length * number % 12 + 1, 1, tzinfo=UTC)
    return _span(start, end, yearly=year is None)


def _start(said: Mapping[str, str], now: datetime) -> DateSpan:
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    starts = {
        "year": day.replace(month=1, day=1),
        "month": day.replace(day=1),
        "week": day - timedelta(days=day.weekday()),
        "day": day,
    }
    start = starts[said["start"]]
    return _span(start, start + timedelta(days=1))


def _weekday(said: Mapping[str, str], now: datetime) -> DateSpan:
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    back = (day.weekday() - WEEKDAYS.index(said["weekday"])) % 7 or 7
    return _span(day - timedelta(days=back), day - timedelta(days=back - 1))


#: Feasts of fixed dates -> month and day.
_FEASTS: Final = {
    **dict.fromkeys(("christmas eve", "xmas eve"), (12, 24)),
    **dict.fromkeys(("christmas", "christmas day", "xmas", "xmas day"), (12, 25)),
    "boxing day": (12, 26),
    **dict.fromkeys(("valentine day", "valentines day"), (2, 14)),
    "halloween": (10, 31),
    **dict.fromkeys(("new year eve", "new years eve", "nye"), (12, 31)),
    **dict.fromkeys(("new year", "new years", "new year day", "new years day"), (1, 1)),
}


def _relative(said: Mapping[str, str], now: datetime) -> DateSpan:
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    word = said["rel"]
    if word == "yesterday":
        start = day - timedelta(days=1)
    elif word in _FEASTS:
        month, number = _FEASTS[word]
        start = _latest(now, lambda y: datetime(y, month, number, tzinfo=UTC), said.get("y5"))
    else:
        start = day
    return _span(start, start + timedelta(days=1))


def _year(said: Mapping[str, str], _now: datetime) -> DateSpan:
    start = datetime(int(said["y4"]), 1, 1, tzinfo=UTC)
    return _span(start, start.replace(year=start.year + 1))


_READERS: Final[Mapping[str, Callable[[Mapping[str, str], datetime], DateSpan | None]]] = {
    "iso": _iso,
    "d1": _day,
    "d2": _day,
    "m3": _month,
    "q": _part,
    "part": _part,
    "start": _start,
    "weekday": _weekday,
    "rel": _relative,
    "y4": _year,
}

_Builder = Callable[[_Groups, int], DateWindow | None]


def _from(groups: _Groups, now_ms: int) -> DateWindow | None:
    found = read_date(groups, "a", now_ms)
    return None if found is None else DateWindow("since", found.start_ms)


def _after_day(groups: _Groups, now_ms: int) -> DateWindow | None:
    found = read_date(groups, "a", now_ms)
    if found is None:
        return None
    long = found.end_ms - found.start_ms > 86_400_000
    return DateWindow("since", found.end_ms if long else found.start_ms)


def _until(groups: _Groups, now_ms: int) -> DateWindow | None:
    found = read_date(groups, "a", now_ms)
    return None if found is None else DateWindow("until", None, found.start_ms)


def _fixed(groups: _Groups, now_ms: int) -> DateWindow | None:
    first, last = read_date(groups, "a", now_ms), read_date(groups, "b", now_ms)
    if first is None or last is None:
        return None
    start, end = first.start_ms, last.end_ms
    if first.yearly and not last.yearly and start >= end:
        return None
    if first.yearly and start > end:
        start -= 365 * 86_400_000
    return DateWindow("fixed", start, end) if start < end else None


def _within_month(groups: _Groups, now_ms: int) -> DateWindow | None:
    """Read "from 10 to 20 October": the first day is of the month of the last one."""
    if not groups.get("bm1"):
        return None
    first = {"ad1": groups["from"], "am1": groups["bm1"], "ay1": groups["by1"]}
    return _fixed({**groups, **first}, now_ms)


def _of_this_year(groups: _Groups, now_ms: int) -> DateWindow | None:
    found = _fixed(groups, now_ms)
    if found is None or found.since_ms is None:
        return None
    years = (datetime.fromtimestamp(at_ms / 1_000, UTC).year for at_ms in (found.since_ms, now_ms))
    return found if len(set(years)) == 1 else None


def _before_too(groups: _Groups, now_ms: int) -> DateWindow | None:
    """Read "after 1 May and before 1 June 2026"; the first date is of the year of the second one."""
    year = next((groups[f"by{which}"] for which in (1, 2, 3) if groups.get(f"by{which}")), None)
    dated = {key: year for key in ("ay1", "ay2", "ay3") if year and not groups.get(key)}
    first, last = read_date({**groups, **dated}, "a", now_ms), read_date(groups, "b", now_ms)
    if first is None or last is None or first.start_ms >= last.start_ms:
        return None
    return DateWindow("fixed", first.start_ms, last.start_ms)


def _during(groups: _Groups, now_ms: int) -> DateWindow | None:
    found = read_date(groups, "a", now_ms)
    if found is None or found.start_ms == found.end_ms:
        return None
    return DateWindow("fixed", found.start_ms, found.end_ms, found.month)


_AND_LATER: Final = (
    "(?: (?:on|onward|onwards|on wards|and later|or later|until now|till now|up to now|to date|to today))"
)

_TO: Final = "(?:and|to|until|till|through|-)"

#: Patterns of windows between dates with their builders, the more specific first.
DATE_WINDOWS: Final[tuple[tuple[str, _Builder], ...]] = (
    (
        rf"(?:between|from) {_dated('a')} {_TO} {_dated('b')} (?:of |in )?(?:this|the current) year",
        _of_this_year,
    ),
    (rf"(?:between|from) {_dated('a')} {_TO} {_dated('b')}", _fixed),
    (
        rf"(?:between|from) (?:the )?(?P<from>\d{{1,2}})(?: (?:st|nd|rd|th))? {_TO} {_dated('b')}",
        _within_month,
    ),
    (
        rf"(?:on )?(?:the )?(?P<from>\d{{1,2}})(?: (?:st|nd|rd|th))? (?:to|-|until|till|through) {_dated('b')}",
        _within_month,
    ),
    (rf"(?:after|since|from) {_dated('a')} (?:and|but) before {_dated('b')}", _before_too),
    (rf"(?:in |on )?{_dated('a')}{_AND_LATER}", _from),
    (rf"from {_dated('a')}{_AND_LATER}", _from),
    (
        rf"(?:ever since|since|starting|starting from|starting on|as of|on or after|not before|beginning|no earlier than) {_dated('a')}",
        _from,
    ),
    (rf"(?:later than|after) {_dated('a')}", _after_day),
    (rf"(?:before|until|till|prior to|earlier than|ahead of) {_dated('a')}", _until),
    (
        rf"(?:in|during|on|throughout|over|at|back in|sometime in|the month of|in the month of) {_dated('a')}",
        _during,
    ),
)


def this_period(unit: str, now_ms: int, *, ahead: bool) -> DateWindow | None:
    """Return the calendar's week, month or year that an instant is in, in UTC; None for another unit.

    >>> this_period("year", 1_795_651_200_000, ahead=False).since_ms
    1767225600000
    """
    day = datetime.fromtimestamp(now_ms / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = {
        "day": day,
        "week": day - timedelta(days=day.weekday()),
        "month": day.replace(day=1),
        "year": day.replace(month=1, day=1),
    }.get(unit)
    if first is None:
        return None
    days = {"day": 1, "week": 7, "month": 32, "year": 366}[unit]
    after = first + timedelta(days=days)
    after = after.replace(day=1) if unit in ("month", "year") else after
    until_ms = datetime_ms(after.replace(month=1) if unit == "year" else after) if ahead else None
    return DateWindow("calendar", datetime_ms(first), until_ms)
