"""A plan in words and as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from segops.cli._say import table
from segops.core.indicators import INDICATOR_PREFIX
from segops.core.rules.analysis import costs
from segops.core.scans import MAX_INSTANTS, with_references
from segops.core.segments import SegmentSet
from segops.core.values import format_instant
from segops.operations import plans
from segops.operations.definitions import DefinitionChange
from segops.operations.plans import Effect
from segops.schemas.scan_views import Edited, PlanView, SegmentPlanView

if TYPE_CHECKING:
    from rich.table import Table

_FIGURES: Final = (
    "members",
    "then",
    "entering",
    "leaving",
    "staying",
    "enter 24 h",
    "leave 24 h",
    "bytes per profile",
)


def plan_table(view: PlanView) -> Table:
    """Return a row for each segment that a plan moves."""
    columns = ("segment", "version", *_FIGURES, "edit")
    return table(columns, [_row(each) for each in view.segments], figures=("version", *_FIGURES))


def edited(effect: Effect) -> dict[str, Edited]:
    """Return what happens to the definition of each segment, with the bytes that it costs per profile."""
    known = {each.key: each for each in effect.after}
    found = costs(SegmentSet(with_references(sorted(effect.plan.segments), known)))
    sizes = {cost.segment_key: cost.state_bytes for cost in found.segments}
    edits = plans.edited_in(effect)
    return {key: each._replace(state_bytes=sizes.get(key, 0)) for key, each in edits.items()}


def ends(view: PlanView) -> Iterator[str]:
    """Yield the id of a plan, until when it is valid, and how it is published."""
    yield f"plan {view.id}, valid until {format_instant(view.expires_ms or 0)}"
    if view.replaced:
        yield f"it takes the place of the plan {view.replaced}"
    confirm = " --yes" if any(each.beyond for each in view.segments) else ""
    yield f"to publish it: segops apply --plan {view.id}{confirm}"


def details(view: PlanView) -> Iterator[str]:
    """Yield the features that segments lack, and the profiles that were asked for."""
    for segment in view.segments:
        if segment.lacking:
            yield f"{segment.segment_key} counts the past: {', '.join(segment.lacking)}"
        for kind, ids in segment.samples.items():
            yield f"{segment.segment_key}, {kind}: {', '.join(ids)}"


def indicator_changes(changes: Iterable[DefinitionChange]) -> Iterator[str]:
    """Yield what an edit does to published indicators; of their values a plan says nothing.

    >>> list(indicator_changes([DefinitionChange("indicator:aov", "changed", 2)]))
    ['indicator:aov  version 2  changed']
    """
    for change in changes:
        if change.key.startswith(INDICATOR_PREFIX) and change.action != "unchanged":
            yield f"{change.key}  version {change.version}  {change.action}"


def _row(segment: SegmentPlanView) -> Sequence[str]:
    figures = (
        segment.members,
        segment.then,
        segment.entering,
        segment.leaving,
        segment.staying,
        segment.entering_24h,
        segment.leaving_24h,
        segment.state_bytes,
    )
    cells = [f"{each:,}" for each in figures]
    return (segment.segment_key, str(segment.version), *cells, segment.action)


def notes(view: PlanView) -> Iterator[str]:
    """Yield what to be warned of."""
    for each in view.segments:
        if each.beyond:
            yield f"{each.segment_key} moves more than the limits allow: {each.beyond}"
        if each.complete_since_ms is not None:
            since = format_instant(each.complete_since_ms)
            yield f"{each.segment_key} looks back further than the events that are retained: since {since}"
        if each.failed:
            yield f"{each.segment_key}: the rule fails for {each.failed:,} profiles; their membership stays"
    if view.cut:
        many = f"more than {MAX_INSTANTS:,} instants in 24 h"
        yield f"{view.cut:,} profiles change at {many}; later ones are not counted"
