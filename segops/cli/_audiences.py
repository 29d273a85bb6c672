"""Audiences, their plans and their audit, in words and as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from segops.cli._say import say, say_all, say_blocks, say_table, table, warn
from segops.cli._scans import when
from segops.core.audiences.audit import AuditEntry, Finding
from segops.core.audiences.model import Act, Reach, ReachPlan
from segops.core.values import format_instant

if TYPE_CHECKING:
    from rich.table import Table

    from segops.operations.audiences.views import AudienceView, Audited

_AUDIT = ("at", "audience", "no.", "actor", "action", "state", "reach", "plan", "signature", "from", "note")


def funnel_table(reach: Reach) -> Table:
    """Return a row for each step: how many profiles are left, and how many it takes away."""
    left = [each.left for each in reach.steps]
    lost = ["", *(f"{before - now:,}" for before, now in pairwise(left))]
    rows = [(each.name, f"{each.left:,}", less) for each, less in zip(reach.steps, lost, strict=True)]
    return table(("step", "left", "less"), rows, figures=("left", "less"))


def plan_lines(made: ReachPlan) -> Iterator[str | Table]:
    """Yield the funnel of a plan, the moves since the approval, and until when it is valid."""
    reach = made.reach
    yield funnel_table(reach)
    if reach.failed:
        yield f"the rule fails for {reach.failed:,} profiles, which are left out"
    if made.approved is not None:
        moves = "not known, since the history of the former rules is not kept"
        if made.moves is not None:
            moves = f"{made.moves.entering:,} enter, {made.moves.leaving:,} leave"
        yield f"approved last: {made.approved:,} profiles; by the edits since: {moves}"
    yield from when(reach)
    yield f"plan {made.id} by {who(made.by)}, valid until {format_instant(made.expires_ms)}"


def print_plan(key: str, made: ReachPlan) -> None:
    """Print a plan that was just made, and how to go on."""
    say(f"{key}: {made.reach.members:,} of {made.reach.profiles:,} profiles")
    say_blocks(plan_lines(made))
    say(f"to ask for approval: segops audiences submit {key}")


def who(act: Act) -> str:
    """Return an actor, and whether that is only what it calls itself."""
    return act.actor if act.verified else f"{act.actor} (unverified)"


def list_table(found: Sequence[AudienceView]) -> Table:
    """Return a row for each audience."""
    columns = ("audience", "channel", "segment", "state", "reach", "approved", "by", "since")
    return table(columns, map(_row, found), figures=("reach", "approved"))


def _row(each: AudienceView) -> Sequence[str]:
    approval = None if each.void or each.state in ("draft", "waiting") else each.approval
    approved, by = ("", "") if approval is None else (f"{approval.reach or 0:,}", approval.by.actor)
    reach = "" if each.reach is None else f"{each.reach:,}"
    state = f"{each.state} (void)" if each.void else each.state
    return each.key, each.channel, each.segment, state, reach, approved, by, format_instant(each.since_ms)


def details(each: AudienceView) -> Iterator[str | Table]:
    """Yield what is to be known of an audience."""
    yield f"{each.key}: {each.state}, since {format_instant(each.since_ms)}"
    yield from (f"void: {reason}" for reason in each.void)
    if each.note:
        yield f"note: {each.note}"
    reach = "unknown, no worker has published it" if each.reach is None else f"{each.reach:,} profiles now"
    yield f"{each.channel}, members of {each.segment}: {reach}"
    if each.authors:
        yield f"edited by {', '.join(each.authors)}{', with an AI' if each.by_ai else ''}"
    if each.approval is not None:
        yield _approved(each.approval)
    if each.plan is None:
        yield f"no plan yet: segops audiences plan {each.key}"
        return
    yield from plan_lines(each.plan)
    if each.state == "waiting":
        yield f"to approve it: segops audiences approve {each.key} --plan {each.plan.id}"


def _approved(entry: AuditEntry) -> str:
    plan = "" if entry.seen is None else f" with the plan {entry.seen.id}"
    at = format_instant(entry.by.at_ms)
    return f"approved by {who(entry.by)} at {at}{plan}: {entry.reach or 0:,} profiles"


def print_audit(found: Audited, form: str) -> int:
    """Print the audit; return the exit status: 1 if it was tampered with."""
    if form == "jsonl":
        say_all(msgspec.json.encode(each._asdict()).decode() for each in found.findings)
    elif found.findings:
        say_table(_AUDIT, map(_audit_row, found.findings), figures=("no.", "reach"))
    else:
        say("the audit has no entries")
    odd = [_oddity(each) for each in found.findings if each.gap or each.signature == "forged"]
    problems = [*odd, *found.missing]
    if found.unreadable:
        problems.append(f"{found.unreadable:,} records are no audit entries")
    for problem in problems:
        warn(problem)
    return 1 if problems else 0


def _oddity(found: Finding) -> str:
    where = f"{found.entry.audience}, number {found.entry.number}"
    return f"{where}: {found.gap or 'the signature is not by a key of this workspace'}"


def _audit_row(found: Finding) -> Sequence[str]:
    entry = found.entry
    state = entry.state if entry.state == entry.state_before else f"{entry.state_before} → {entry.state}"
    return (
        format_instant(entry.by.at_ms),
        entry.audience,
        f"{entry.number:,}",
        who(entry.by),
        entry.action,
        state,
        "" if entry.reach is None else f"{entry.reach:,}",
        "" if entry.seen is None else entry.seen.id,
        found.signature,
        entry.by.client,
        entry.note,
    )
