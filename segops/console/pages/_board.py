"""What the pages of the read model share: its state in words, tones, sparks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from segops.analytics.intervals import HOUR_MS
from segops.console.board.board import Board
from segops.core.audiences.model import PREFIX
from segops.core.segments import Definition

#: State of a segment -> the tone of its tag.
TONES: Final[Mapping[str, str]] = {
    "live": "good",
    "building": "info",
    "paused": "warn",
    "left out": "bad",
    "starting": "neutral",
    "retired": "neutral",
}
#: Reason of a change -> why it was made, after "entered" or "left".
REASONS: Final[Mapping[str, str]] = {
    "event": "by an event",
    "time": "as time passed",
    "definition": "by an edit of the rule",
    "score": "by a new model of a score",
    "backfill": "by its history",
    "merge": "by a merge",
    "split": "by a split",
    "erasure": "by an erasure",
    "quarantine": "by a quarantine",
    "restart": "by a fresh start",
    "unknown": "before entries were counted",
}


def condition(board: Board) -> dict[str, Any]:
    """Return as of when the read model is true, and what keeps it from being newer."""
    return {"as_of_ms": board.as_of_ms, "reason": board.reason or "", "complete": board.is_complete}


def is_segment(key: str, definition: Definition) -> bool:
    """Return whether a definition is a segment that people have made, no indicator and no audience."""
    return not definition.is_indicator and not key.startswith(PREFIX)


def state_of(board: Board, key: str) -> str:
    """Return the state of a published segment in a word."""
    definition, row = board.definitions[key], board.rows.get(key)
    if key in board.left_out:
        return "left out"
    if definition.paused:
        return "paused"
    return "starting" if row is None else row.state


def spark_of(board: Board, key: str) -> list[int | None]:
    """Return the members at the ends of the latest 24 hours."""
    if not board.is_complete:
        return []
    found = board.sizes.trend(key, HOUR_MS, None, None)
    return [] if found is None else [step.members for step in found.steps]


def destinations_of(board: Board) -> dict[str, list[str]]:
    """Return to which destinations each segment is delivered, by active audiences."""
    found: dict[str, set[str]] = {}
    for record in board.audiences.values():
        if record.state == "active":
            found.setdefault(record.audience.segment, set()).update(
                each.to for each in record.audience.deliver
            )
    return {key: sorted(names) for key, names in found.items()}


def spark_path(values: Sequence[float | None], width: float = 100, height: float = 24) -> str:
    """Return the path of a line through values, with gaps where there is none.

    >>> spark_path([1, 2, None, 4, 5])
    'M0.0,22.0L25.0,17.0M75.0,7.0L100.0,2.0'
    """
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return ""
    low, span, path, pen = min(known), max(known) - min(known), [], "M"
    for number, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        top = 2 + (1 - (value - low) / span) * (height - 4) if span else height / 2
        path.append(f"{pen}{number * width / (len(values) - 1):.1f},{top:.1f}")
        pen = "L"
    return "".join(path)
