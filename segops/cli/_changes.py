"""The lines that a publication prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from segops.cli._say import say, warn
from segops.kafka.resources import Change, R
from segops.operations.definitions import DefinitionChange

_MARKS = {
    "added": "+",
    "changed": "~",
    "described": "~",
    "unchanged": "=",
    "removed": "-",
    "paused": "~",
    "resumed": "~",
    "retired": "-",
    "left out": "!",
}


def print_resource_changes(changes: Sequence[Change[R]], kind: str, *, dry_run: bool = False) -> None:
    """Print a line for each change of resources, and the totals. ``kind``: what several are called."""
    note = "; nothing was written (dry run)" if dry_run else ""
    for change in changes:
        say(f"{_MARKS[change.action]} {change.key}  {change.action}")
    say((_totals(change.action for change in changes) or f"no {kind}") + note)


def print_changes(changes: Sequence[DefinitionChange], *, note: str = "") -> None:
    """Print a line for each change, a warning for each segment left out, and the totals with a ``note``."""
    for change in changes:
        say(f"{_MARKS[change.action]} {change.key}  version {change.version}  {change.action}")
        if change.reason:
            fix = f"publish the segment it refers to, or retire it with `segops retire {change.key}`"
            warn(f"{change.key} is published, but {change.reason}: {fix}")
    say((_totals(change.action for change in changes) or "no segments") + note)
    waiting = sum(change.waits and change.action in ("added", "changed", "resumed") for change in changes)
    if waiting:
        noun = "segment waits" if waiting == 1 else "segments wait"
        say(f"{waiting} {noun} for history: past events are counted first")


def _totals(actions: Iterable[str]) -> str:
    counts = Counter(actions)
    return ", ".join(f"{counts[action]} {action}" for action in _MARKS if counts[action])
