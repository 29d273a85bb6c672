"""The parsers of active days, sessions, regularity and the lifecycle."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from segops.core.features.periods import STAGES
from segops.core.operators import Predicate
from segops.core.rules import model
from segops.core.rules.counts import COUNT_OPERATORS, boundaries
from segops.core.rules.parsing.figures import read_selection
from segops.core.rules.parsing.reader import Reader
from segops.core.rules.parsing.windows import read_window
from segops.core.windows import Calendar

#: Limit on the periods of ``regularly``: each may change the verdict at a time of its own.
MAX_PERIODS = 60
DEFAULT_GAP_MS = 1_800_000
ACTIVE = {"active_days": "day", "active_weeks": "week", "active_months": "month"}
#: Figures of a session that read a property, and those that do not.
VALUES, NUMBERS = ("first", "last"), ("duration", "events")
WHICH = ("current", "last")
DURATION_OPERATORS = ("lt", "lte", "gt", "gte", "between")

_SETTLED = "a session or period is decided when its events arrive; use fixed dates (before, after)"
_FIGURES = f"{', '.join(NUMBERS)}, {{first: PATH}} or {{last: PATH}}"


def _selection(node: Reader, head: str, *, settled: bool = True) -> model.Selection:
    """Read the events of a node; ``settled``: refuse conditions that depend on now."""
    found = read_selection(node, head)
    if settled and any(test.timed for _, test in found.where):
        node.at("where").fail(_SETTLED)
    return found


def _optional(node: Reader, key: str, read: Callable[[Reader], Any], default: Any) -> Any:
    return read(node.at(key)) if key in node else default


def read_active(head: str, node: Reader) -> model.ActivePeriods:
    """Parse ``active_days``, ``active_weeks`` or ``active_months``."""
    select, zone, window, count = node.gather(
        partial(_selection, node, head, settled=False),
        partial(_optional, node, "zone", Reader.zone, "UTC"),
        partial(read_window, node),
        node.at("is").count,
    )
    return model.ActivePeriods(select, Calendar(ACTIVE[head], zone), window, count)


def _gap(node: Reader) -> int:
    gap_ms: int = _optional(node, "gap", Reader.positive_duration, DEFAULT_GAP_MS)
    return gap_ms


def read_sessions(node: Reader) -> model.Sessions:
    """Parse a ``sessions`` node."""
    return model.Sessions(
        *node.gather(
            partial(_selection, node, "sessions"),
            partial(_gap, node),
            partial(read_window, node),
            node.at("is").count,
        )
    )


def read_session(node: Reader) -> model.SessionFigure:
    """Parse a ``session`` node."""
    (figure, path), select, gap_ms, which, test = node.gather(
        partial(_figure, node.at("session")),
        partial(_selection, node, "of"),
        partial(_gap, node),
        partial(_optional, node, "which", partial(Reader.one_of, options=WHICH), WHICH[0]),
        partial(_figure_test, node),
    )
    return model.SessionFigure(figure, path, select, gap_ms, which, test)


def _figure(form: Reader) -> tuple[str, model.Path | None]:
    raw = form.raw
    if isinstance(raw, dict) and len(raw) == 1 and next(iter(raw)) in VALUES:
        (name,) = raw
        return name, form.at(name).property()
    if raw not in NUMBERS:
        form.fail(f"expected {_FIGURES}, got {raw!r}")
    return raw, None


def _figure_test(node: Reader) -> Predicate:
    figure, test = node.raw["session"], node.at("is")
    if figure == "duration":
        return _durations(test)
    return _events(test) if figure == "events" else test.predicate()


def _events(form: Reader) -> Predicate:
    found = form.predicate(COUNT_OPERATORS)
    if not any(found.holds(number, 0) for number in (1, *boundaries(found))):
        form.fail("never holds: a session has at least one event")
    return found


def _durations(form: Reader) -> Predicate:
    """Read a predicate over durations, whose operands become milliseconds."""
    reads = {name: Reader.duration for name in DURATION_OPERATORS[:-1]}
    found = form.fields({**reads, "between": _span})
    if found.get("lt") == 0:
        form.at("lt").fail("never holds: a session lasts 0ms or more")
    return Predicate(tuple(sorted(found.items())))


def _span(form: Reader) -> tuple[int, int]:
    if not isinstance(form.raw, list) or len(form.raw) != 2:
        form.fail("expected two durations, such as [5m, 10m]")
    low, high = form.gather(*(item.duration for item in form.values("two durations")))
    if low > high:
        form.fail(f"never holds: {form.raw[0]} is above {form.raw[1]}")
    return low, high


def read_regularly(node: Reader) -> model.Regularly:
    """Parse a ``regularly`` node."""
    select, period_ms, periods = node.gather(
        partial(_selection, node, "regularly"),
        node.at("every").positive_duration,
        partial(node.at("of").integer, 2, MAX_PERIODS, str(MAX_PERIODS)),
    )
    k = node.at("k").integer(1, periods, f"of ({periods})")
    return model.Regularly(select, period_ms, k, periods)


def read_lifecycle(node: Reader) -> model.LifecycleNode:
    """Parse a ``lifecycle`` node."""
    form, keys = node.at("lifecycle"), ("of", "period", "is")
    if not isinstance(form.raw, dict) or not all(key in form for key in keys):
        form.fail("expected a map with of, period and is, such as {of: page, period: 28d, is: dormant}")
    _, select, period_ms, stages = form.gather(
        partial(form.only, *keys, "where", "time_of_day"),
        partial(_selection, form, "of"),
        form.at("period").positive_duration,
        partial(_stages, form.at("is")),
    )
    return model.LifecycleNode(select, period_ms, stages)


def _stages(form: Reader) -> tuple[str, ...]:
    names = form.values("a stage or a list of stages") if isinstance(form.raw, list) else [form]
    return tuple(sorted({name.known("stage", STAGES) for name in names}))
