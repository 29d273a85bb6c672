"""Active days, sessions, regularity and the lifecycle over all events, for the reference evaluator."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from segops.core.events import Event
from segops.core.rules import model
from segops.core.rules.reference.history import History, counts
from segops.core.rules.reference.values import value_at


def active_periods(node: model.ActivePeriods, history: History, now_ms: int, _member: Any) -> bool:
    """Whether the number of local days, weeks or months with an event in the window is as wanted."""
    name_of, zone = _PERIODS[node.calendar.this], ZoneInfo(node.calendar.zone)
    times = [event.time_ms for event in history.select(node.select, now_ms)]
    found = {name_of(_local(at, zone)) for at in times if counts(node.window, at, now_ms)}
    return node.count.holds(len(found), now_ms)


def _local(time_ms: int, zone: ZoneInfo) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)).astimezone(zone)


_PERIODS: dict[str, Callable[[datetime], Any]] = {
    "day": lambda local: local.date(),
    "week": lambda local: local.isocalendar()[:2],
    "month": lambda local: (local.year, local.month),
}


def runs(select: model.Selection, gap_ms: int, history: History, now_ms: int) -> list[list[Event]]:
    """Return the sessions so far: runs of selected events, each less than ``gap_ms`` after the one before."""
    found: list[list[Event]] = []
    for event in history.select(select, now_ms):
        if found and event.time_ms - found[-1][-1].time_ms < gap_ms:
            found[-1].append(event)
        else:
            found.append([event])
    return found


def sessions(node: model.Sessions, history: History, now_ms: int, _member: Any) -> bool:
    """Whether the number of sessions that begin in the window is as wanted."""
    begins = [run[0].time_ms for run in runs(node.select, node.gap_ms, history, now_ms)]
    return node.count.holds(sum(counts(node.window, at, now_ms) for at in begins), now_ms)


def session_figure(node: model.SessionFigure, history: History, now_ms: int, _member: Any) -> bool:
    """Whether a figure of the current session, or of the last one that has ended, is as wanted."""
    found = runs(node.select, node.gap_ms, history, now_ms)
    ended = [run for run in found if run[-1].time_ms + node.gap_ms <= now_ms]
    chosen = [run for run in found if run not in ended] if node.which == "current" else ended
    return node.test.holds(_figure(node, chosen[-1]) if chosen else None, now_ms)


def _figure(node: model.SessionFigure, run: list[Event]) -> Any:
    if node.figure == "duration":
        return run[-1].time_ms - run[0].time_ms
    if node.figure == "events":
        return len(run)
    found = [value_at(event, node.path or ()) for event in run]
    values = [value for value in found if value is not None]
    return values[0 if node.figure == "first" else -1] if values else None


def regularly(node: model.Regularly, history: History, now_ms: int, _member: Any) -> bool:
    """Whether enough of the latest periods have an event."""
    times = [event.time_ms for event in history.select(node.select, now_ms)]
    length = node.period_ms
    ends = [now_ms - number * length for number in range(node.periods)]
    return sum(any(end - length < at <= end for at in times) for end in ends) >= node.k


def lifecycle(node: model.LifecycleNode, history: History, now_ms: int, _member: Any) -> bool:
    """Whether the stage is one of the wanted ones; a profile without an event has none."""
    ages = [now_ms - event.time_ms for event in history.select(node.select, now_ms)]
    latest = any(age < node.period_ms for age in ages)
    before = any(node.period_ms <= age < 2 * node.period_ms for age in ages)
    earlier = any(age >= 2 * node.period_ms for age in ages)
    stages = {
        "new": latest and not before and not earlier,
        "active": latest and before,
        "resurrected": latest and not before and earlier,
        "dormant": not latest and (before or earlier),
    }
    return any(stages[name] for name in node.stages)
