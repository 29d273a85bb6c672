"""Destinations: whether they take messages, what they were told, and what they refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, Field

from segops.console.page import Action, Context, Data, Done, NotFound, Page, Role
from segops.console.pages._activation import (
    TONES,
    as_yaml,
    curl,
    gate_of,
    known_of,
    masked,
    paged,
    part,
    tallies_by,
)
from segops.console.rendering import quoted
from segops.core.delivery.deciding import Ask
from segops.delivery.views import Letter, Tally, answer_dead, letters, read_entries
from segops.destinations.kinds import KINDS
from segops.destinations.model import Destination
from segops.operations.audiences.store import Known
from segops.operations.destinations import Checked, check

_SLOW_S: Final = 20.0


# -- the list ----------------------------------------------------------------------------------------------


async def _destinations(context: Context[Any]) -> Data:
    known, tallies = known_of(context), tallies_by(context, "destination")
    found, named = context.board.destinations, _named(known)
    rows = [
        _row(context, each, named.get(name, []), tallies.get(name, []))
        for name, each in sorted(found.items())
    ]
    reported = [each["waiting"] for each in rows if each["waiting"] is not None]
    return {
        "as_of_ms": context.board.as_of_ms,
        "destinations": rows,
        "closed": sum(each["state"] in ("closed", "unusable") for each in rows),
        "told": sum(each["told"] for each in rows),
        "dead": sum(each["dead"] for each in rows),
        "waiting": sum(reported) if reported else None,
        "kinds": sorted(KINDS),
        "cli": "segops destinations list",
        "curl": curl(context, "/destinations.json"),
    }


def _row(
    context: Context[Any], destination: Destination, audiences: Sequence[str], tallies: Sequence[Tally]
) -> dict[str, Any]:
    gate = gate_of(context, destination.name)
    return {
        "name": destination.name,
        "href": f"/destinations/{quoted(destination.name)}",
        "kind": destination.kind,
        "state": gate["state"],
        "tone": TONES.get(gate["state"], "good"),
        "reason": gate["reason"],
        "waiting": gate["waiting"],
        "oldest_ms": gate["oldest_ms"],
        "per_minute": dict(gate["per_minute"]),
        "rate": sum(gate["per_minute"].values()) if gate["per_minute"] else None,
        "audiences": len(audiences),
        "told": sum(each.told for each in tallies),
        "dead": sum(each.dead for each in tallies),
    }


def _named(known: Known) -> dict[str, list[str]]:
    """Return destination -> the audiences that name it."""
    found: dict[str, list[str]] = {}
    for key, record in sorted(known.records.items()):
        for name in _to(record):
            found.setdefault(name, []).append(key)
    return found


def _to(record: Any) -> list[str]:
    return [each.to for each in record.audience.deliver] if record.state != "retired" else []


# -- one destination ---------------------------------------------------------------------------------------


async def _destination(context: Context[Any]) -> Data:
    missing: list[str] = []
    destination, known = _found(context), known_of(context)
    name = destination.name
    rest = {key: value for key, value in destination.written.items() if key not in ("name", "kind")}
    tallies = tallies_by(context, "destination").get(name, [])
    audiences = _named(known).get(name, [])
    row = _row(context, destination, audiences, tallies)
    dead = await _dead(context, name, missing) if row["dead"] else []
    shown, page_number, pages = paged(dead, context.query)
    if shown and context.user.sees_personal_data:
        await context.audit("destination.dead", {"destination": name, "messages": len(shown)})
    return {
        "as_of_ms": context.board.as_of_ms,
        **row,
        "written": as_yaml(rest) if rest else "",
        "deliveries": _deliveries(known, audiences, tallies),
        "dead_messages": list(shown),
        "page_number": page_number,
        "pages": pages,
        "missing": missing,
        "cli": f"segops deliveries list --dead\nsegops destinations check {name}",
        "curl": curl(context, f"/destinations/{quoted(name)}.json"),
    }


def _found(context: Context[Any]) -> Destination:
    name = context.arguments["name"]
    found: Destination | None = context.board.destinations.get(name)
    if found is None:
        raise NotFound(f"There is no destination {name[:100]}.")
    return found


def _deliveries(known: Known, audiences: Sequence[str], tallies: Sequence[Tally]) -> list[dict[str, Any]]:
    found, of = [], {each.delivery.audience: each for each in tallies}
    for key in sorted({*audiences, *of}):
        tally, record = of.get(key), known.records.get(key)
        state = "unknown" if record is None else known.status(record).state
        skipped = {} if tally is None else tally.skipped
        found.append(
            {
                "key": key,
                "href": f"/audiences/{quoted(key)}",
                "dry_run": f"/audiences/{quoted(key)}?tab=dry+run",
                "state": state,
                "tone": TONES[state],
                "wanted": None if tally is None else tally.wanted,
                "told": None if tally is None else tally.told,
                **{each: skipped.get(each, 0) for each in ("existing", "capped", "discarded", "dead")},
            }
        )
    return found


async def _dead(context: Context[Any], name: str, missing: list[str]) -> list[dict[str, Any]]:
    """Return what a destination refused, the newest first; who it is about only to those who may see it."""

    async def read() -> list[Letter]:
        return letters(await read_entries(context.settings))

    found = await part(missing, "dead messages", read(), [], _SLOW_S)
    return [_letter(context, each) for each in reversed(found) if each.delivery.destination == name]


def _letter(context: Context[Any], each: Letter) -> dict[str, Any]:
    return {
        "audience": each.delivery.audience,
        "href": f"/audiences/{quoted(each.delivery.audience)}",
        "address": masked(context, each.address),
        "profile_id": masked(context, each.profile_id),
        "at_ms": each.at_ms,
        "reason": masked(context, each.reason) if each.address in each.reason else each.reason,
    }


# -- a check -----------------------------------------------------------------------------------------------


async def _check(context: Context[Any]) -> Data:
    missing: list[str] = []
    name, audience = context.arguments["name"], context.query.get("audience") or None
    known = known_of(context)
    nothing = Checked([], "")
    found = await part(missing, "the check", check(context.settings, name, audience), nothing, _SLOW_S)
    return {
        "name": name,
        "audience": audience or "",
        "audiences": _named(known).get(name, []),
        "findings": [{"ok": each.is_ok(found.existing), "text": each.text} for each in found.findings],
        "ok": bool(found.findings) and found.ok,
        "missing": missing,
        "cli": f"segops destinations check {name}" + (f" --audience {audience}" if audience else ""),
        "curl": curl(context, f"/destinations/{quoted(name)}/check.json"),
    }


# -- actions -----------------------------------------------------------------------------------------------


class DeadForm(BaseModel):
    """Which refused messages: of one audience or all, of one address or all."""

    audience: str = Field("", max_length=200)
    address: str = Field("", max_length=1_000)


def _noted(form: DeadForm) -> Mapping[str, Any]:
    return {"audience": form.audience, "one_address": bool(form.address)}


def _answering(action: Ask, said: str) -> Any:
    async def answer(context: Context[Any], form: DeadForm) -> Done:
        name = context.arguments["name"]

        def chosen(letter: Letter) -> bool:
            is_there = letter.delivery.destination == name and form.address in ("", letter.address)
            return is_there and form.audience in ("", letter.delivery.audience)

        count = await answer_dead(context.settings, action, chosen)
        return Done(f"/destinations/{quoted(name)}", f"{said}: {count:,} messages.", {"messages": count})

    return answer


PAGES: tuple[Page[Any], ...] = (
    Page("/destinations", "destinations.html", "Destinations", _destinations),
    Page("/destinations/{name}", "destination.html", "Destination", _destination),
    Page("/destinations/{name}/check", "destination_check.html", "Check", _check, Role.EDITOR),
)
ACTIONS: tuple[Action[Any, Any], ...] = (
    Action(
        "/destinations/{name}/retry",
        "delivery.retry",
        DeadForm,
        _answering("retry", "Asked to tell again"),
        Role.APPROVER,
        noted=_noted,
    ),
    Action(
        "/destinations/{name}/drop",
        "delivery.drop",
        DeadForm,
        _answering("drop", "Asked to drop"),
        Role.ADMIN,
        noted=_noted,
    ),
)
