"""Durations and windows: "over a fortnight", "in the last 60 days", "between 30 and 60 days ago", "this week"."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from segops.core.values import MAX_MS

_UNIT_MS: Final = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "fortnight": 14 * 86_400_000,
    "month": 30 * 86_400_000,
    "quarter": 90 * 86_400_000,
    "year": 365 * 86_400_000,
}
_UNIT_WORDS: Final = {
    "ms": "ms|milliseconds?",
    "s": "s|secs?|seconds?",
    "m": "m|mins?|minutes?",
    "h": "h|hrs?|hours?",
    "d": "d|days?",
    "w": "w|wks?|weeks?",
    "fortnight": "fortnights?",
    "month": "months?|mths?|mos?",
    "quarter": "quarters?",
    "year": "years?|yrs?|y",
}
_UNIT: Final = "(?:" + "|".join(_UNIT_WORDS.values()) + ")"
#: Units that stand without a number: "the last month".
PERIOD: Final = "(?:day|week|fortnight|month|quarter|year|hour|minute)"
NUMBER: Final = r"\d+(?:\.\d+)?"
_ONE: Final = f"(?:an? {_UNIT} and a half|{NUMBER} and a half {_UNIT}|(?:{NUMBER}|an?|a full|half(?: an?)?|a whole|an entire) {_UNIT})"
#: The pattern of a duration.
DURATION: Final = f"{_ONE}(?: (?:and )?{NUMBER} {_UNIT})?"
#: The words that compare, with the operators that they stand for; longer ones first.
COMPARISONS: Final[Mapping[str, str]] = {
    "no more than": "lte",
    "not more than": "lte",
    "no less than": "gte",
    "not less than": "gte",
    "no fewer than": "gte",
    "not fewer than": "gte",
    "no later than": "lte",
    "no longer than": "lte",
    "not longer than": "lte",
    "no older than": "lte",
    "not exceeding": "lte",
    "not above": "lte",
    "not over": "lte",
    "not below": "gte",
    "not under": "gte",
    "greater than or equal to": "gte",
    "more than or equal to": "gte",
    "less than or equal to": "lte",
    "equal to or more than": "gte",
    "equal to or less than": "lte",
    "at least": "gte",
    "at the very least": "gte",
    "at a minimum": "gte",
    "a minimum of": "gte",
    "minimum of": "gte",
    "minimum": "gte",
    "min": "gte",
    "upwards of": "gte",
    "upward of": "gte",
    "at most": "lte",
    "at the most": "lte",
    "a maximum of": "lte",
    "maximum of": "lte",
    "maximum": "lte",
    "max": "lte",
    "up to": "lte",
    "not equal to": "ne",
    "not equal": "ne",
    "more than": "gt",
    "greater than": "gt",
    "higher than": "gt",
    "larger than": "gt",
    "bigger than": "gt",
    "longer than": "gt",
    "older than": "gt",
    "further than": "gt",
    "farther than": "gt",
    "further away than": "gt",
    "no further than": "lte",
    "no farther than": "lte",
    "not further than": "lte",
    "not further away than": "lte",
    "no further away than": "lte",
    "not farther than": "lte",
    "closer than": "lt",
    "nearer than": "lt",
    "better than": "gt",
    "cheaper than": "lt",
    "pricier than": "gt",
    "dearer than": "gt",
    "more expensive than": "gt",
    "less expensive than": "lt",
    "in excess of": "gt",
    "exceeding": "gt",
    "exceeds": "gt",
    "exceed": "gt",
    "exceeded": "gt",
    "north of": "gt",
    "beyond": "gt",
    "well over": "gt",
    "over": "gt",
    "above": "gt",
    "less than": "lt",
    "fewer than": "lt",
    "lower than": "lt",
    "smaller than": "lt",
    "shorter than": "lt",
    "younger than": "lt",
    "newer than": "lt",
    "worse than": "lt",
    "south of": "lt",
    "short of": "lt",
    "under": "lt",
    "below": "lt",
    "not quite": "lt",
    "exactly": "eq",
    "precisely": "eq",
    "equal to": "eq",
    "equals": "eq",
    "equal": "eq",
    "only": "eq",
    "only the": "eq",
    "just the": "eq",
    "just": "eq",
    "no more nor less than": "eq",
}
COMPARISON: Final = "(?:" + "|".join(sorted(COMPARISONS, key=len, reverse=True)) + ")"
_LAST: Final = "(?:last|past|previous|preceding|trailing|prior|most recent)"
_IN: Final = "(?:in|within|over|during|for|throughout|across|of|from|inside|on|any time in|at any time in|sometime in|some time in)"
_AFTER: Final = "(?:or more|or longer|or over|plus|\\+|now|straight|in a row|running|consecutively|continuously|without a break|without break|without interruption|without stopping|uninterrupted|uninterruptedly|at a stretch|on end|already|at least|solid|nonstop|non stop)"
_DAYTIME: Final = f"(?:(?:full|whole|calendar|consecutive|straight) )?{_UNIT}"


@dataclass(frozen=True, slots=True)
class WindowSpan:
    """What a request says of time.

    ``kind``: within (the last), in (of now or of the step before), after (of another event), for, ago, next, calendar,
    since, until, fixed, between, rate, length (a duration alone). ``op`` compares ``length_ms`` where a comparison is said.
    """

    kind: str
    length_ms: int = 0
    op: str = ""
    further_ms: int = 0
    text: str = ""


def duration_ms(text: str) -> int | None:
    """Return the milliseconds of a duration in words, numbers in digits.

    >>> duration_ms("2 weeks"), duration_ms("half an hour"), duration_ms("a fortnight"), duration_ms("1 h 30 m")
    (1209600000, 1800000, 1209600000, 5400000)
    """
    total = Decimal(0)
    found = list(_PART.finditer(text))
    if re.fullmatch(r"half(?: an?)? (?:years?|yrs?)", text):
        return 182 * _UNIT_MS["d"]
    for part in found:
        unit = next(name for name, words in _UNIT_WORDS.items() if re.fullmatch(words, part["unit"]))
        total += _factor(part["number"]) * _UNIT_MS[unit]
    if " and a half" in text and found:
        unit = next(name for name, words in _UNIT_WORDS.items() if re.fullmatch(words, found[-1]["unit"]))
        total += Decimal("0.5") * _UNIT_MS[unit]
    return int(total) if found and 0 < total <= MAX_MS else None


_PART = re.compile(
    rf"(?P<number>{NUMBER}|half(?: an?)?|a full|a whole|an entire|an?|one) (?:and a half )?(?P<unit>{_UNIT})\b"
)


def _factor(text: str) -> Decimal:
    if text.startswith("half"):
        return Decimal("0.5")
    return Decimal(text) if text[0].isdigit() else Decimal(1)


def period_ms(word: str) -> int:
    """Return the milliseconds of a period: week, month, quarter, year and the like."""
    return _UNIT_MS[{"day": "d", "week": "w", "hour": "h", "minute": "m"}.get(word, word)]


_C: Final = f"(?:(?P<op>{COMPARISON}) )?"
_D: Final = f"(?P<length>{DURATION})"
_P: Final = f"(?P<period>{PERIOD})"
_THAT: Final = "(?: (?:of )?(?:that|this|it|then|doing so|doing that|afterwards?|after that|after this|after it|after doing so|later|thereafter|of the former|of the first|of the previous (?:step|one)))"

_Groups = Mapping[str, str | None]


def _span(kind: str) -> Callable[[_Groups], WindowSpan | None]:
    def build(groups: _Groups) -> WindowSpan | None:
        period = groups.get("period")
        length = period_ms(period) if period else duration_ms(groups.get("length") or "")
        if length is None:
            return None
        op = COMPARISONS.get(groups.get("op") or "", "")
        return WindowSpan(kind, length, op or ("gte" if groups.get("more") else ""))

    return build


def _and_half(groups: _Groups) -> WindowSpan:
    return WindowSpan("within", period_ms(groups["period"] or "") * 3 // 2)


def _between(groups: _Groups) -> WindowSpan | None:
    high = duration_ms(groups["high"] or "")
    low_text = groups["low"] or ""
    unit = (groups["high"] or "").split(" ", 1)[-1]
    low = duration_ms(low_text) or duration_ms(f"{low_text} {unit}")
    if low is None or high is None or low == high:
        return None
    return WindowSpan("between", max(low, high), further_ms=min(low, high))


def _calendar(groups: _Groups) -> WindowSpan:
    word = groups.get("unit") or "day"
    return WindowSpan("calendar" if word in ("day", "week", "month", "year") else "unclear", text=word)


def _unclear(groups: _Groups) -> WindowSpan:
    return WindowSpan("unclear", text=groups.get("said") or "")


_COUNTED: Final = r"(?:in|during|on|for|within) (?:(?:at least|a minimum of) )?(?P<k>\d+|each|every one|all|every) (?:out )?of (?:the |their )?(?:last|past|previous) (?P<of>\d+)"
_CLOCK: Final = r"(?:\d{1,2}:\d{2}|\d{1,2} ?(?:am|pm|o clock)|noon|midnight|midday)"


def _regular(groups: _Groups) -> WindowSpan | None:
    length, of = duration_ms(groups.get("length") or f"1 {groups.get('unit')}"), int(groups["of"] or 0)
    k = groups["k"] or ""
    if length is None or not 2 <= of <= 60:
        return None
    return WindowSpan("regular", length, further_ms=of, text=k if k.isdigit() else str(of))


def _every(groups: _Groups) -> WindowSpan | None:
    unit, whole = duration_ms(f"1 {groups['unit']}"), duration_ms(groups["length"] or "")
    if unit is None or whole is None or whole % unit or not 2 <= whole // unit <= 60:
        return None
    return WindowSpan("regular", unit, further_ms=whole // unit, text=str(whole // unit))


def _clock(groups: _Groups) -> WindowSpan | None:
    begin, end = clock(groups.get("low") or "0:00"), clock(groups.get("high") or "24:00")
    return (
        None
        if begin is None or end is None or begin == end or (begin, end) == ("00:00", "24:00")
        else WindowSpan("clock", text=f"{begin}-{end}")
    )


def _half_day(groups: _Groups) -> WindowSpan | None:
    """Read "between 8 and 10 pm": both hours are in the same half of a day."""
    half = "am" if groups["half"] in ("am", "in the morning") else "pm"
    low, high = int(groups["low"] or 0), int(groups["high"] or 0)
    if not 1 <= low < high <= 12 or (half == "am" and high == 12):
        return None
    return _clock({"low": f"{low} {half}", "high": f"{high} {half}" if high < 12 else "24:00"})


def clock(text: str) -> str | None:
    """Return a time of day as ``HH:MM``; None if there is no such time.

    >>> clock("6 pm"), clock("18:00"), clock("9am"), clock("25:00")
    ('18:00', '18:00', '09:00', None)
    """
    named = {"noon": "12:00", "midday": "12:00", "midnight": "00:00"}
    if text in named:
        return named[text]
    found = re.fullmatch(r"(\d{1,2})(?::(\d{2}))? ?(am|pm|o clock)?", text)
    if found is None:
        return None
    hour, minute = int(found[1]), int(found[2] or 0)
    hour = hour % 12 + 12 * (found[3] == "pm") if found[3] in ("am", "pm") else hour
    return f"{hour:02}:{minute:02}" if (hour < 24 and minute < 60) or (hour, minute) == (24, 0) else None


#: Patterns of windows with their builders, the more specific first. The text is that of the tokens, in lower case.
WINDOWS: Final[tuple[tuple[str, Callable[[_Groups], WindowSpan | None]], ...]] = (
    (
        rf"(?:in|during|over|within) the {_D} (?:before|prior|preceding|earlier)(?: that| those| it| them| this| then)?(?=$| [,;])",
        _span("before"),
    ),
    (
        r"(?:between|from) (?P<low>\d{1,2}) (?:and|to|until|till|-) (?P<high>\d{1,2}) ?(?P<half>am|pm|in the morning|in the evening|at night)",
        _half_day,
    ),
    (r"(?P<low>\d{1,2}:\d{2}) (?:to|until|till|-) (?P<high>\d{1,2}:\d{2})", _clock),
    (rf"{_COUNTED} (?P<length>{NUMBER} {_UNIT}) periods?", _regular),
    (rf"{_COUNTED} (?P<unit>days?|weeks?|months?|quarters?)", _regular),
    (
        rf"(?:every|each)(?: single)? (?P<unit>day|week|month) (?:for|of|in|during|over|within)(?: the)?(?: last| past)? {_D}",
        _every,
    ),
    (rf"(?:between|from) (?P<low>{_CLOCK}) (?:and|to|until|till|-) (?P<high>{_CLOCK})(?: o clock)?", _clock),
    (rf"(?:after|past|since|from) (?P<low>{_CLOCK})(?: onwards?)?", _clock),
    (rf"(?:before|until) (?P<high>{_CLOCK})", _clock),
    (rf"between (?P<low>{DURATION}|{NUMBER}) and (?P<high>{DURATION}) (?:ago|back|old|before now)", _between),
    (
        rf"(?:from )?(?P<low>{DURATION}|{NUMBER}) (?:to|-) (?P<high>{DURATION}) (?:ago|back|old|before now)",
        _between,
    ),
    (
        rf"{_C}{_D}(?P<more> or (?:more|longer))? (?:ago|back|before now)(?P<orm> or (?:more|longer|earlier))?",
        _span("ago"),
    ),
    (
        rf"(?:older|longer) than {_D}",
        lambda groups: WindowSpan("ago", duration_ms(groups["length"] or "") or 0, "gt"),
    ),
    (
        rf"(?:newer|younger) than {_D}",
        lambda groups: WindowSpan("ago", duration_ms(groups["length"] or "") or 0, "lt"),
    ),
    (rf"{_C}{_D}(?P<more> or (?:more|over))? old(?!er)", _span("ago")),
    (rf"{_C}(?:{_D}|{_P}) (?:from now|away|left|to go|remaining|from today)", _span("next")),
    (
        rf"(?:{_IN} )?(?:the |their |its |these |those )?(?:next|coming|upcoming|following) {_D}",
        _span("next"),
    ),
    (rf"{_IN} (?:the |their )?(?:next|coming|upcoming|following) {_P}", _span("next")),
    (rf"(?:the |their )(?:next|coming|upcoming|following) {_P}", _span("next")),
    (
        r"(?P<said>(?:the )?(?:next|coming) (?:week|month|quarter|year)|tomorrow|next (?:few|couple of) \w+)",
        _unclear,
    ),
    (rf"for {_C}(?:the |these )?(?:whole |entire |full )?{_LAST} (?:{_D}|{_P})(?: {_AFTER})*", _span("for")),
    (
        rf"(?:{_IN} )?(?:(?:the|these|those|their|any|this) )?(?:whole |entire )?{_LAST} (?:{_C}){_D}(?! of the month)",
        _span("within"),
    ),
    (rf"{_IN} (?:the )?(?:last|past) {_P} and a half", _and_half),
    (rf"{_IN} (?:(?:the|this|these|a) )?(?:last|past) {_P}", _span("within")),
    (rf"(?:the |this )?past {_P}", _span("within")),
    (rf"(?<!since )(?<!before )(?<!until )the last {_P}", _span("within")),
    (
        r"(?P<said>(?:in |over |within |during |for )?(?:the )?(?:last|past|previous) (?:few|couple|couple of|several|some) \w+"
        r"|(?:in |during )?(?:the )?previous (?:week|month|quarter|year)"
        r"|(?<!since )(?<!before )(?:last (?:night|week|month|quarter|year|spring|summer|autumn|fall|winter|season|weekend)))",
        _unclear,
    ),
    (
        r"(?:at any time |any time )?(?:in |during |within |for |so far |over )?(?:this|the current) (?:calendar )?(?P<unit>day|week|month|year|quarter)(?: so far| to date)?",
        _calendar,
    ),
    (r"(?P<unit>year|month|week) to date", _calendar),
    (r"(?:earlier )?today(?! )|(?:earlier )?today(?= )", _calendar),
    (
        rf"for (?:a |the )?{_C}(?:the )?{_D}(?P<more> (?:or more|or longer|plus|\+))?(?: {_AFTER})*",
        _span("for"),
    ),
    (
        rf"(?:within|in|no later than|inside|in less than|in under|less than|no more than|at most|up to) {_C}{_D}{_THAT}",
        _span("gap"),
    ),
    (rf"{_D}{_THAT}", _span("gap")),
    (
        rf"(?:within|in|no later than|inside|less than|no more than|at most|up to) (?:the )?(?:first )?{_D} (?:of|after|following|from)(?= )",
        _span("after"),
    ),
    (
        rf"(?P<strict>within) (?:a |the )?{_C}(?:a period of |a window of |any )?{_D}",
        lambda groups: WindowSpan(
            "in",
            duration_ms(groups["length"] or "") or 0,
            COMPARISONS.get(groups["op"] or "", ""),
            text="within",
        ),
    ),
    (
        rf"(?:within the space of|in the space of|inside of|inside|in|over|during|across|in the course of|over the course of) (?:a |the )?{_C}(?:a period of |a window of |any )?{_D}(?P<more> or (?:more|longer))?",
        _span("in"),
    ),
    (r"(?:in|within|over) the next (?P<n>\d+)", lambda groups: WindowSpan("next", text=groups["n"] or "")),
    (
        r"(?:in|within|over|of|out of|outta) the (?:last|past) (?P<n>\d+)",
        lambda groups: WindowSpan("within", text=groups["n"] or ""),
    ),
    (rf"(?:per|each|every|a|an) {_P}(?!s)(?! (?:ago|and a half))", _span("rate")),
    (rf"{_C}{_D}(?P<more> (?:or more|or longer|plus|\+))?(?: {_AFTER})*", _span("length")),
)
