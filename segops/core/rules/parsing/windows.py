"""Checking the window of a node: at most one form, and never an empty one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segops.core.rules.parsing.predicates import Refused, instant, zone
from segops.core.values import parse_duration
from segops.core.windows import ALWAYS, CALENDAR_UNITS, Between, Calendar, Fixed, Window, Within

WINDOW_KEYS = ("within", "between", "since", "until", "calendar")


def check_window(raw: Mapping[str, Any]) -> Window:
    """The window of a node; every event so far if it names none.

    >>> check_window({"within": "2d"})
    Within(length_ms=172800000)

    Raises Refused.
    """
    forms = {"since" if key == "until" else key for key in WINDOW_KEYS if key in raw}
    if not forms:
        return ALWAYS
    if len(forms) > 1:
        raise Refused("", f"at most one window; here: {', '.join(sorted(forms))}")
    return _FORMS[forms.pop()](raw)


def _length(raw: object, where: str) -> int:
    try:
        length = parse_duration(raw)
    except ValueError as error:
        raise Refused(where, str(error)) from None
    return length


def _within(raw: Mapping[str, Any]) -> Window:
    length = _length(raw["within"], ".within")
    if length == 0:
        raise Refused(".within", "a window of 0 holds nothing")
    return Within(length)


def _between(raw: Mapping[str, Any]) -> Window:
    form = raw["between"]
    if not isinstance(form, dict) or set(form) != {"from", "to"}:
        raise Refused(".between", "a map of from and to is wanted, as in {from: 90d, to: 30d}")
    begin, end = _length(form["from"], ".between.from"), _length(form["to"], ".between.to")
    if begin <= end:
        raise Refused(".between", "from is further back than to, as in {from: 90d, to: 30d}")
    return Between(begin, end)


def _fixed(raw: Mapping[str, Any]) -> Window:
    since, until = (instant(raw[key], f".{key}") if key in raw else None for key in ("since", "until"))
    if since is not None and until is not None and since >= until:
        raise Refused(".until", "until is not after since: the window holds nothing")
    return Fixed(since, until)


def _calendar(raw: Mapping[str, Any]) -> Window:
    form = raw["calendar"]
    if not isinstance(form, dict) or not {"this"} <= set(form) <= {"this", "zone"}:
        raise Refused(
            ".calendar", "this, and optionally zone, is wanted, as in {this: day, zone: Europe/Paris}"
        )
    if form["this"] not in CALENDAR_UNITS:
        raise Refused(".calendar.this", f"one of {', '.join(CALENDAR_UNITS)} is wanted, not {form['this']!r}")
    return Calendar(form["this"], zone(form.get("zone", "UTC"), ".calendar.zone"))


_FORMS = {"within": _within, "between": _between, "since": _fixed, "calendar": _calendar}
