"""Predicates, windows and selections of events in words, for the descriptions of nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from segops.core.conversions import Converted
from segops.core.features.feature import ANY_NAME, Feature
from segops.core.operators import Age, Anniversary, DateNumbers, Elements, Predicate
from segops.core.paths import names_text, path_text
from segops.core.refresh import Refresh
from segops.core.rules import model
from segops.core.rules.figures import AggregateFigure
from segops.core.time_of_day import DAY_MS, DAYS, TimeOfDay, clock_text
from segops.core.values import format_duration, format_instant
from segops.core.windows import Between, Calendar, Fixed, SinceLast, Window, Within


def predicate_text(test: Predicate) -> str:
    """Describe a predicate.

    >>> predicate_text(Predicate((("gte", 3), ("lt", 5))))
    '≥ 3 and < 5'
    >>> predicate_text(Predicate((("in_next", 259_200_000),)))
    'in the next 3d'
    """
    if isinstance(test, TimeOfDay):
        return _time_of_day(test)
    text = " and ".join(OPERATOR_TEXTS[name](operand) for name, operand in test.ops)
    return f"as {test.convert} {text}" if isinstance(test, Converted) else text


def value_text(read: Feature | model.Aggregate | AggregateFigure) -> str:
    """Describe the property that an aggregate reads, with its conversion and currency."""
    path = path_text(read.path) if read.path else ""
    conversion = "" if read.convert is None else f" as {read.convert}"
    return path + conversion + ("" if read.money is None else f" in {read.money.currency}")


def _elements(quantity: str) -> Callable[[Elements], str]:
    def words(operand: Elements) -> str:
        texts = [f"{names_text(path)} {predicate_text(test)}" for path, test in operand.where]
        number = "" if operand.number is None else f" {predicate_text(operand.number)}"
        return f"{quantity}{number}{' with' if texts else ''} {' and '.join(texts)}".rstrip()

    return words


def _time_of_day(test: TimeOfDay) -> str:
    days = f"on {', '.join(DAYS[day] for day in test.days)} " if test.days else ""
    whole = (test.from_ms, test.to_ms) == (0, DAY_MS)
    span = "" if whole else f"from {clock_text(test.from_ms)} to {clock_text(test.to_ms)} "
    return f"{days}{span}({test.zone})"


def _value(operand: Any) -> str:
    if isinstance(operand, bool):
        return str(operand).lower()
    return operand if isinstance(operand, str) and operand else repr(operand)


def _list(operand: tuple[Any, ...]) -> str:
    return ", ".join(map(_value, operand))


def _sign(sign: str) -> Callable[[Any], str]:
    return lambda operand: f"{sign} {_value(operand)}"


def _date(words: str) -> Callable[[int], str]:
    return lambda operand: f"{words} {format_instant(operand)}"


def _length(words: str) -> Callable[[int], str]:
    return lambda operand: f"{words} {format_duration(operand)}"


def _anniversary(operand: Anniversary) -> str:
    return f"comes round in the next {format_duration(operand.length_ms)} ({operand.zone})"


def _age_in_years(operand: Age) -> str:
    return f"years of age ({operand.zone}) {predicate_text(operand.test)}"


def _weekday(operand: DateNumbers) -> str:
    days = (_WEEKDAYS[number - 1] for number in operand.numbers)
    return f"on {' or '.join(days)} ({operand.zone})"


def _month(operand: DateNumbers) -> str:
    return f"in month {' or '.join(map(str, operand.numbers))} ({operand.zone})"


_WEEKDAYS = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")

#: Operator -> its operand in words.
OPERATOR_TEXTS: dict[str, Callable[[Any], str]] = {
    "eq": _sign("="),
    "ne": _sign("≠"),
    "in": lambda operand: f"in [{_list(operand)}]",
    "not_in": lambda operand: f"not in [{_list(operand)}]",
    "lt": _sign("<"),
    "lte": _sign("≤"),
    "gt": _sign(">"),
    "gte": _sign("≥"),
    "between": lambda operand: f"from {_value(operand[0])} to {_value(operand[1])}",
    "contains": _sign("contains"),
    "starts_with": _sign("starts with"),
    "ends_with": _sign("ends with"),
    "matches": _sign("matches"),
    "includes": _sign("includes"),
    "any": _elements("has an element"),
    "all": _elements("has only elements"),
    "none": _elements("has no element"),
    "count": _elements("number of elements"),
    "exists": lambda operand: "exists" if operand else "does not exist",
    "before": _date("before"),
    "after": _date("after"),
    "in_last": _length("in the last"),
    "in_next": _length("in the next"),
    "older_than": _length("older than"),
    "newer_than": _length("newer than"),
    "anniversary_in_next": _anniversary,
    "age_in_years": _age_in_years,
    "weekday": _weekday,
    "month": _month,
}


def refresh_text(refresh: Refresh) -> str:
    """Describe a refresh.

    >>> refresh_text(Refresh("week", 10_800_000, "Europe/Paris"))
    'refreshed every week at 03:00 (Europe/Paris)'
    """
    if refresh.every == "hour":
        return "refreshed every hour"
    return f"refreshed every {refresh.every} at {clock_text(refresh.at_ms)} ({refresh.zone})"


def as_of_text(refresh: Refresh, now_ms: int) -> str:
    """Describe which refresh is in force, and when the next one is.

    >>> as_of_text(Refresh("hour"), 5)
    'as of 1970-01-01T00:00:00.000Z, until 1970-01-01T01:00:00.000Z'
    """
    following = refresh.following(now_ms)
    until = "" if following is None else f", until {format_instant(following)}"
    return f"as of {format_instant(refresh.latest(now_ms))}{until}"


def window_text(window: Window) -> str:
    """Describe a window; a text without words stands for every event so far."""
    match window:
        case Within(length_ms=length):
            return f"within {format_duration(length)}"
        case Between(from_ms=from_ms, to_ms=to_ms):
            return f"between {format_duration(from_ms)} and {format_duration(to_ms)} ago"
        case Calendar(this=this, zone=zone):
            return f"this {this} ({zone})"
        case Fixed(since_ms=since, until_ms=until):
            begin = "" if since is None else f"since {format_instant(since)}"
            end = "" if until is None else f"until {format_instant(until)}"
            return f"{begin} {end}".strip()
        case SinceLast(names=names, same=same):
            of = "" if same is None else f" with the same {path_text(same)}"
            return f"since the last {' or '.join(names)}{of}"


def where_text(conditions: tuple[tuple[model.Path, Predicate], ...]) -> str:
    """Describe conditions on properties of an event."""
    texts = [f"{path_text(path)} {predicate_text(test)}" for path, test in conditions]
    return f"where {', '.join(texts)}" if texts else ""


def select_text(select: model.Selection) -> str:
    """Describe the events of a selection."""
    return f"{events_text(select.names)} {where_text(select.where)}".strip()


def events_text(names: tuple[str, ...]) -> str:
    """Describe events by their names."""
    return "any event" if ANY_NAME in names else " or ".join(names)
