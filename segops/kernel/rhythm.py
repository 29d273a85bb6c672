"""Leaves about sessions and periods in the form that the kernel reads (``src/rhythm.rs``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segops.core.rules import model
from segops.core.windows import Fixed
from segops.kernel.figure_rows import LOOK_AHEAD_MS
from segops.kernel.predicates import LeftToPythonError, predicate

if TYPE_CHECKING:  # its nodes are exported with these
    from segops.kernel.rules import Leaves


def sessions(leaves: Leaves, node: model.Sessions) -> list[Any]:
    """Return a leaf about a number of sessions."""
    _check(node.gap_ms)
    number, _, window = leaves.feature(node)
    fixed = [node.window.since_ms, node.window.until_ms] if isinstance(node.window, Fixed) else [None, None]
    return leaves.tested(["sessions", number, window, *fixed], "count", predicate(node.count))


def session(leaves: Leaves, node: model.SessionFigure) -> list[Any]:
    """Return a leaf about a figure of a session."""
    _check(node.gap_ms)
    number, *_ = leaves.feature(node)
    figure = ["session", number, node.which == "current", node.figure, node.gap_ms]
    if node.path is None:
        return leaves.tested(figure, "count", predicate(node.test))
    return leaves.tested_value(figure, node.test)


def regularly(leaves: Leaves, node: model.Regularly) -> list[Any]:
    """Return a leaf about a number of periods with an event."""
    number, *_ = leaves.feature(node)
    figure = ["periods", number, node.period_ms, node.periods, node.k]
    return leaves.tested(figure, "count", [["gte", node.k]])


def lifecycle(leaves: Leaves, node: model.LifecycleNode) -> list[Any]:
    """Return a leaf about the stage of a lifecycle."""
    _check(2 * node.period_ms)
    number, *_ = leaves.feature(node)
    return leaves.tested(["stage", number, node.period_ms], "value", [["in", node.stages]])


def _check(length_ms: int) -> None:
    """Raise LeftToPythonError for a length that reaches too far."""
    if length_ms > LOOK_AHEAD_MS:
        raise LeftToPythonError(length_ms)
