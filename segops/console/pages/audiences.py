"""Audiences: who is reached, what destinations were told, and the way from a draft to a delivery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from prometheus_client import CollectorRegistry

from segops.console.page import Context, Data, NotFound, Page, Role
from segops.console.pages._activation import (
    TONES,
    as_yaml,
    chosen,
    curl,
    found_by,
    known_of,
    members_of,
    paged,
    part,
    tallies_by,
)
from segops.console.pages._audience_actions import ACTIONS as ACTIONS
from segops.console.pages._audience_form import BLANK, choices_of, fields_of
from segops.console.pages._audience_views import (
    approval_of,
    blast_of,
    deliveries_of,
    described,
    funnel_of,
    limits_of,
    others_of,
    plan_of,
    who,
)
from segops.console.rendering import quoted
from segops.core.audiences.audit import Finding
from segops.core.audiences.model import Audience, AudienceRecord
from segops.core.audiences.states import TRANSITIONS
from segops.core.values import format_duration
from segops.delivery.views import Preview, Tally, preview
from segops.metrics import Metrics
from segops.operations.audiences.actions import edition
from segops.operations.audiences.lifts import LiftView, lifts
from segops.operations.audiences.store import Known
from segops.operations.audiences.views import Audited, read_audit

_STATES: Final = ("draft", "waiting", "active", "held", "paused", "retired")
_TABS: Final = ("overview", "dry run", "lift", "audit", "definition")
_SLOW_S: Final = 25.0
_PREVIEWED: Final = 3
_MAX_AUDITED: Final = 200


# -- the list ----------------------------------------------------------------------------------------------


async def _audiences(context: Context[Any]) -> Data:
    known, query, tallies = known_of(context), context.query, tallies_by(context, "audience")
    rows = [
        _row(context, known, record, tallies.get(key, [])) for key, record in sorted(known.records.items())
    ]
    text = query.get("q", "")
    matching = found_by(rows, text, ["key", "name", "segment", "to"])
    listed = chosen(matching, query, ["state", "channel"])
    shown, page_number, pages = paged(listed, query)
    return {
        "as_of_ms": context.board.as_of_ms,
        "audiences": list(shown),
        "count": len(listed),
        "all": len(rows),
        "by_state": {state: sum(each["state"] == state for each in rows) for state in _STATES},
        "told": sum(each["told"] for each in rows),
        "dead": sum(each["dead"] for each in rows),
        "page_number": page_number,
        "pages": pages,
        "q": text,
        "state": query.get("state", ""),
        "channel": query.get("channel", ""),
        "states": list(_STATES),
        "channels": sorted({each["channel"] for each in rows}),
        "cli": "segops audiences list",
        "curl": curl(context, "/audiences.json"),
    }


def _row(
    context: Context[Any], known: Known, record: AudienceRecord, tallies: Sequence[Tally]
) -> dict[str, Any]:
    audience, status = record.audience, known.status(record)
    approved = approval_of(record, status)
    return {
        "key": audience.key,
        "href": f"/audiences/{quoted(audience.key)}",
        "name": audience.name or audience.key,
        "segment": audience.segment,
        "segment_href": f"/segments/{quoted(audience.segment)}",
        "channel": audience.channel,
        "state": status.state,
        "tone": TONES[status.state],
        "void": list(status.void),
        "note": record.note,
        "since_ms": record.since_ms,
        "reach": None if status.state == "retired" else members_of(context, audience.definition_key),
        "approved": None if approved is None else approved["reach"],
        "to": ", ".join(each.to for each in audience.deliver),
        "told": sum(each.told for each in tallies),
        "dead": sum(each.dead for each in tallies),
    }


# -- one audience ------------------------------------------------------------------------------------------


async def _audience(context: Context[Any]) -> Data:
    known, record = _found(context)
    audience, status = record.audience, known.status(record)
    tab, missing = context.query.get("tab", "overview"), list[str]()
    tab = tab if tab in _TABS else "overview"
    tallies = tallies_by(context, "audience").get(audience.key, [])
    members = members_of(context, audience.definition_key)
    return {
        "as_of_ms": context.board.as_of_ms,
        "audience": described(audience),
        **_row(context, known, record, tallies),
        "authors": list(record.authors),
        "by_ai": record.by_ai,
        "submitted": None if record.submitted is None else who(record.submitted),
        "approval": approval_of(record, status),
        "plan": None if record.plan is None else plan_of(record.plan, known, record),
        "funnel": funnel_of(record, members, tallies),
        "limits": limits_of(context, record, members, tallies),
        "deliveries": deliveries_of(context, audience, tallies),
        "blast": blast_of(record, members),
        "others": others_of(known, audience),
        "possible": _possible(context, known, record),
        "approval_rule": context.settings.audiences.approval,
        "tab": tab,
        "tabs": [{"href": f"?tab={each}".replace(" ", "+"), "label": each.capitalize()} for each in _TABS],
        "dry_run": await _dry_run(context, audience, missing) if tab == "dry run" else None,
        "lift": await _lift(context, audience, missing) if tab == "lift" else None,
        "audit": await _audit(context, audience, missing) if tab == "audit" else None,
        "yaml": as_yaml({"version": 1, "audiences": [dict(audience.written)]}),
        "missing": missing,
        "cli": f"segops audiences show {audience.key}",
        "curl": curl(context, f"/audiences/{quoted(audience.key)}.json"),
    }


def _found(context: Context[Any]) -> tuple[Known, AudienceRecord]:
    known, key = known_of(context), context.arguments["key"]
    if key not in known.records:
        raise NotFound(f"There is no audience {key[:100]}.")
    return known, known.records[key]


#: Action -> the role that it takes.
ROLES: Final[Mapping[str, Role]] = {action.name.removeprefix("audience."): action.role for action in ACTIONS}


def _possible(context: Context[Any], known: Known, record: AudienceRecord) -> list[str]:
    """Return the actions that the state allows and that the person's role may take."""
    state = known.status(record).state
    return [
        name
        for name in TRANSITIONS[state]
        if name == "apply" or context.user.role >= ROLES.get(name, Role.ADMIN)
    ]


# -- parts that are asked for ------------------------------------------------------------------------------


async def _dry_run(context: Context[Any], audience: Audience, missing: list[str]) -> list[dict[str, Any]]:
    """Return what would be sent now; the requests only to those who may see personal data."""
    work = preview(context.settings, Metrics(CollectorRegistry()), audience=audience.key, most=_PREVIEWED)
    found: list[Preview] = await part(missing, "the dry run", work, [], _SLOW_S)
    sees = context.user.sees_personal_data
    if sees and any(each.requests for each in found):
        await context.audit("audience.preview", {"audience": audience.key})
    return [
        {
            "destination": each.delivery.destination,
            "state": each.state,
            "messages": each.messages,
            "hidden": bool(each.requests) and not sees,
            "requests": [
                {"method": one.method, "url": one.url, "body": as_json(one.body)} for one in each.requests
            ]
            if sees
            else [],
        }
        for each in found
    ]


def as_json(body: object) -> str:
    """Return JSON for people."""
    return msgspec.json.format(msgspec.json.encode(body), indent=2).decode()


async def _lift(context: Context[Any], audience: Audience, missing: list[str]) -> dict[str, Any] | None:
    if audience.goal is None or audience.hold_out is None:
        return None
    work = lifts(context.settings, audience.key)
    found: list[LiftView] = await part(missing, "the lift", work, [], _SLOW_S)
    if not found:
        return None
    built: dict[str, Any] = msgspec.to_builtins(found[0])
    return built | {"window": format_duration(found[0].window_ms)}


async def _audit(context: Context[Any], audience: Audience, missing: list[str]) -> dict[str, Any] | None:
    found: Audited | None = await part(missing, "the audit", read_audit(context.settings, audience.key), None)
    if found is None:
        return None
    return {
        "entries": [_entry(each) for each in found.findings[: -_MAX_AUDITED - 1 : -1]],
        "problems": [
            *(
                f"number {each.entry.number}: {each.gap or 'forged'}"
                for each in found.findings
                if _is_odd(each)
            ),
            *found.missing,
        ],
    }


def _is_odd(found: Finding) -> bool:
    return bool(found.gap) or found.signature == "forged"


def _entry(found: Finding) -> dict[str, Any]:
    entry = found.entry
    return {
        **who(entry.by),
        "number": entry.number,
        "action": entry.action,
        "before": entry.state_before,
        "state": entry.state,
        "tone": TONES[entry.state],
        "reach": entry.reach,
        "plan": None if entry.seen is None else entry.seen.id,
        "signature": found.signature,
        "signature_tone": {"signed": "good", "forged": "bad"}.get(found.signature, "neutral"),
        "note": entry.note,
    }


# -- the form ----------------------------------------------------------------------------------------------


async def _new(context: Context[Any]) -> Data:
    segment = context.query.get("segment", "")
    return _form(context, {**BLANK, "segment": segment}, "", "")


async def _edit(context: Context[Any]) -> Data:
    known, record = _found(context)
    if known.status(record).state == "retired":
        raise NotFound(f"The audience {record.audience.key} is retired: its key stays reserved.")
    audience = record.audience
    return _form(context, fields_of(audience), edition(audience), known.status(record).state)


def _form(context: Context[Any], fields: Mapping[str, Any], seen: str, state: str) -> dict[str, Any]:
    by_yaml = context.query.get("as") == "yaml"
    written = fields.get("written") or {"key": "", "segment": fields["segment"], "channel": "email"}
    return {
        "as_of_ms": context.board.as_of_ms,
        "fields": {name: value for name, value in fields.items() if name != "written"},
        "key": fields["key"] if seen else "",
        "seen": seen,
        "state": state,
        "by_yaml": by_yaml,
        "yaml": as_yaml(dict(written)),
        "consents": list(context.settings.audiences.consents),
        **choices_of(context, fields),
        "cli": "segops audiences apply audiences.yaml",
        "curl": "",
    }


PAGES: tuple[Page[Any], ...] = (
    Page("/audiences", "audiences.html", "Audiences", _audiences),
    Page("/audiences/_new", "audience_form.html", "New audience", _new, Role.EDITOR),
    Page("/audiences/{key}", "audience.html", "Audience", _audience),
    Page("/audiences/{key}/edit", "audience_form.html", "Edit audience", _edit, Role.EDITOR),
)
__all__ = ["ACTIONS", "PAGES"]
