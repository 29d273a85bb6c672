"""One audience as it is shown: its plan and approval, its funnel and limits, and what it was told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from segops.console.page import Context
from segops.console.pages._activation import TONES, as_yaml, gate_of, profiles_of
from segops.console.rendering import quoted
from segops.core.audiences.approval import Status, differences
from segops.core.audiences.audit import entry_of
from segops.core.audiences.model import Act, Audience, AudienceRecord, Rate, Reach, ReachPlan
from segops.core.values import format_duration
from segops.delivery.views import Tally
from segops.operations.audiences.actions import edition
from segops.operations.audiences.store import Known

#: Of a delivery, why members are not told -> in words.
_SKIPPED: Final[Mapping[str, str]] = {
    "existing": "were members before the approval",
    "capped": "were told often enough",
    "discarded": "discarded by a release",
    "dead": "refused by the destination",
    "dropped": "dropped after a refusal",
}
#: Steps of the funnel -> in words.
_STEPS: Final[Mapping[str, str]] = {
    "segment": "in the segment",
    "address": "with an address",
    "consent": "who consented",
    "suppressions": "not suppressed",
    "hold-out": "not held out",
}


def approval_of(record: AudienceRecord, status: Status) -> dict[str, Any] | None:
    """Return the approval that is in force, or was last if it is void."""
    if record.approval is None:
        return None
    try:
        entry = entry_of(record.approval)
    except msgspec.MsgspecError:
        return None
    in_force = not status.void and status.state not in ("draft", "waiting", "retired")
    plan = None if entry.seen is None else entry.seen.id
    return {**who(entry.by), "reach": entry.reach, "plan": plan, "in_force": in_force}


def who(act: Act) -> dict[str, Any]:
    return {"by": act.actor, "verified": act.verified, "client": act.client, "at_ms": act.at_ms}


def described(audience: Audience) -> dict[str, Any]:
    goal = audience.goal
    return {
        "description": audience.description,
        "purpose": audience.purpose,
        "suppress": list(audience.suppress),
        "hold_out": None if audience.hold_out is None else audience.hold_out.share / 10_000,
        "frequency": None if audience.frequency is None else _per(audience.frequency),
        "existing": audience.existing,
        "quiet": sorted(reason for reason, telling in audience.reasons.items() if telling == "quiet"),
        "properties": list(audience.properties),
        "goal": None if goal is None else as_yaml(goal).replace("\n", ", "),
        "edition": edition(audience),
    }


def _per(rate: Rate) -> str:
    return f"{rate.at_most:,} per {format_duration(rate.per_ms)}"


def plan_of(plan: ReachPlan, known: Known, record: AudienceRecord) -> dict[str, Any]:
    reach, moves = plan.reach, plan.moves
    return {
        "id": plan.id,
        **who(plan.by),
        "expires_ms": plan.expires_ms,
        "void": [
            *differences(plan.editions, known.editions(record)),
            *(["it is older than 24 h"] if known.now_ms >= plan.expires_ms else []),
        ],
        "members": reach.members,
        "profiles": reach.profiles,
        "unreadable": reach.unreadable,
        "failed": reach.failed,
        "incomplete": list(reach.incomplete),
        "from_ms": reach.from_ms,
        "to_ms": reach.to_ms,
        "approved": plan.approved,
        "moves": None if moves is None else {"entering": moves.entering, "leaving": moves.leaving},
    }


def funnel_of(record: AudienceRecord, members: int | None, tallies: Sequence[Tally]) -> dict[str, Any]:
    """Return the steps from the segment to the members, then by destination the steps to the people told."""
    steps = [] if record.plan is None else _measured(record.plan.reach)
    if members is not None:
        steps.append(_step("members now", members, "live"))
    there = [_steps_there(each) for each in tallies]
    names = [each.delivery.destination for each in tallies]
    return {
        "steps": steps,
        "told": [{"destination": name, "steps": each} for name, each in zip(names, there, strict=True)],
        "whole": max((each["left"] for found in (steps, *there) for each in found), default=0),
        "at_ms": record.plan.reach.to_ms if record.plan else None,
    }


def _measured(reach: Reach) -> list[dict[str, Any]]:
    found, before = [], reach.steps[0].left
    for each in reach.steps:
        found.append(_step(_STEPS.get(each.name, each.name), each.left, less=before - each.left))
        before = each.left
    return found


def _step(name: str, left: int, note: str = "", *, less: int | None = None, tone: str = "") -> dict[str, Any]:
    return {"name": name, "left": left, "less": less, "note": note, "tone": tone}


def _steps_there(each: Tally) -> list[dict[str, Any]]:
    """Return the steps of one destination: who has an address there, is within the caps, and was told."""
    skipped = each.skipped
    new = each.wanted - skipped.get("existing", 0)
    allowed = new - skipped.get("capped", 0)
    return [
        _step("members with an address there", each.wanted),
        _step("entered since the approval", new, less=skipped.get("existing", 0)),
        _step("after caps", allowed, less=skipped.get("capped", 0)),
        _step("told", each.told, less=max(allowed - each.told, 0), tone="good"),
    ]


def limits_of(
    context: Context[Any], record: AudienceRecord, members: int | None, tallies: Sequence[Tally]
) -> list[dict[str, Any]]:
    """Return the limits of the breaker, with how much of each is used where that is a size."""
    limits, profiles = record.audience.limits, profiles_of(context)
    found = []
    if limits.members is not None:
        found.append(
            {"name": "members", "limit": f"{limits.members:,}", "used": _ratio(members, limits.members)}
        )
    if limits.share is not None:
        most = None if profiles is None else profiles * limits.share / 10_000
        found.append(
            {
                "name": "share of all profiles",
                "limit": f"{limits.share / 100:g} %",
                "used": _ratio(members, most),
            }
        )
    for name, rate in (("entries", limits.entries), ("exits", limits.exits)):
        if rate is not None:
            found.append({"name": f"{name}, for each destination", "limit": _per(rate), "used": None})
    if limits.exits is None:
        found.append(
            {"name": "exits, unless written", "limit": "half of the approved reach per hour", "used": None}
        )
    return found


def _ratio(value: float | None, most: float | None) -> float | None:
    return None if value is None or not most else value / most


def deliveries_of(
    context: Context[Any], audience: Audience, tallies: Sequence[Tally]
) -> list[dict[str, Any]]:
    """Return each destination of an audience, and those that it had, with what they were told."""
    return [_delivery(context, audience, each) for each in _deliveries(audience, tallies)]


def _deliveries(audience: Audience, tallies: Sequence[Tally]) -> list[tuple[str, Tally | None]]:
    told = {each.delivery.destination: each for each in tallies}
    names = [each.to for each in audience.deliver]
    return [(name, told.get(name)) for name in [*names, *(name for name in told if name not in names)]]


def _delivery(context: Context[Any], audience: Audience, found: tuple[str, Tally | None]) -> dict[str, Any]:
    name, tally = found
    gate = gate_of(context, name)
    skipped = {} if tally is None else tally.skipped
    options = next((each.options for each in audience.deliver if each.to == name), None)
    return {
        "destination": name,
        "href": f"/destinations/{quoted(name)}",
        "named": options is not None,
        "options": as_yaml(dict(options)) if options else "",
        "state": gate["state"],
        "tone": TONES.get(gate["state"], "good"),
        "reason": gate["reason"],
        "waiting": gate["waiting"],
        "oldest_ms": gate["oldest_ms"],
        "wanted": None if tally is None else tally.wanted,
        "told": None if tally is None else tally.told,
        "skipped": {name: skipped.get(name, 0) for name in _SKIPPED},
        "dead": skipped.get("dead", 0),
    }


def blast_of(record: AudienceRecord, members: int | None) -> dict[str, Any]:
    """Return what an approval begins: how many are told at once, and how many messages that is."""
    audience, count = record.audience, len(record.audience.deliver)
    reached = members if members is not None else (record.plan.reach.members if record.plan else None)
    at_once = reached if audience.existing == "send" else 0
    return {
        "people": reached,
        "at_once": at_once,
        "messages": None if at_once is None else at_once * count,
        "destinations": count,
        "first_approval": record.activated_ms is None,
    }


def others_of(known: Known, audience: Audience) -> list[dict[str, Any]]:
    """Return the other audiences that may reach the same people: of the segment, or through the channel."""
    return [
        {
            "key": key,
            "href": f"/audiences/{quoted(key)}",
            "state": state,
            "tone": TONES[state],
            "segment": one.segment,
        }
        for key, record in sorted(known.records.items())
        for one in [record.audience]
        if key != audience.key and one.channel == audience.channel
        for state in [known.status(record).state]
        if state not in ("retired", "draft")
    ][:20]
