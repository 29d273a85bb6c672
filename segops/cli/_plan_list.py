"""``segops plan --list``: the latest plans, and how they ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from segops.cli._say import say, say_table, say_text
from segops.core.values import format_instant
from segops.schemas.published_plans import PlanFigures, PublishedPlan

_NUMBERS: Final = ("segments", "entering", "leaving")
_COLUMNS: Final = ("plan", "made", "state", "ended", "as of", *_NUMBERS)


def print_plans(plans: Sequence[PublishedPlan], *, json: bool) -> None:
    """Print plans as a table, or as JSON with the figures of their segments."""
    if json:
        say_text(msgspec.json.format(msgspec.json.encode(plans), indent=2).decode())
    elif plans:
        say_table(_COLUMNS, map(_row, plans), figures=_NUMBERS)
    else:
        say("no plans yet")


def _row(plan: PublishedPlan) -> tuple[str, ...]:
    by = f" by {plan.superseded_by}" if plan.superseded_by else ""
    ended = "–" if plan.ended_ms is None else format_instant(plan.ended_ms)
    return (plan.id, format_instant(plan.made_ms), f"{plan.state}{by}", ended, *_figures(plan.figures))


def _figures(found: PlanFigures | None) -> tuple[str, ...]:
    if found is None:  # its history is being collected, or it ended before it was
        return "–", "–", "–", "–"
    entering = sum(each.entering for each in found.segments)
    leaving = sum(each.leaving for each in found.segments)
    least = "≥ " if found.left_out else ""
    number = len(found.segments) + found.left_out
    return format_instant(found.to_ms), f"{number:,}", f"{least}{entering:,}", f"{least}{leaving:,}"
