"""Checking a predicate: its operators, the types of their operands, and whether it can ever matter."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from segops.core.operators import OPERATORS, Anniversary, Predicate, pattern
from segops.core.values import kind, parse_duration, parse_instant

COUNT_OPERATORS = ("eq", "ne", "lt", "lte", "gt", "gte", "between", "in", "not_in")

#: Counts in one list: each is a boundary, and all boundaries are compared with all counts.
MAX_COUNTS = 1_000


class Refused(ValueError):
    """A part of a rule is refused: each place below the part that was checked, with the reason."""

    def __init__(self, where: str, reason: str, *more: tuple[str, str]) -> None:
        super().__init__(reason)
        self.parts = ((where, reason), *more)


def check_test(raw: Any, allowed: Collection[str] = tuple(OPERATORS)) -> Predicate:
    """The checked form of a map of operators; a bare value is short for ``eq``.

    >>> check_test({"gte": 3, "lt": 5})
    Predicate(ops=(('gte', 3), ('lt', 5)))

    Raises Refused.
    """
    if not isinstance(raw, dict):
        raise Refused("", f"a map of operators is wanted, as in {{gte: 3}}, not {raw!r}")
    operators = {
        key: value for key, value in raw.items() if key != "zone" or "anniversary_in_next" not in raw
    }
    if not operators:
        raise Refused("", "a test has at least one operator")
    place = raw.get("zone", "UTC")
    checked: list[tuple[str, Any]] = []
    refused: list[tuple[str, str]] = []
    for name in sorted(operators, key=str):
        try:
            checked.append((name, _operand(name, operators[name], allowed, place)))
        except Refused as error:
            refused += error.parts
    if refused:
        raise Refused(*refused[0], *refused[1:])
    return Predicate(tuple(checked))


def _operand(name: str, raw: Any, allowed: Collection[str], place: Any) -> Any:
    if name not in allowed:
        raise Refused(f".{name}", f"unknown operator; here: {', '.join(allowed)}")
    try:
        if name == "anniversary_in_next":
            return Anniversary(_duration(raw), zone(place))
        operand = _OPERANDS[name](raw)
        if allowed is COUNT_OPERATORS:
            _whole(operand)
        return operand
    except ValueError as error:
        raise Refused(f".{name}", str(error)) from None


def _whole(operand: Any) -> None:
    if isinstance(operand, tuple) and len(operand) > MAX_COUNTS:
        raise ValueError(
            f"at most {MAX_COUNTS:,} counts, not {len(operand):,}: say it by gte, lte or between"
        )
    for number in operand if isinstance(operand, tuple) else (operand,):
        if type(number) is not int:
            raise ValueError(f"a count is a whole number, not {number!r}")


def zone(raw: Any, where: str = "") -> str:
    """The name of a time zone that exists. Raises Refused."""
    try:
        return ZoneInfo(raw).key
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        raise Refused(where, f"{raw!r} is no time zone; write one as in Europe/Paris") from None


def _scalar(raw: Any) -> Any:
    if kind(raw) not in ("number", "string", "boolean"):
        raise ValueError(f"a number, a text or true or false is wanted, not {raw!r}")
    if raw != raw or raw in (float("inf"), float("-inf")):
        raise ValueError(f"{raw!r} is no number that an event can have")
    return raw


def _ordered(raw: Any) -> Any:
    if kind(_scalar(raw)) == "boolean":
        raise ValueError("true and false have no order")
    return raw


def _scalars(raw: Any) -> tuple[Any, ...]:
    if not isinstance(raw, list) or not raw:
        raise ValueError("a list of at least one value is wanted")
    return tuple(_scalar(item) for item in raw)


def _pair(raw: Any) -> tuple[Any, Any]:
    if not isinstance(raw, list) or len(raw) != 2 or kind(_ordered(raw[0])) != kind(_ordered(raw[1])):
        raise ValueError("two values of one type are wanted, as in [10, 20]")
    if raw[0] > raw[1]:
        raise ValueError(f"never holds: {raw[0]!r} is above {raw[1]!r}")
    return raw[0], raw[1]


def _text(raw: Any) -> str:
    if not isinstance(raw, str):
        raise ValueError(f"a text is wanted, not {raw!r}")
    return raw


def _pattern(raw: Any) -> str:
    pattern(_text(raw))
    return str(raw)


def _boolean(raw: Any) -> bool:
    if not isinstance(raw, bool):
        raise ValueError(f"true or false is wanted, not {raw!r}")
    return raw


def _duration(raw: Any) -> int:
    length = parse_duration(raw)
    if length == 0:
        raise ValueError("a duration of 0 holds nothing")
    return length


def instant(raw: Any, where: str = "") -> int:
    """The milliseconds of an ISO-8601 date or time (YAML gives dates as such). Raises Refused."""
    text = raw.isoformat() if hasattr(raw, "isoformat") else raw
    ms = parse_instant(text) if isinstance(text, str) else None
    if ms is None:
        raise Refused(where, f"{raw!r} is no ISO-8601 date or time")
    return ms


_OPERANDS: dict[str, Callable[[Any], Any]] = {
    "eq": _scalar,
    "ne": _scalar,
    "in": _scalars,
    "not_in": _scalars,
    "lt": _ordered,
    "lte": _ordered,
    "gt": _ordered,
    "gte": _ordered,
    "between": _pair,
    "contains": _text,
    "starts_with": _text,
    "ends_with": _text,
    "matches": _pattern,
    "includes": _scalar,
    "exists": _boolean,
    "before": instant,
    "after": instant,
    "in_last": _duration,
    "in_next": _duration,
    "older_than": parse_duration,
    "newer_than": _duration,
}


def boundaries(test: Predicate) -> tuple[int, ...]:
    """The counts from which on the verdict of a count's test may differ from the count below.

    >>> boundaries(Predicate((("between", (2, 4)),)))
    (2, 5)
    """
    found: set[int] = set()
    for name, operand in test.ops:
        found.update(_BOUNDARIES[name](operand))
    return tuple(sorted(b for b in found if b > 0))


_BOUNDARIES: dict[str, Callable[[Any], Collection[int]]] = {
    "gte": lambda k: (k,),
    "lt": lambda k: (k,),
    "gt": lambda k: (k + 1,),
    "lte": lambda k: (k + 1,),
    "eq": lambda k: (k, k + 1),
    "ne": lambda k: (k, k + 1),
    "between": lambda ab: (ab[0], ab[1] + 1),
    "in": lambda ks: [b for k in ks for b in (k, k + 1)],
    "not_in": lambda ks: [b for k in ks for b in (k, k + 1)],
}


def threshold_verdict(test: Predicate) -> str | None:
    """``never`` or ``always`` if a test over counts can only do that, else None.

    >>> threshold_verdict(Predicate((("gte", 0),))), threshold_verdict(Predicate((("lt", 0),)))
    ('always', 'never')
    """
    verdicts = {test.holds(count, 0) for count in (0, *boundaries(test))}
    return {frozenset({True}): "always", frozenset({False}): "never"}.get(frozenset(verdicts))
