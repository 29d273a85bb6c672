"""Lifecycle: who is new, active, resurrected and dormant, and how many were active by day, week and month."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from segops.analytics.population_days import PopulationDay
from segops.analytics.views import PopulationView
from segops.console.board.answers import AnswerCache
from segops.console.page import Action, Context, Data, Page
from segops.console.people.asking import part
from segops.console.people.known import population_of
from segops.console.people.lines import Line, chart_data
from segops.console.people.links import curl_of
from segops.core.values import format_instant
from segops.operations.population import population_days

_RANGES: Final = {"7d": 7, "30d": 30, "90d": 90, "all": 0}
_DEFAULT: Final = "30d"
_days = AnswerCache()
_STATES: Final = (
    ("new", "New", "Their first event ever is of today."),
    ("returning", "Active", "Active today and before, and absent for at most 30 days in between."),
    ("resurrected", "Resurrected", "Active today after more than 30 days without an event."),
    ("dormant", "Dormant", "No event within the last 30 days."),
)
_ACTIVE: Final = (
    ("daily", "Daily active (DAU)", "An event today."),
    ("weekly", "Weekly active (WAU)", "An event today or on one of the 6 days before."),
    ("monthly", "Monthly active (MAU)", "An event today or on one of the 29 days before."),
)


async def _lifecycle(context: Context[Any]) -> Data:
    chosen = context.query.get("range", _DEFAULT)
    chosen = chosen if chosen in _RANGES else _DEFAULT

    async def read() -> Sequence[PopulationDay]:
        return await population_days(context.settings)

    (read_ms, found), missing = await part(_days.dated("days", context.now_ms, read), (None, []))
    days = found[-_RANGES[chosen] :] if _RANGES[chosen] else found
    now = population_of(context.board) or _latest(found)
    return {
        "now": None if now is None else _now(now, getattr(context.board, "as_of_ms", None) or read_ms),
        "range": chosen,
        "ranges": [*_RANGES],
        "days": [_day(each) for each in reversed(days)],
        "read_ms": read_ms,
        "active": chart_data(_lines(days, _ACTIVE), [each.day_ms for each in days]),
        "states": chart_data(_lines(days, _STATES[:3]), [each.day_ms for each in days]),
        "definitions": [{"name": name, "text": text} for _, name, text in (*_STATES, *_ACTIVE)],
        "missing": missing,
        "cli": "segops population",
        "curl": curl_of(context, "/lifecycle", {"range": chosen}),
    }


def _latest(days: Sequence[PopulationDay]) -> PopulationDay | None:
    return days[-1] if days else None


def _now(found: PopulationView | PopulationDay, as_of_ms: int | None) -> Data:
    clock_ms = found.as_of.least_ms if isinstance(found, PopulationView) else None
    states = [
        {"key": key, "name": name, "hint": hint, "count": getattr(found, key)} for key, name, hint in _STATES
    ]
    active = [
        {"key": key, "name": name, "hint": hint, "count": getattr(found, key)} for key, name, hint in _ACTIVE
    ]
    return {
        "day_ms": found.day_ms,
        "as_of_ms": as_of_ms,
        "clock_ms": clock_ms,
        "known": found.known,
        "stickiness": found.daily / found.monthly if found.monthly else None,
        "states": states,
        "active": active,
        "complete": found.complete,
    }


def _day(found: PopulationDay) -> Data:
    return {**msgspec.structs.asdict(found), "date": format_instant(found.day_ms)[:10]}


def _lines(days: Sequence[PopulationDay], named: Sequence[tuple[str, str, str]]) -> list[Line]:
    return [Line(key, label, [getattr(each, key) for each in days]) for key, label, _ in named]


PAGES: tuple[Page[Any], ...] = (Page("/lifecycle", "lifecycle.html", "Lifecycle", _lifecycle),)
ACTIONS: tuple[Action[Any, Any], ...] = ()
