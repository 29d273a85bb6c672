"""Rules of events in time: windows, ages, times of day, rhythm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from segops.studio.clauses import Clause, duration
from segops.studio.dates import DateWindow
from segops.studio.durations import WindowSpan, period_ms
from segops.studio.events import extended
from segops.studio.items import Item, Reduced, every, one
from segops.studio.phrases import Context
from segops.studio.windows import age_test, window_keys


def windowed(found: list[Item], context: Context) -> Reduced:
    """Take a time beside an event for its window, its age or its deadline."""
    event, time = one(found, "E", "A"), one(found, "W")
    clause: Clause = event.value
    said = time.value
    if isinstance(said, WindowSpan) and said.kind in _SPECIAL:
        return _SPECIAL[said.kind](event, time, found, context)
    if clause.window is not None or clause.head == "regularly":
        return None
    if clause.head == "did" and clause.test == {"eq": 1} and _is_first(event, context) and age_test_of(said):
        first = extended(event, [event], head="first", test=None)
        return _aged(first, time, found, context)
    if clause.head in ("first", "last") and clause.test is None:
        return _aged(event, time, found, context)
    said = _in_days(said, clause)
    keys = window_keys(said, context.catalogue.zone, negated=clause.negated)
    if keys is None and isinstance(said, WindowSpan) and said.kind == "next":
        return _gap(event, time, found, context)
    if keys is None:
        return _old(event, time, found)
    if (
        isinstance(said, WindowSpan)
        and said.kind in ("for", "length")
        and not clause.negated
        and not _is_last(context, time)
    ):
        return _lasting(event, time, found, context)
    gap = said if isinstance(said, WindowSpan) and said.kind == "in" else clause.gap
    return extended(event, found, time.marked(next(iter(keys))), window=keys, gap=gap)


def _in_days(said: Any, clause: Clause) -> Any:
    """Return a window that has only a number with the unit of what is counted."""
    if (
        not isinstance(said, WindowSpan)
        or said.length_ms
        or clause.head not in _ACTIVE
        or not said.text.isdigit()
    ):
        return said
    return WindowSpan("within", int(said.text) * period_ms(_ACTIVE[clause.head]))


#: Numbers of days -> the unit of a window that has only a number: "on 10 days in the last 30".
_ACTIVE: Final = {"active_days": "day", "active_weeks": "week", "active_months": "month"}


def _is_first(event: Item, context: Context) -> bool:
    """Whether an event is that of "first-time buyers"."""
    return context.tokens[event.first].norm == "first"


def age_test_of(said: Any) -> Any:
    """Return the age of a first event that a time means, if it is a length of time."""
    return age_test(said) if isinstance(said, WindowSpan) else None


def _lasting(event: Item, time: Item, found: list[Item], context: Context) -> Item | None:
    """Read how long one event lasted: "used the export for more than 60 seconds"."""
    clause: Clause = event.value
    said: WindowSpan = time.value
    prop = next((name for name in _SECONDS if context.schema.kind(clause.names, name) is not None), None)
    if prop is None or prop in dict(clause.where) or said.length_ms % 1_000:
        return None
    test = {said.op or "gte": said.length_ms // 1_000}
    return extended(event, found, time.marked(f"where.{prop}"), where=(*clause.where, (prop, test)))


#: Properties that have the length of an event in seconds.
_SECONDS: Final = ("duration_s", "seconds", "duration_seconds")


def _is_last(context: Context, time: Item) -> bool:
    words = {token.norm for token in context.tokens[time.first : time.last + 1]}
    return not words.isdisjoint(("last", "past", "previous"))


def _old(event: Item, time: Item, found: list[Item]) -> Item | None:
    """Read "more than 60 days ago": there is such an event, so the first one is that old."""
    said, clause = time.value, event.value
    if said.kind != "ago" or said.op not in ("gt", "gte") or clause.head != "did" or clause.test is not None:
        return None
    test = age_test(said)
    return extended(event, found, time.marked("is"), head="first", test=test)


def _aged(event: Item, time: Item, found: list[Item], context: Context) -> Reduced:
    said, clause = time.value, event.value
    if isinstance(said, DateWindow):
        return _dated_age(event, time, found, context)
    if said.kind == "calendar" and clause.head == "last":
        keys = window_keys(said, context.catalogue.zone)
        return extended(event, found, time.marked("calendar"), head="did", window=keys)
    test = age_test(said)
    return None if test is None else extended(event, found, time.marked("is"), test=test)


def _dated_age(event: Item, time: Item, found: list[Item], context: Context) -> Reduced:
    """Read "last ordered before June": nothing since, but something before."""
    said, clause = time.value, event.value
    bound = said.until_ms if clause.head == "last" else said.since_ms
    other = (
        DateWindow("since", said.until_ms)
        if clause.head == "last"
        else DateWindow("until", None, said.since_ms)
    )
    held = window_keys(said, context.catalogue.zone)
    inside = extended(
        event, found, time.marked("until" if said.until_ms else "since"), head="did", window=held
    )
    if bound is None:
        return inside
    outside = Clause(clause.names, where=clause.where, window=window_keys(other, ""), negated=True)
    joint = Item("AND", "", time.last, time.last)
    return [inside, joint, Item("E", outside, time.last, time.last)]


def _gap(event: Item, time: Item, found: list[Item], _context: Context) -> Item | None:
    clause: Clause = event.value
    return None if clause.gap else extended(event, found, time.marked("within"), gap=time.value)


def _regular(event: Item, time: Item, found: list[Item], _context: Context) -> Item | None:
    clause, said = event.value, time.value
    if clause.head != "did" or clause.test is not None or clause.window is not None:
        return None
    keys = (("every", duration(said.length_ms)), ("k", int(said.text)), ("of", said.further_ms))
    return extended(event, found, time.marked("every"), head="regularly", keys=keys)


def _clock(event: Item, time: Item, found: list[Item], context: Context) -> Item | None:
    begin, end = time.value.text.split("-")
    return _at_times(event, time, found, {"from": begin, "to": end}, context)


def on_days(found: list[Item], context: Context) -> Item | None:
    """Read the days of the week on which events happened."""
    event, days = one(found, "E", "A"), one(found, "TOD")
    named = {"weekend": ["sat", "sun"], "weekday": ["mon", "tue", "wed", "thu", "fri"]}
    return _at_times(event, days, found, {"days": named.get(days.value, [days.value])}, context)


def _at_times(
    event: Item, time: Item, found: list[Item], times: Mapping[str, Any], context: Context
) -> Item | None:
    clause: Clause = event.value
    known = dict(clause.keys)
    if clause.head in ("regularly", "lifecycle") or any(key in known.get("time_of_day", {}) for key in times):
        return None
    zone = {} if context.catalogue.zone == "UTC" else {"zone": context.catalogue.zone}
    known["time_of_day"] = {**known.get("time_of_day", {}), **times, **zone}
    return extended(event, found, time.marked("time_of_day"), keys=tuple(known.items()))


def lifecycle(found: list[Item], _context: Context) -> Item | None:
    """Read "resurrected users by login, in 30-day periods"."""
    event, stage, period = every(found, "E")[-1], one(found, "STAGE"), one(found, "W")
    if not isinstance(period.value, WindowSpan) or period.value.kind not in (
        "in",
        "length",
        "rate",
        "within",
        "for",
    ):
        return None
    keys = (("period", duration(period.value.length_ms)), ("is", stage.value))
    marks = (*stage.marked("lifecycle.is"), *period.marked("lifecycle.period"))
    return extended(event, found, marks, head="lifecycle", keys=keys)


_SPECIAL: Final = {"gap": _gap, "regular": _regular, "clock": _clock}
