"""The leaves of active days, sessions, regularity and the lifecycle."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from segops.core.features import Feature, reducer_of
from segops.core.features.bands import thresholds
from segops.core.features.periods import OccupiedPeriods
from segops.core.features.sessions import Latest, SessionCount
from segops.core.features.states import Session
from segops.core.profile import Profile
from segops.core.rules.counts import boundaries
from segops.core.rules.execution.leaf import Leaf, holding, reading
from segops.core.rules.execution.leaves import capacity, crossing, different
from segops.core.rules.execution.verdicts import series_of
from segops.core.rules.model import ActivePeriods, LifecycleNode, Regularly, SessionFigure, Sessions
from segops.core.windows import ALWAYS, Within


def active(node: ActivePeriods) -> Leaf:
    """Compile a number of days, weeks or months with an event."""
    feature = Feature(
        "distinct",
        node.select.names,
        node.select.where,
        node.window,
        capacity=capacity(max(boundaries(node.count), default=1)),
        days=node.calendar,
    )
    return different(feature, node.count)


def sessions(node: Sessions) -> Leaf:
    """Compile a number of sessions."""
    feature = Feature("sessions", node.select.names, node.select.where, node.window, length_ms=node.gap_ms)
    reducer, test = reducer_of(feature), node.count
    if isinstance(reducer, SessionCount) and isinstance(node.window, Within):
        edge = crossing(reducer, feature.id, boundaries(test)[::-1])
        return Leaf(holding(reducer, feature.id, test.holds), edge, feature)
    return reading(feature, test.holds, series=series_of(reducer, "count", thresholds(test)))


def session(node: SessionFigure) -> Leaf:
    """Compile a predicate of a figure of a session."""
    feature = Feature(
        "session", node.select.names, node.select.where, ALWAYS, path=node.path, length_ms=node.gap_ms
    )
    test = node.test

    def verdict(latest: Latest, now_ms: int) -> bool:
        return test.holds(session_figure(node, latest), now_ms)

    def moves(latest: Latest, now_ms: int) -> int | None:
        return test.next_edge(session_figure(node, latest), now_ms)

    return reading(feature, verdict, moves=moves if test.timed else None)


def session_figure(node: SessionFigure, latest: Latest) -> Any:
    """Return the figure of a node; None if there is no such session, or no value in it."""
    found = latest[0 if node.which == "current" else 1]
    return None if found is None else _FIGURES[node.figure](found)


#: Figure -> its value in a session.
_FIGURES: dict[str, Callable[[Session], Any]] = {
    "duration": lambda found: found.last_ms - found.begin_ms,
    "events": attrgetter("events"),
    "first": lambda found: None if found.first is None else found.first[1],
    "last": lambda found: None if found.last is None else found.last[1],
}


def regularly(node: Regularly) -> Leaf:
    """Compile a number of periods with an event."""
    window = Within(node.period_ms * node.periods)
    feature = Feature("periods", node.select.names, node.select.where, window, length_ms=node.period_ms)
    reducer, key, k = OccupiedPeriods(node.period_ms, node.periods), feature.id, node.k

    def edge(profile: Profile, now_ms: int) -> int | None:
        state: Any = profile.features.get(key)
        return reducer.next_crossing(state, k, now_ms)

    return Leaf(holding(reducer, key, lambda number, _now_ms: bool(number >= k)), edge, feature)


def lifecycle(node: LifecycleNode) -> Leaf:
    """Compile the stages of a lifecycle."""
    feature = Feature("lifecycle", node.select.names, node.select.where, ALWAYS, length_ms=node.period_ms)
    stages = frozenset(node.stages)
    series = series_of(reducer_of(feature), "lifecycle", None)
    return reading(feature, lambda value, _now_ms: value in stages, series=series)
