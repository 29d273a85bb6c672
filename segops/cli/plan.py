"""``segops plan``: the effect of an edit of the definitions, before it is published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from segops.cli._edits import PRUNE, RETIRE, edit_in, limited, limits_in
from segops.cli._kafka import run
from segops.cli._say import say, say_table, warn
from segops.cli._scans import FORMAT, WAIT, reporting, say_json, say_when
from segops.config import Settings
from segops.core.rules.analysis import costs
from segops.core.scans import MAX_INSTANTS, MAX_SAMPLES, Limits, beyond, with_references
from segops.core.segments import SegmentSet
from segops.core.values import format_instant
from segops.operations import plans
from segops.operations.plans import Decide, Effect, Recorded, Wait
from segops.schemas.scan_views import FOLLOWS, Edited, PlanView, SegmentPlanView, view_plan

_EPILOG = """
\b
Examples:
  segops plan segments/
  segops plan segments/ --prune --format json
  segops plan --discard
"""
_FIGURES = (
    "members",
    "then",
    "entering",
    "leaving",
    "staying",
    "enter 24 h",
    "leave 24 h",
    "bytes per profile",
)


@click.command(epilog=_EPILOG)
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(exists=True, path_type=Path))
@PRUNE
@RETIRE
@click.option("--discard", is_flag=True, help="End the latest plan, so that it cannot be applied.")
@click.option(
    "--samples",
    type=click.IntRange(0, MAX_SAMPLES),
    default=0,
    metavar="N",
    help="Also name N profiles that enter, leave and stay.",
)
@limited
@FORMAT
@WAIT
def command(
    paths: Sequence[Path],
    prune: bool,
    retire: Sequence[str],
    discard: bool,
    samples: int,
    form: str,
    wait: float,
    **limits: float,
) -> None:
    """Show exactly what publishing the segments in PATHS would change, without publishing them.

    The workers judge every profile by the definitions in force and by the new ones. Per segment: its members
    now and then, how many enter, leave and stay, and how many enter and leave by time alone in the 24 hours
    after that. Without events in between, `segops apply` publishes exactly these changes. The plan has an id
    for `segops apply --plan`, is valid for 24 hours, and takes the place of an earlier one.

    Segments that need past events are counted, too: the workers collect these first, beside the profiles. If
    --wait is over before that, they go on, and the same command goes on with the same plan.
    """
    if discard and (paths or prune or retire):
        raise click.UsageError("--discard takes no PATH, --prune or --retire")
    if discard:
        say(f"discarded the plan {run(plans.discard).id}")
    elif not (paths or retire):
        raise click.UsageError("expected a PATH, --retire or --discard")
    else:
        decide = edit_in(paths, prune=prune, retire=retire)
        _plan(decide, limits_in(limits), samples=samples, form=form, wait_s=wait)


def _plan(decide: Decide, limits: Limits, *, samples: int, form: str, wait_s: float) -> None:
    async def work(settings: Settings) -> tuple[Effect, Recorded]:
        with reporting() as report:
            return await plans.plan(settings, decide, Wait(wait_s, report), samples=samples)

    effect, (planned, replaced) = run(work)
    moved = beyond(effect.plan, limits, effect.new)
    view = view_plan(planned, effect.scanned, _edited(effect), moved, replaced=replaced)
    if form == "json":
        say_json(view)
    else:
        _print(view, effect)


def _edited(effect: Effect) -> dict[str, Edited]:
    known = {each.key: each for each in effect.after}
    found = costs(SegmentSet(with_references(sorted(effect.plan.segments), known)))
    sizes = {cost.segment_key: cost.state_bytes for cost in found.segments}
    edited = {key: Edited(FOLLOWS, each.version, sizes.get(key, 0)) for key, each in known.items()}
    for change in effect.changes:
        if change.action != "unchanged":
            size = sizes.get(change.key, 0)
            edited[change.key] = Edited(change.action, change.version, size)
    return edited


def _print(view: PlanView, effect: Effect) -> None:
    if view.segments:
        columns = ("segment", "version", *_FIGURES, "edit")
        say_table(columns, [_row(each) for each in view.segments], figures=("version", *_FIGURES))
        say_when(view)
    others = [change.key for change in effect.changes if change.action == "described"]
    if others:
        say(f"only described: {', '.join(others)}")
    if not view.segments:
        say("no membership changes")
    for line in _notes(view):
        warn(line)
    for line in _details(view):
        say(line)
    say(f"plan {view.id}, valid until {format_instant(view.expires_ms)}")
    if view.replaced:
        say(f"it takes the place of the plan {view.replaced}")
    confirm = " --yes" if any(each.beyond for each in view.segments) else ""
    say(f"to publish it: segops apply --plan {view.id}{confirm}")


def _details(view: PlanView) -> Iterator[str]:
    for segment in view.segments:
        if segment.lacking:
            yield f"{segment.segment_key} counts the past: {', '.join(segment.lacking)}"
        for kind, ids in segment.samples.items():
            yield f"{segment.segment_key}, {kind}: {', '.join(ids)}"


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


def _notes(view: PlanView) -> Iterator[str]:
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
