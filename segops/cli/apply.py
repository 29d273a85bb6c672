"""``segops apply``: publish segment definitions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import click

from segops.cli._changes import print_changes
from segops.cli._edits import PRUNE, RETIRE, edit_in, limited, limits_in
from segops.cli._kafka import run
from segops.cli._progress import reporting_rollout
from segops.cli._say import say
from segops.cli._scans import reporting
from segops.config import Settings
from segops.core.scans import Limits
from segops.kafka import definitions
from segops.operations import plans, rollout
from segops.operations.definitions import DefinitionChange
from segops.operations.plans import Decide, Wait

_EPILOG = """
\b
Examples:
  segops apply segments/ --dry-run
  segops apply segments/ --prune
  segops apply --plan 3f9a1c0b77de
  segops apply segments/ --wait
"""
_ANSWERS_S: Final = 600.0


@click.command(epilog=_EPILOG)
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(exists=True, path_type=Path))
@PRUNE
@RETIRE
@click.option("--plan", "plan_id", metavar="ID", help="Publish the edit that `segops plan` showed.")
@click.option("--dry-run", is_flag=True, help="Show what would change without publishing.")
@limited
@click.option("--yes", is_flag=True, help="Publish without asking the workers how much it moves.")
@click.option("--wait", is_flag=True, help="Return when all of it is in force in all partitions.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=1, max=864_000),
    help="Seconds to wait for the workers: for the effect (600 by default), and with --wait until all is in "
    "force (no limit by default).",
)
def command(
    paths: Sequence[Path],
    *,
    prune: bool,
    retire: Sequence[str],
    plan_id: str | None,
    dry_run: bool,
    yes: bool,
    wait: bool,
    timeout: float | None,
    **limits: float,
) -> None:
    """Publish the segment definitions in PATHS (files or folders), or those of a plan.

    All files are checked first; then all definitions are published or none. A definition's version increases
    by one when the meaning of its rule changes. Running workers adopt new definitions within seconds; a
    segment that needs past events first waits until they have been counted, and an edited one keeps its
    former rule until then.
    Workers leave out a published segment that refers to an unknown one, such as another writer may leave
    behind; it is reported here.

    Just before, the workers compute the effect, as for `segops plan`. If it moves more of a segment than
    --max-changes or --max-share allow, nothing is published. This check is left out with --yes, and while no
    segment is published or no worker has worked yet. A plan is refused once it expired, was discarded,
    applied or replaced, or once other definitions were published.

    With --wait, progress is on standard error. Exit status 0: all is in force; 1: not before --timeout, but
    workers go on, and the same command waits again; 2: no worker runs, or other definitions of the segments
    were published meanwhile. Ctrl-C ends the wait only: what is published comes into force.
    """
    _check_options(paths, prune=prune, retire=retire, plan_id=plan_id, waits=wait and dry_run)
    if plan_id is not None:
        decide: Decide = partial(plans.changes_of, plan_id=plan_id)
    else:
        decide = edit_in(paths, prune=prune, retire=retire)
    if dry_run:
        print_changes(run(partial(_decided, decide=decide)), note="; nothing was written (dry run)")
        return
    if wait:
        run(rollout.require_worker)
    answers_s = timeout or _ANSWERS_S
    changes = _publish(decide, None if yes else limits_in(limits), wait_s=answers_s, plan_id=plan_id or "")
    print_changes(changes)
    if wait:
        _wait(changes, timeout)


def _check_options(
    paths: Sequence[Path], *, prune: bool, retire: Sequence[str], plan_id: str | None, waits: bool
) -> None:
    if waits:
        raise click.UsageError("--dry-run takes no --wait")
    if plan_id is not None and (paths or prune or retire):
        raise click.UsageError("--plan takes no PATH, --prune or --retire")
    if plan_id is None and not (paths or retire):
        raise click.UsageError("expected a PATH, --retire or --plan")


async def _decided(settings: Settings, decide: Decide) -> list[DefinitionChange]:
    return decide(await definitions.read(settings))


def _publish(decide: Decide, limits: Limits | None, *, wait_s: float, plan_id: str) -> list[DefinitionChange]:
    async def work(settings: Settings) -> list[DefinitionChange]:
        with reporting() as report:
            wait = Wait(wait_s, report)
            return await plans.publish(settings, decide, limits=limits, wait=wait, plan_id=plan_id)

    return run(work)


def _wait(changes: Sequence[DefinitionChange], timeout_s: float | None) -> None:
    versions = rollout.versions_of(changes)
    if not versions:
        return

    async def work(settings: Settings) -> int:
        with reporting_rollout() as report:
            found = await rollout.wait_until_in_force(
                settings, versions, timeout_s=timeout_s, progress=report
            )
        return len(found.partitions)

    count = run(work)
    say(f"in force in {'the only partition' if count == 1 else f'all {count} partitions'}")
