"""What people do to audiences in the console, as who is signed in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

from pydantic import BaseModel, Field

from segops.console.page import Action, Conflict, Context, Data, Done, Role
from segops.console.pages._activation import acting, as_yaml, difference
from segops.console.pages._audience_form import AudienceForm
from segops.core.audiences import states
from segops.core.audiences.model import Audience, Rate
from segops.core.errors import UserError
from segops.operations.audiences import actions
from segops.operations.audiences.actions import PlanVoid, StaleEdit
from segops.operations.destinations import refuse_flows
from segops.operations.plans import Wait
from segops.schemas.audiences import parse_rate

#: How long workers may take to measure a reach.
_MEASURE_S: Final = 90.0
_SHOWN_LINES: Final = 40
_SAVED: Final = {
    "added": "is a draft now: plan its reach",
    "changed": "is a draft with your edit: plan its reach again",
    "described": "is saved; who is in it did not change",
    "unchanged": "is published as it is: nothing was written",
}


class Note(BaseModel):
    """An action with a reason."""

    note: str = Field("", max_length=1_000)


class Nothing(BaseModel):
    """An action without fields."""


class Approval(BaseModel):
    """``plan``: the id of the plan that the person saw. ``flows``: also if live flows begin."""

    plan: str = Field(max_length=64)
    confirmation: str
    flows: bool = False


class ReleaseForm(Note):
    """What becomes of the changes since the hold; ``rate``: such as 1000/h."""

    how: Literal["once", "rate", "discard"] = "once"
    rate: str = ""


class Retirement(Note):
    """``confirmation``: the key."""

    confirmation: str


async def _save(context: Context[Any], form: AudienceForm) -> Done:
    audience = form.audience()
    if form.editing and form.editing != audience.key:
        raise UserError(f"the key of the audience {form.editing} cannot change: make a new audience")
    try:
        (change,) = await actions.apply(
            context.settings, [audience], acting(context), seen={audience.key: form.seen}
        )
    except StaleEdit as stale:
        raise _conflict(stale.record.audience, audience, str(stale)) from None
    unknown = [each.to for each in audience.deliver if each.to not in context.board.destinations]
    more = f" Not published yet: the destination {', '.join(unknown)}." if unknown else ""
    message = f"{audience.key} {_SAVED[change.action]}.{more}"
    return Done(f"/audiences/{audience.key}", message, {"key": audience.key, "effect": change.action})


def _conflict(published: Audience, mine: Audience, why: str) -> Conflict:
    """Return what differs between the audience that is published now and the one that was to be."""
    lines = difference(as_yaml(dict(published.written)), as_yaml(dict(mine.written)))
    shown = "\n".join(lines[:_SHOWN_LINES])
    text = f"{why}. Published now (-) and yours (+):\n{shown}"
    return Conflict(text, {"difference": lines, "published": dict(published.written)})


def _noted(form: AudienceForm) -> Data:
    audience = form.audience()
    return {"key": audience.key, "segment": audience.segment, "channel": audience.channel}


async def _plan(context: Context[Any], form: Nothing) -> Done:
    key = context.arguments["key"]
    found = await actions.plan_reach(context.settings, key, acting(context), Wait(_MEASURE_S))
    reach = found.reach
    message = f"{key} reaches {reach.members:,} of {reach.profiles:,} profiles: plan {found.id}."
    return Done(f"/audiences/{key}", message, {"plan": found.id, "members": reach.members})


async def _submit(context: Context[Any], form: Nothing) -> Done:
    key = context.arguments["key"]
    found = await actions.submit(context.settings, key, acting(context))
    message = f"{key} waits for approval with the plan {found.id}: {found.reach.members:,} profiles."
    return Done(f"/audiences/{key}", message, {"plan": found.id})


async def _approve(context: Context[Any], form: Approval) -> Done:
    key = context.arguments["key"]
    _check_confirmed(form.confirmation, key)
    if not form.flows:
        await refuse_flows(context.settings, key)
    try:
        await actions.approve(context.settings, key, form.plan, acting(context), Wait(_MEASURE_S))
    except PlanVoid as void:
        reasons = "; ".join(void.reasons)
        raise UserError(f"The plan is void: {reasons}. Choose Plan reach, then approve again.") from void
    return Done(f"/audiences/{key}", f"{key} is active: approved with the plan {form.plan}.")


async def _release(context: Context[Any], form: ReleaseForm) -> Done:
    key, rate = context.arguments["key"], _rate(form)
    await actions.act_on(
        context.settings, key, "release", acting(context), form.note, rate=rate, discard=form.how == "discard"
    )
    return Done(f"/audiences/{key}", f"{key} is active again.")


def _rate(form: ReleaseForm) -> Rate | None:
    if form.how != "rate":
        return None
    found = parse_rate(form.rate.strip())
    if found is None:
        raise UserError(f"expected a rate such as 1000/h, got {form.rate!r:.40}")
    return found


async def _retire(context: Context[Any], form: Retirement) -> Done:
    key = context.arguments["key"]
    _check_confirmed(form.confirmation, key)
    await actions.act_on(context.settings, key, "retire", acting(context), form.note)
    return Done(f"/audiences/{key}", f"{key} is retired; its key stays reserved.")


def _check_confirmed(text: str, key: str) -> None:
    if text.strip() != key:
        raise UserError(f"type {key} to confirm")


def _acting(action: states.Action) -> Callable[[Context[Any], Note], Awaitable[Done]]:
    async def act(context: Context[Any], form: Note) -> Done:
        key = context.arguments["key"]
        found = await actions.act_on(context.settings, key, action, acting(context), form.note)
        return Done(f"/audiences/{key}", f"{key} is {found.state}.", {"state": found.state})

    return act


ACTIONS: tuple[Action[Any, Any], ...] = (
    Action("/audiences", "audience.apply", AudienceForm, _save, Role.EDITOR, noted=_noted),
    Action("/audiences/{key}/plan", "audience.plan", Nothing, _plan, Role.EDITOR),
    Action("/audiences/{key}/submit", "audience.submit", Nothing, _submit, Role.EDITOR),
    Action("/audiences/{key}/approve", "audience.approve", Approval, _approve, Role.APPROVER),
    Action("/audiences/{key}/reject", "audience.reject", Note, _acting("reject"), Role.APPROVER),
    Action("/audiences/{key}/hold", "audience.hold", Note, _acting("hold"), Role.APPROVER),
    Action("/audiences/{key}/release", "audience.release", ReleaseForm, _release, Role.APPROVER),
    Action("/audiences/{key}/pause", "audience.pause", Note, _acting("pause"), Role.APPROVER),
    Action("/audiences/{key}/resume", "audience.resume", Note, _acting("resume"), Role.APPROVER),
    Action("/audiences/{key}/retire", "audience.retire", Retirement, _retire, Role.APPROVER),
)
