"""``segops plan``: the effect of an edit of the definitions, before it is published."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple

import click

from segops.cli._edits import PRUNE, RETIRE, edit_in, limited, limits_in
from segops.cli._kafka import run
from segops.cli._params import samples_option, watchable
from segops.cli._plan_list import print_plans
from segops.cli._plan_view import details, edited, ends, indicator_changes, notes, plan_table
from segops.cli._plan_watch import Repeats
from segops.cli._refresh import run_shown
from segops.cli._say import redrawing, say, say_blocks, warn
from segops.cli._scans import WAIT, reporting, say_json, when
from segops.config import Settings
from segops.core.scans import MAX_SAMPLES, Limits, beyond
from segops.operations import plans
from segops.operations.plan_log import latest_plans
from segops.operations.plan_watch import repeats
from segops.operations.plans import Decide, Effect, Recorded, Wait
from segops.schemas.scan_views import (
    PlanView,
    RepeatView,
    view_flapping,
    view_plan,
)

_EPILOG = """
\b
Examples:
  segops plan segments/
  segops plan segments/ --prune --format json
  segops plan segments/vip.yaml --watch
  segops plan --list
  segops plan --discard
"""


@click.command(epilog=_EPILOG)
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(exists=True, path_type=Path))
@PRUNE
@RETIRE
@click.option("--discard", is_flag=True, help="End the latest plan, so that it cannot be applied.")
@click.option("--list", "listed", is_flag=True, help="List the latest plans, and how they ended.")
@samples_option("Also name N profiles that enter, leave and stay.", MAX_SAMPLES)
@limited
@watchable("the effect, and who flaps,", each="line and repeat", line="segment and repeat")
@click.option(
    "--interval",
    type=click.FloatRange(min=1, max=86_400),
    default=30.0,
    show_default=True,
    help="With --watch: seconds from the end of a repeat to the next one.",
)
@WAIT
def command(
    paths: Sequence[Path],
    *,
    prune: bool,
    retire: Sequence[str],
    discard: bool,
    listed: bool,
    samples: int,
    watch: bool,
    form: str,
    interval: float,
    wait: float,
    **limits: float,
) -> None:
    """Show exactly what publishing the segments in PATHS would change, without publishing them.

    The workers judge every profile by the definitions in force and by the new ones. Per segment: its members
    now and then, how many enter, leave and stay, and how many enter and leave by time alone in the 24 hours
    after that. Without events in between, `segops apply` publishes exactly these changes. The plan has an id
    for `segops apply --plan`, is valid for 24 hours, and takes the place of an earlier one. An edit that
    changes nothing is not recorded.

    Segments that need past events are counted, too: the workers collect these first, beside the profiles. If
    --timeout is over before that, they go on, and the same command goes on with the same plan.

    With --watch, the plan is repeated, and 1 % of the profiles (at most 50,000) is followed: how many of them
    leave a segment and enter it again, or the reverse, between repeats, by the new definitions with their
    minimum stays, cool-downs and hysteresis. What happens and is undone between two repeats is not seen. A
    repeat records nothing and reads no history again. Ctrl-C ends the watch, and the plan stays. When the
    plan is applied, discarded, replaced or expires, the watch ends with exit status 2.
    """
    if discard or listed:
        name = "--discard" if discard else "--list"
        if paths or prune or retire or watch or (discard and listed):
            raise click.UsageError(f"{name} takes no PATH, --prune, --retire, --watch or another action")
        if listed:
            print_plans(run(latest_plans), json=form == "json")
        else:
            say(f"discarded the plan {run(lambda settings: plans.discard(settings)).id}")
        return
    if not (paths or retire):
        raise click.UsageError("expected a PATH, --retire, --discard or --list")
    asked = _Asked(edit_in(paths, prune=prune, retire=retire), limits_in(limits), form, samples, wait)
    if watch:
        run_shown(lambda settings: _watch(settings, asked, interval), watch=False)
    else:
        effect, recorded = run(asked.planned)
        _print(asked, effect, recorded)


class _Asked(NamedTuple):
    """What is planned, and how it is shown."""

    decide: Decide
    limits: Limits
    form: str
    samples: int
    wait_s: float

    async def planned(self, settings: Settings) -> tuple[Effect, Recorded | None]:
        """Plan the edit, with the progress on standard error."""
        with reporting() as report:
            wait = Wait(self.wait_s, report)
            return await plans.plan(settings, self.decide, wait, samples=self.samples)

    def view(self, effect: Effect, recorded: Recorded | None) -> PlanView:
        """Return the view of an effect."""
        planned, replaced = recorded or (None, None)
        moved = beyond(effect.plan, self.limits, effect.new)
        return view_plan(planned, effect.scanned, edited(effect), moved, replaced=replaced)


async def _watch(settings: Settings, asked: _Asked, interval_s: float) -> None:
    effect, recorded = await asked.planned(settings)
    if recorded is None or not effect.plan.segments:
        _print(asked, effect, recorded)
        return
    number, planned = 1, recorded.planned
    with redrawing() as redraw:
        shown = Repeats(redraw, json=asked.form == "json")
        shown.show(RepeatView(number, asked.view(effect, recorded), None))
        again = repeats(
            settings, planned, effect, wait_s=asked.wait_s, interval_s=interval_s, samples=asked.samples
        )
        async with aclosing(again) as found:
            async for effect in found:
                number, flapping = number + 1, effect.plan.flapping
                followed = None if flapping is None else view_flapping(flapping)
                shown.show(RepeatView(number, asked.view(effect, recorded), followed))


def _print(asked: _Asked, effect: Effect, recorded: Recorded | None) -> None:
    view = asked.view(effect, recorded)
    if asked.form == "json":
        say_json(view)
        return
    if view.id is None:
        say("nothing to change: the segments are published as they are; no plan was recorded")
        return
    if view.segments:
        say_blocks([plan_table(view), *when(view)])
    others = [change.key for change in effect.changes if change.action == "described"]
    if others:
        say(f"only described: {', '.join(others)}")
    if not view.segments:
        say("no membership changes")
    for line in notes(view):
        warn(line)
    for line in (*indicator_changes(effect.changes), *details(view), *ends(view)):
        say(line)
