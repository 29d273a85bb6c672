"""The operators of predicates (``SPEC.md#operators``): what each means, and when its verdict changes.

A missing value (absent or null: ``None`` here) fails every operator but ``exists: false``. Only
``Predicate.holds`` decides that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import re2

from segops.core.dates import birthday, in_year, in_zone, years_since
from segops.core.lookups import value_within
from segops.core.values import datetime_ms, equal, kind, lookup, parse_datetime, parse_instant

Operand = Any
Edges = Callable[[str, Operand, int], Iterable[int]]


class Anniversary(msgspec.Struct, frozen=True):
    """The operand of ``anniversary_in_next``: how far ahead, and in which time zone."""

    length_ms: int
    zone: str = "UTC"


class DateNumbers(msgspec.Struct, frozen=True):
    """The operand of ``weekday`` (1 is Monday) and ``month``: their numbers, and the time zone."""

    numbers: tuple[int, ...]
    zone: str = "UTC"


class Age(msgspec.Struct, frozen=True):
    """The operand of ``age_in_years``: a predicate of whole years, and the time zone."""

    test: Predicate
    zone: str = "UTC"


class Predicate(msgspec.Struct, frozen=True):
    """A conjunction of operators, in alphabetical order of their names.

    >>> Predicate((("gte", 3), ("lt", 5))).holds(4, now_ms=0)
    True
    >>> Predicate((("ne", 3),)).holds(None, now_ms=0), Predicate((("exists", False),)).holds(None, now_ms=0)
    (False, True)
    """

    ops: tuple[tuple[str, Operand], ...]

    def holds(self, value: Any, now_ms: int) -> bool:
        """Return whether ``value`` satisfies every operator at ``now_ms``."""
        if value is None:
            return all(name == "exists" and not operand for name, operand in self.ops)
        for name, operand in self.ops:  # noqa: SIM110 - all() is slower, and this runs for every event
            if not OPERATORS[name](value, operand, now_ms):
                return False
        return True

    @property
    def plain(self) -> Predicate:
        """The predicate of a value that is already ``converted``."""
        return self

    def converted(self, value: Any) -> Any:
        """Return what the operators read of a value."""
        return value

    @property
    def timed(self) -> bool:
        """Whether the verdict on a value can change with time alone."""
        return any(name in EDGES for name, _ in self.ops)

    def next_edge(self, value: Any, now_ms: int) -> int | None:
        """Return the earliest instant after ``now_ms`` at which the verdict could change, or None."""
        if value.__class__ is not str:
            return None
        return min(
            (
                edge
                for name, operand in self.ops
                if name in EDGES
                for edge in EDGES[name](value, operand, now_ms)
                if edge > now_ms
            ),
            default=None,
        )


class Elements(msgspec.Struct, frozen=True):
    """The operand of ``any``, ``all``, ``none`` and ``count``: conditions that an element satisfies together.

    ``number``, of ``count`` only, is the predicate of the number of such elements.
    """

    where: tuple[tuple[tuple[str, ...], Predicate], ...]
    number: Predicate | None = None

    def matches(self, element: Any) -> bool:
        """Return whether an element satisfies every condition; in one that is no object, all is missing."""
        return all(test.holds(lookup(element, path), 0) for path, test in self.where)


class LookingElements(Elements, frozen=True):
    """Conditions of which some look a value up by a key in the element."""

    def matches(self, element: Any) -> bool:
        """Return whether an element satisfies every condition."""
        return all(test.holds(value_within(element, path), 0) for path, test in self.where)


def _comparable(value: Any, operand: Operand) -> bool:
    return kind(value) == kind(operand) and kind(value) in ("number", "string")


def _eq(value: Any, operand: Operand, _now_ms: int) -> bool:
    return equal(value, operand)


def _ne(value: Any, operand: Operand, _now_ms: int) -> bool:
    return kind(value) == kind(operand) and value != operand


def _in(value: Any, operand: Operand, _now_ms: int) -> bool:
    return any(equal(value, item) for item in operand)


def _not_in(value: Any, operand: Operand, _now_ms: int) -> bool:
    return any(kind(value) == kind(item) for item in operand) and not _in(value, operand, 0)


def _lt(value: Any, operand: Operand, _now_ms: int) -> bool:
    return _comparable(value, operand) and bool(value < operand)


def _lte(value: Any, operand: Operand, _now_ms: int) -> bool:
    return _comparable(value, operand) and bool(value <= operand)


def _gt(value: Any, operand: Operand, _now_ms: int) -> bool:
    return _comparable(value, operand) and bool(value > operand)


def _gte(value: Any, operand: Operand, _now_ms: int) -> bool:
    return _comparable(value, operand) and bool(value >= operand)


def _between(value: Any, operand: Operand, _now_ms: int) -> bool:
    return _gte(value, operand[0], 0) and _lte(value, operand[1], 0)


def _contains(value: Any, operand: Operand, _now_ms: int) -> bool:
    return value.__class__ is str and operand in value


def _starts_with(value: Any, operand: Operand, _now_ms: int) -> bool:
    return value.__class__ is str and value.startswith(operand)


def _ends_with(value: Any, operand: Operand, _now_ms: int) -> bool:
    return value.__class__ is str and value.endswith(operand)


def _matches(value: Any, operand: Operand, _now_ms: int) -> bool:
    return value.__class__ is str and pattern(operand).search(value) is not None


def _includes(value: Any, operand: Operand, _now_ms: int) -> bool:
    return value.__class__ is list and any(equal(item, operand) for item in value)


def _any(value: Any, operand: Operand, _now_ms: int) -> bool:
    return value.__class__ is list and any(map(operand.matches, value))


def _all(value: Any, operand: Operand, _now_ms: int) -> bool:
    return value.__class__ is list and all(map(operand.matches, value))


def _none(value: Any, operand: Operand, _now_ms: int) -> bool:
    return value.__class__ is list and not any(map(operand.matches, value))


def _count(value: Any, operand: Operand, _now_ms: int) -> bool:
    return value.__class__ is list and operand.number.holds(sum(map(operand.matches, value)), 0)


def _exists(_value: Any, operand: Operand, _now_ms: int) -> bool:
    return bool(operand)


def _before(value: Any, operand: Operand, _now_ms: int) -> bool:
    date = _date(value)
    return date is not None and date < operand


def _after(value: Any, operand: Operand, _now_ms: int) -> bool:
    date = _date(value)
    return date is not None and date > operand


def _in_last(value: Any, operand: Operand, now_ms: int) -> bool:
    date = _date(value)
    return date is not None and now_ms - operand < date <= now_ms


def _in_next(value: Any, operand: Operand, now_ms: int) -> bool:
    date = _date(value)
    return date is not None and now_ms < date <= now_ms + operand


def _older_than(value: Any, operand: Operand, now_ms: int) -> bool:
    date = _date(value)
    return date is not None and now_ms - date >= operand


def _newer_than(value: Any, operand: Operand, now_ms: int) -> bool:
    date = _date(value)
    return date is not None and now_ms - date < operand and date <= now_ms


def _anniversary_in_next(value: Any, operand: Operand, now_ms: int) -> bool:
    coming = next_anniversary(value, operand.zone, now_ms) if value.__class__ is str else None
    return coming is not None and coming - now_ms <= operand.length_ms


def _weekday(value: Any, operand: Operand, _now_ms: int) -> bool:
    date = in_zone(value, operand.zone) if value.__class__ is str else None
    return date is not None and date.local.isoweekday() in operand.numbers


def _month(value: Any, operand: Operand, _now_ms: int) -> bool:
    date = in_zone(value, operand.zone) if value.__class__ is str else None
    return date is not None and date.local.month in operand.numbers


def _age_in_years(value: Any, operand: Operand, now_ms: int) -> bool:
    born = in_zone(value, operand.zone) if value.__class__ is str else None
    age = None if born is None else years_since(born, now_ms)
    return age is not None and bool(operand.test.holds(age, now_ms))


def _date(value: Any) -> int | None:
    return parse_instant(value) if value.__class__ is str else None


def next_anniversary(date: str, zone: str, now_ms: int) -> int | None:
    """Return the first anniversary of an ISO date after ``now_ms``, in milliseconds; None for other strings.

    A date without a time is that day of the zone's calendar; 29 February becomes 1 March in common years.

    >>> next_anniversary("2024-02-29", "UTC", parse_instant("2026-01-01"))
    1772323200000
    """
    born = parse_datetime(date)
    if born is None:
        return None
    tz = ZoneInfo(zone)
    if not 400 < born.year < 9_600:  # the year is irrelevant, but zones fail near the limits of datetime
        born = born.replace(year=2_000 + born.year % 400)
    if len(date) > 10:
        born = born.astimezone(tz)
    year = datetime.fromtimestamp(now_ms // 1_000, tz).year
    return next(
        instant for y in (year, year + 1, year + 2) if (instant := datetime_ms(in_year(born, y, tz))) > now_ms
    )


def pattern(text: str) -> Any:
    """Compile a regular expression that runs in time linear in its input (RE2).

    Raises ValueError if it is invalid, or for what RE2 rejects: back-references, look-around, huge repeats.
    """
    if (known := _PATTERNS.get(text)) is not None:
        return known
    options = re2.Options()
    options.log_errors = False
    try:
        return _PATTERNS.setdefault(text, re2.compile(text, options))
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"invalid regular expression {text!r}: {reason}") from error


_PATTERNS: dict[str, Any] = {}

OPERATORS: dict[str, Callable[[Any, Operand, int], bool]] = {
    "eq": _eq,
    "ne": _ne,
    "in": _in,
    "not_in": _not_in,
    "lt": _lt,
    "lte": _lte,
    "gt": _gt,
    "gte": _gte,
    "between": _between,
    "contains": _contains,
    "starts_with": _starts_with,
    "ends_with": _ends_with,
    "matches": _matches,
    "includes": _includes,
    "any": _any,
    "all": _all,
    "none": _none,
    "count": _count,
    "exists": _exists,
    "before": _before,
    "after": _after,
    "in_last": _in_last,
    "in_next": _in_next,
    "older_than": _older_than,
    "newer_than": _newer_than,
    "anniversary_in_next": _anniversary_in_next,
    "age_in_years": _age_in_years,
    "weekday": _weekday,
    "month": _month,
}


def _edges_of_age(value: str, operand: Operand, _now_ms: int) -> Iterable[int]:
    date = parse_instant(value)
    return () if date is None else (date, date + operand)


def _edges_of_coming(value: str, operand: Operand, _now_ms: int) -> Iterable[int]:
    date = parse_instant(value)
    return () if date is None else (date - operand, date)


def _edges_of_anniversary(value: str, operand: Operand, now_ms: int) -> Iterable[int]:
    coming = next_anniversary(value, operand.zone, now_ms)
    return () if coming is None else (coming - operand.length_ms, coming)


def _edges_of_years(value: str, operand: Operand, _now_ms: int) -> Iterable[int]:
    """Return the date itself, and the birthdays at which a number of the predicate begins and ends."""
    born = in_zone(value, operand.zone)
    if born is None:
        return ()
    operands = (o for _, found in operand.test.ops for o in (found if found.__class__ is tuple else (found,)))
    years = {0, *(year for number in operands for year in (number, number + 1) if year > 0)}
    return [birthday(born, each) for each in years]


#: Operators whose verdict changes with time -> the instants at which it may change.
EDGES: dict[str, Edges] = {
    "in_last": _edges_of_age,
    "newer_than": _edges_of_age,
    "older_than": _edges_of_age,
    "in_next": _edges_of_coming,
    "anniversary_in_next": _edges_of_anniversary,
    "age_in_years": _edges_of_years,
}
