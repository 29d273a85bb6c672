"""``segops audiences``: who is reached through a channel, and who approved it."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec

from segops.cli._audiences import details, funnel_table, list_table, print_audit, print_plan
from segops.cli._changes import print_resource_changes
from segops.cli._kafka import run
from segops.cli._lift import lift_blocks
from segops.cli._params import RATE, formats
from segops.cli._say import say, say_all, say_blocks, warn
from segops.cli._scans import WAIT, reporting, say_json
from segops.config import Settings
from segops.core.audiences.compiling import definition_of
from segops.core.audiences.model import Act, Audience, Moves, Rate, Reach
from segops.core.audiences.states import Action
from segops.core.errors import UserError
from segops.core.segments import Definition
from segops.destinations import published
from segops.kafka.definitions import read
from segops.operations.audiences import actions, reach
from segops.operations.audiences.actors import acting
from segops.operations.audiences.lifts import lifts
from segops.operations.audiences.views import read_audit, views
from segops.operations.destinations import refuse_flows
from segops.operations.plans import Wait
from segops.schemas.segments import load_drafts
from segops.wall_clock import wall_ms

_EPILOG = """
\b
Examples:
  segops audiences apply audiences.yaml
  segops audiences plan winback-email
  segops audiences submit winback-email
  segops audiences approve winback-email --plan 3f9a1c0b77de
  segops audiences list
"""
_T = TypeVar("_T")
_KEY: Final = click.argument("key", metavar="KEY")
_PATHS: Final = click.argument(
    "paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(exists=True, path_type=Path)
)


@click.group(epilog=_EPILOG)
def command() -> None:
    """Decide who is reached through a channel: audiences as code, their live reach, and their approval.

    An audience is a draft until its reach was planned, it was submitted, and a person approved that plan. An
    edit of it, or of a segment that it depends on, voids the approval. Every step is in the audit.
    SEGOPS_ACTOR names who acts.
    """


@command.command(epilog="Example: segops audiences apply audiences.yaml --dry-run")
@_PATHS
@click.option("--dry-run", is_flag=True, help="Show what would change without publishing.")
def apply(paths: Sequence[Path], dry_run: bool) -> None:
    """Publish the audiences in PATHS (files or folders), all or none, with the rules that they compile to.

    The workers keep the reach of each exact from then on, as that of a segment. Nothing is delivered before
    an approval: what was edited is a draft afterwards. Segments in PATHS are published by `segops apply`.
    """
    audiences = _audiences_in(paths)[0]
    if dry_run:
        changes = run(lambda settings: actions.preview(settings, audiences))
    else:
        changes = run(lambda settings: actions.apply(settings, audiences, _act(settings)))
    print_resource_changes(changes, "audiences", dry_run=dry_run)
    for each in run(lambda settings: _unpublished(settings, audiences)):
        warn(each)


def _act(settings: Settings) -> Act:
    return acting(settings, now_ms=wall_ms())


async def _unpublished(settings: Settings, audiences: Sequence[Audience]) -> list[str]:
    """Return a warning for each destination that an audience names and that is not published."""
    known = await published.topic_of(settings).read()
    return [
        f"{audience.key}: the destination {each.to} is not published; see `segops destinations apply`"
        for audience in audiences
        for each in audience.deliver
        if each.to not in known
    ]


def _audiences_in(paths: Sequence[Path]) -> tuple[list[Audience], list[Definition]]:
    loaded = load_drafts(paths)
    for warning in loaded.warnings:
        warn(str(warning))
    if not loaded.audiences:
        raise UserError(f"no audiences in {', '.join(map(str, paths))}")
    return loaded.audiences, loaded.definitions


@command.command(epilog="Example: segops audiences plan winback-email")
@click.argument("target", metavar="FILE|KEY")
@formats(["table", "json"])
@WAIT
def plan(target: str, form: str, wait: float) -> None:
    """Measure the reach of the published audience KEY, step by step, and record it as its plan.

    The plan can be submitted and approved for 24 hours, while nothing that it depends on is edited. It also
    says how many profiles have entered and left by edits since the latest approval. With FILE, show the reach
    that its audiences would have, and what publishing them would move; nothing is recorded then.
    """
    if Path(target).exists():
        _preview(Path(target), form, wait)
        return
    made = run(
        lambda settings: _reporting(
            wait, lambda each: actions.plan_reach(settings, target, _act(settings), each)
        )
    )
    if form == "json":
        say_json(made)
        return
    print_plan(target, made)


async def _reporting(seconds: float, work: Callable[[Wait], Awaitable[_T]]) -> _T:
    with reporting() as report:
        return await work(Wait(seconds, report))


class _Preview(msgspec.Struct):
    """The reach of an audience of a file, and what publishing it would move; None if it is new or unknown."""

    key: str
    channel: str
    reach: Reach
    moves: Moves | None


def _preview(file: Path, form: str, wait: float) -> None:
    audiences, beside = _audiences_in([file])

    async def measured(settings: Settings, how: Wait) -> list[_Preview]:
        return [await _measured(settings, each, beside, how) for each in audiences]

    for each in run(lambda settings: _reporting(wait, lambda how: measured(settings, how))):
        if form == "json":
            say_json(each)
            continue
        say(f"{each.key}, {each.channel}: {each.reach.members:,} of {each.reach.profiles:,} profiles")
        say_blocks([funnel_table(each.reach)])
        if each.moves is not None:
            say(f"publishing it: {each.moves.entering:,} enter, {each.moves.leaving:,} leave")
        for label in each.reach.incomplete:
            warn(f"not stored in profiles yet, or not in full: {label}")


async def _measured(
    settings: Settings, audience: Audience, beside: Sequence[Definition], wait: Wait
) -> _Preview:
    definition = definition_of(audience, settings.audiences.consents)
    found = await reach.measure(settings, audience, definition, wait, beside=beside)
    moves = None
    if definition.key in (await read(settings)).live:
        moves = await reach.moves_by(settings, definition.key, [definition], wait)
    return _Preview(audience.key, audience.channel, found, moves)


@command.command(epilog="Example: segops audiences submit winback-email")
@_KEY
def submit(key: str) -> None:
    """Ask for the approval of an audience with its latest plan."""
    found = run(lambda settings: actions.submit(settings, key, _act(settings)))
    say(f"{key} waits for approval with the plan {found.id}: {found.reach.members:,} profiles")
    say(f"to approve it: segops audiences approve {key} --plan {found.id}")


@command.command(epilog="Example: segops audiences approve winback-email --plan 3f9a1c0b77de")
@_KEY
@click.option("--plan", "plan_id", required=True, metavar="ID", help="The plan that you have seen.")
@click.option("--yes", is_flag=True, help="Send existing members also where that begins live flows.")
@WAIT
def approve(key: str, plan_id: str, wait: float, *, yes: bool) -> None:
    """Approve an audience that waits for it, with the plan that you have seen. It is active then.

    The reach is measured again: if it has moved by more than 5 %, or anything that decides who is in was
    edited, or the plan is older than 24 hours, plan again. With SEGOPS_APPROVAL=other, those who edited or
    submitted the audience may not approve it; an AI never may. With `existing: send`, a list that begins a
    live flow is refused without --yes, and so is one that cannot be verified here.
    """
    if not yes:
        _refuse_flows(key)
    found = run(
        lambda settings: _reporting(
            wait, lambda each: actions.approve(settings, key, plan_id, _act(settings), each)
        )
    )
    say(f"{found.audience.key} is active: approved with the plan {plan_id}")


def _refuse_flows(key: str) -> None:
    try:
        run(lambda settings: refuse_flows(settings, key))
    except UserError as error:
        raise UserError(f"{error}. To approve it all the same: --yes") from None


def _acting(action: Action, summary: str) -> None:
    """Add the command of an action that needs no plan."""

    def act(key: str, note: str) -> None:
        found = run(lambda settings: actions.act_on(settings, key, action, _act(settings), note))
        say(f"{found.audience.key} is {found.state}")

    act.__doc__ = summary
    noted: Any = click.option("--note", default="", metavar="TEXT", help="Why, for the audit.")(_KEY(act))
    command.command(action, epilog=f"Example: segops audiences {action} winback-email")(noted)


_acting("reject", "Refuse the approval of an audience that waits for it. It is a draft again.")
_acting("hold", "Stop an active audience at once. Changes are kept until a person releases it.")
_acting("pause", "Pause an active audience, such as for a season. Its reach stays live.")
_acting("resume", "End the pause of an audience. Only a person may.")
_acting("retire", "End an audience and its rule; its key stays reserved.")


@command.command(epilog="Example: segops audiences release winback-email --rate 1000/h")
@_KEY
@click.option("--rate", type=RATE, help="Tell the changes since the hold at this rate, such as 1000/h.")
@click.option("--discard", is_flag=True, help="Do not tell the changes since the hold.")
@click.option("--note", default="", metavar="TEXT", help="Why, for the audit.")
def release(key: str, *, rate: Rate | None, discard: bool, note: str) -> None:
    """Let a held audience go on. Only a person may.

    Destinations are told the difference between what they were told and what is true: all at once, at a rate,
    or only what changes from now on. The limits count from now on, too, and not what was held.
    """
    if rate is not None and discard:
        raise click.UsageError("expected --rate or --discard, got both")
    found = run(
        lambda settings: actions.act_on(
            settings, key, "release", _act(settings), note, rate=rate, discard=discard
        )
    )
    say(f"{found.audience.key} is {found.state}")


@command.command("list", epilog="Example: segops audiences list --format jsonl")
@formats(["table", "jsonl"])
def list_(form: str) -> None:
    """List the audiences: state, live reach, and the reach that was approved."""
    found = run(views)
    if form == "jsonl":
        say_all(msgspec.json.encode(each).decode() for each in found)
    elif found:
        say_blocks([list_table(found)])
    else:
        say("no audience is published")


@command.command(epilog="Example: segops audiences show winback-email")
@_KEY
@formats(["table", "json"])
def show(key: str, form: str) -> None:
    """Show an audience: its state and why, its live reach, its latest plan, and its approval."""
    (found,) = run(lambda settings: views(settings, [key]))
    if form == "json":
        say_json(found)
    else:
        say_blocks(details(found))


@command.command(epilog="Example: segops audiences lift winback-email")
@click.argument("key", required=False, metavar="[KEY]")
@formats(["table", "json"])
def lift(key: str | None, form: str) -> None:
    """Show how much more often those in an audience reach its goal than those held out, live.

    Without KEY, of all audiences with a goal and a hold-out. Entries count from the approval on, or from
    the latest edit of the goal or of who is in, each once its window is over. Intervals are of 95 %.
    """
    found = run(lambda settings: lifts(settings, key))
    if form == "json":
        for each in found:
            say_json(each)
    elif found:
        say_blocks(block for each in found for block in lift_blocks(each))
    else:
        say("no audience has a goal and a hold-out")


@command.command(epilog="Example: segops audiences audit winback-email")
@click.argument("key", required=False, metavar="[KEY]")
@formats(["table", "jsonl"])
def audit(key: str | None, form: str) -> None:
    """List who did what to audiences, when, from where, and what was in view; verify the signatures.

    Exit status 1: an entry is forged, or entries are missing. Without SEGOPS_AUDIT_KEY, all are unsigned.
    """
    found = run(lambda settings: read_audit(settings, key))
    sys.exit(print_audit(found, form))
