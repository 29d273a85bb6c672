"""Plans: exactly what publishing an edit of the segments would change, and its publication."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec
from pydantic import BaseModel

from segops.console.page import Action, Context, Data, Done, NotFound, Page, Role
from segops.console.pages._activation import (
    TONES,
    as_yaml,
    chosen,
    curl,
    difference,
    masked,
    paged,
    part,
)
from segops.console.rendering import quoted
from segops.core.audiences.model import PREFIX
from segops.core.errors import UserError
from segops.core.rules.analysis import costs
from segops.core.scans import Limits, Plan, SegmentPlan, beyond, with_references
from segops.core.segments import SegmentSet
from segops.kafka.definitions import DefinitionLog
from segops.operations import plans
from segops.operations.definitions import in_use
from segops.operations.plans import Detail, Wait
from segops.schemas.planned import PlannedChange, PlannedEdit
from segops.schemas.published_plans import PlanFigures, PlannedSegment, PublishedPlan
from segops.schemas.segments import definition_to_record

_SAMPLES: Final = 5
#: Segments that the list names of a plan.
_NAMED: Final = 3
_SCAN_S: Final = 20.0
_PUBLISH_S: Final = 100.0
_ALLOW: Final = "Say below that it may."
_STATES: Final = ("open", "applied", "discarded", "superseded", "expired")


# -- the list ----------------------------------------------------------------------------------------------


async def _plans(context: Context[Any]) -> Data:
    found = [each.as_of(context.now_ms) for each in context.board.plans.values()]
    found.sort(key=lambda each: (each.state != "open", -each.made_ms, each.id))
    rows = chosen([_row(each) for each in found], context.query, ["state"])
    shown, page_number, pages = paged(rows, context.query)
    return {
        "as_of_ms": context.board.as_of_ms,
        "plans": list(shown),
        "open": next((_row(each) for each in found if each.state == "open"), None),
        "count": len(rows),
        "page_number": page_number,
        "pages": pages,
        "state": context.query.get("state", ""),
        "states": list(_STATES),
        "cli": "segops plan --list",
        "curl": curl(context, "/plans.json"),
    }


def _row(plan: PublishedPlan) -> dict[str, Any]:
    found = plan.figures
    segments = [] if found is None else found.segments
    return {
        "id": plan.id,
        "href": f"/plans/{quoted(plan.id)}",
        "state": plan.state,
        "tone": TONES[plan.state],
        "made_ms": plan.made_ms,
        "expires_ms": plan.expires_ms,
        "ended_ms": plan.ended_ms,
        "superseded_by": plan.superseded_by,
        "history": plan.history,
        "segments": None if found is None else len(segments) + found.left_out,
        "moved": "" if found is None else _few([each.segment_key for each in segments], found.left_out),
        "entering": None if found is None else sum(each.entering for each in segments),
        "leaving": None if found is None else sum(each.leaving for each in segments),
        "left_out": 0 if found is None else found.left_out,
    }


def _few(keys: Sequence[str], more: int) -> str:
    """Name some of the segments of a plan.

    >>> _few(["vip", "lapsed"], 0), _few(["a", "b", "c", "d"], 3)
    ('vip, lapsed', 'a, b, c and 4 more')
    """
    rest = len(keys[_NAMED:]) + more
    return ", ".join(keys[:_NAMED]) + (f" and {rest} more" if rest else "")


# -- one plan ----------------------------------------------------------------------------------------------


async def _plan(context: Context[Any]) -> Data:
    published = context.board.plans.get(context.arguments["id"])
    if published is None:
        raise NotFound(f"There is no plan {context.arguments['id'][:100]}. The latest 100 are kept.")
    plan, missing = published.as_of(context.now_ms), list[str]()
    figures = plan.figures
    moved = [] if figures is None else [each.segment_key for each in figures.segments]
    edit = await asyncio.to_thread(_edit, context.board.log, plan.id, moved)
    segments = [] if figures is None else _segments(figures, edit["bytes"])
    return {
        "as_of_ms": context.board.as_of_ms,
        "plan": _row(plan),
        "base": plan.base,
        "figures": None if figures is None else _totals(figures),
        "segments": segments,
        "beyond": [each["key"] for each in segments if each["beyond"]],
        "changes": edit["changes"],
        "audiences": _audiences(context, segments),
        "samples": await _samples(context, plan, missing),
        "missing": missing,
        "cli": f"segops apply --plan {plan.id}" if plan.state == "open" else "segops plan --list",
        "curl": curl(context, f"/plans/{quoted(plan.id)}.json"),
    }


def _totals(figures: PlanFigures) -> dict[str, Any]:
    found = figures.segments
    return {
        "from_ms": figures.from_ms,
        "to_ms": figures.to_ms,
        "profiles": figures.profiles,
        "unreadable": figures.unreadable,
        "cut": figures.cut,
        "left_out": figures.left_out,
        **{name: sum(getattr(each, name) for each in found) for name in ("entering", "leaving", "staying")},
    }


def _segments(figures: PlanFigures, sizes: Mapping[str, int]) -> list[dict[str, Any]]:
    moved = _beyond(figures.segments)
    return [
        {
            **msgspec.to_builtins(each),
            "key": each.segment_key,
            "label": each.segment_key.removeprefix(PREFIX),
            "href": _address(each.segment_key),
            "is_audience": each.segment_key.startswith(PREFIX),
            "largest": max(each.members, each.then, 1),
            "state_bytes": sizes.get(each.segment_key),
            "beyond": moved.get(each.segment_key, ""),
        }
        for each in figures.segments
    ]


def _address(key: str) -> str:
    audience = key.removeprefix(PREFIX).partition(".")[0]
    return f"/audiences/{quoted(audience)}" if key.startswith(PREFIX) else f"/segments/{quoted(key)}"


def _beyond(segments: list[PlannedSegment]) -> Mapping[str, str]:
    """Return the segments that move more than an unattended publication allows, and by how much."""
    found = Plan({each.segment_key: _planned(each) for each in segments})
    return beyond(found, Limits(), [each.segment_key for each in segments if each.action == "added"])


def _planned(each: PlannedSegment) -> SegmentPlan:
    return SegmentPlan(members=each.members, entering=each.entering, leaving=each.leaving)


def _edit(log: DefinitionLog, plan_id: str, moved: Sequence[str]) -> dict[str, Any]:
    """Return what an open plan writes, and what the segments that it moves cost per profile."""
    planned = log.planned
    if planned is None or planned.id != plan_id or planned.state != "open":
        return {"changes": [], "bytes": {}}
    changes = [_change(log, each) for each in planned.changes if each.action != "unchanged"]
    return {"changes": changes, "bytes": _bytes(log, planned, moved)}


def _change(log: DefinitionLog, change: PlannedChange) -> dict[str, Any]:
    former = log.live.get(change.key)
    before = "" if former is None else as_yaml(_shown(definition_to_record(former)))
    record = bytes(change.record)
    after = as_yaml(_shown(record)) if record != b"null" else before
    return {
        "key": change.key,
        "action": change.action,
        "version": change.version,
        "reason": change.reason,
        "waits": change.waits,
        "lines": difference(before, after),
    }


def _shown(record: bytes) -> dict[str, Any]:
    found = msgspec.json.decode(record, type=dict[str, Any])
    return {name: value for name, value in found.items() if value not in ("", None)}


def _bytes(log: DefinitionLog, planned: PlannedEdit, moved: Sequence[str]) -> dict[str, int]:
    after = in_use(log.after(planned.records).live)
    known = {each.key: each for each in log.bound(after.values())}
    keys = sorted(key for key in {*moved, *(each.key for each in planned.changes)} if key in known)
    found = costs(SegmentSet(with_references(keys, known)))
    return {cost.segment_key: cost.state_bytes for cost in found.segments}


def _audiences(context: Context[Any], segments: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the audiences whose members the plan moves."""
    moved = {each["key"]: each for each in segments if each["is_audience"]}
    found = []
    for key, record in sorted(context.board.audiences.items()):
        each = moved.get(record.audience.definition_key)
        if each is not None:
            to = [one.to for one in record.audience.deliver]
            about = {"name": record.audience.name or key, "state": record.state, "tone": TONES[record.state]}
            moves = {name: each[name] for name in ("members", "then", "entering", "leaving")}
            found.append({"key": key, "href": f"/audiences/{quoted(key)}", "to": to, **about, **moves})
    return found


async def _samples(
    context: Context[Any], plan: PublishedPlan, missing: list[str]
) -> list[dict[str, Any]] | None:
    """Return profiles of each kind, if the person asks for them: every profile is judged again then."""
    if plan.state != "open" or not context.query.get("samples"):
        return None
    decide = partial(plans.changes_of, plan_id=plan.id)
    asked = plans.effect_of(context.settings, decide, Wait(_SCAN_S), Detail(_SAMPLES))
    effect = await part(missing, "samples", asked, None, _SCAN_S + 1)
    if effect is None:
        return None
    found = [
        {"segment": key, "kind": kind, "profiles": [masked(context, each.profile_id) for each in profiles]}
        for key, each in sorted(effect.plan.segments.items())
        for kind, profiles in sorted(each.samples.items())
        if profiles
    ]
    if context.user.sees_personal_data and found:
        await context.audit(
            "plan.samples", {"plan": plan.id, "profiles": sum(len(each["profiles"]) for each in found)}
        )
    return found


# -- actions -----------------------------------------------------------------------------------------------


class PublishForm(BaseModel):
    """``beyond``: also if it moves more than an unattended publication allows."""

    beyond: bool = False


class EmptyForm(BaseModel):
    """A form without fields."""


async def _publish(context: Context[Any], form: PublishForm) -> Done:
    plan_id = context.arguments["id"]
    decide = partial(plans.changes_of, plan_id=plan_id)
    limits = None if form.beyond else Limits()
    wait = Wait(_PUBLISH_S)
    try:
        published = await plans.publish(context.settings, decide, limits=limits, wait=wait, plan_id=plan_id)
    except plans.TooMuch as error:
        moved = "; ".join(f"{key}: {much}" for key, much in error.segments.items())
        raise UserError(f"Nothing was published, since it moves too much: {moved}. {_ALLOW}") from None
    count = sum(each.action not in ("unchanged", "left out") for each in published)
    changes = [{"key": each.key, "action": each.action, "version": each.version} for each in published]
    return Done(
        f"/plans/{quoted(plan_id)}", f"Published: {count:,} definitions changed.", {"changes": changes}
    )


async def _discard(context: Context[Any], form: EmptyForm) -> Done:
    plan_id = context.arguments["id"]
    await plans.discard(context.settings, plan_id)
    return Done("/plans", f"Discarded the plan {plan_id}.")


PAGES: tuple[Page[Any], ...] = (
    Page("/plans", "plans.html", "Plans", _plans),
    Page("/plans/{id}", "plan.html", "Plan", _plan),
)
ACTIONS: tuple[Action[Any, Any], ...] = (
    Action("/plans/{id}/apply", "plan.apply", PublishForm, _publish, Role.EDITOR),
    Action("/plans/{id}/discard", "plan.discard", EmptyForm, _discard, Role.EDITOR),
)
