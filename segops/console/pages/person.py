"""One person: what is known, why in which segments, what happened, and what was sent; erase and split."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from uuid import uuid4

import yaml
from pydantic import BaseModel, ConfigDict

from segops.console.access.guard import Denied
from segops.console.page import Action, Context, Data, Done, NotFound, Page, Role
from segops.console.people.asking import asking, part
from segops.console.people.draft import draft_of
from segops.console.people.handles import Names
from segops.console.people.known import definitions_of, segments_of
from segops.console.people.links import curl_of, link
from segops.console.people.rfm import rfm_of_person
from segops.console.people.scores import DAYS, scores_data
from segops.console.people.sent import read_sent, sent_data
from segops.console.people.shown import (
    explained_data,
    memberships_data,
    past_data,
    profile_data,
    timeline_data,
)
from segops.core.errors import SegopsError, UserError
from segops.core.values import format_instant
from segops.core.views.profile import TAKEN_OVER, ProfileView
from segops.operations import erase as erasing
from segops.operations import split as splitting
from segops.operations.receipts import read_receipts
from segops.operations.workers import NoWorker, UnknownProfile, Workers
from segops.schemas.erasures import ErasureRequest, Receipt

_TABS: Final = ("segments", "profile", "timeline", "past", "sent", "manage")
_ENTRIES: Final = 200
#: Entries from which past memberships and drafts are made.
_HISTORY: Final = 1_000
_ERASED_S: Final = 60.0


async def _person(context: Context[Any]) -> Data:
    names = Names(context.settings, context.user)
    identifier = identifier_in(context, names)
    tab = context.query.get("tab", _TABS[0])
    tab = tab if tab in _TABS else _TABS[0]
    if tab == "manage" and context.user.role < Role.ADMIN:
        raise Denied(403, "Erasing and splitting need the role admin.")
    await context.audit("person.read", {"part": tab})
    async with asking(context) as workers:
        view = await profile_of(workers, identifier)
        more, missing = await part(_PARTS[tab](context, names, workers, view), {})
    cli = f"segops timeline {_quoted(names, view)}" if tab == "timeline" else _cli(names, view)
    return {
        **profile_data(view, names),
        "tab": tab,
        "tabs": _tab_links(context, names, view),
        "segment_count": len(view.memberships),
        "part": more,
        "missing": missing,
        "cli": cli,
        "curl": curl_of(context, names.path(view.profile_id), context.query),
    }


def identifier_in(context: Context[Any], names: Names) -> str:
    """Return the identifier that the path names. Raises Denied for a user who may not name one."""
    name = context.arguments["id"]
    found = names.read(name)
    if found is None and names.masked and not name.startswith("~"):
        raise Denied(403, "Looking people up needs the role editor.")
    if found is None or ":" not in found:
        raise NotFound("There is no such person.")
    return found


async def profile_of(workers: Workers, identifier: str) -> ProfileView:
    """Return a profile. Raises NotFound for an unknown identifier, and Denied (503) if no worker answers."""
    try:
        return await workers.profile(identifier)
    except (UnknownProfile, UserError):
        raise NotFound("No profile has this identifier. It may have been erased.") from None
    except NoWorker as error:
        raise Denied(503, f"People cannot be shown now: {error}.") from error
    except SegopsError as error:
        raise Denied(502, f"A worker could not answer: {error}.") from error


def _tab_links(context: Context[Any], names: Names, view: ProfileView) -> list[Data]:
    path = names.path(view.profile_id)
    labels = {
        "segments": "Segments",
        "profile": "Profile",
        "timeline": "Timeline",
        "past": "Past segments",
        "sent": "Sent to",
        "manage": "Erase or split",
    }
    known = [tab for tab in _TABS if tab != "manage" or context.user.role >= Role.ADMIN]
    return [{"href": link(path, {"tab": tab}), "label": labels[tab], "tab": tab} for tab in known]


def _quoted(names: Names, view: ProfileView) -> str:
    return "ID" if names.masked else shlex.quote(view.profile_id)


def _cli(names: Names, view: ProfileView) -> str:
    return f"segops profile {_quoted(names, view)}"


# -- the parts of the page ---------------------------------------------------------------------------------

Part = Callable[[Context[Any], Names, Workers, ProfileView], Awaitable[dict[str, Any]]]


async def _segments(
    context: Context[Any], names: Names, workers: Workers, view: ProfileView
) -> dict[str, Any]:
    """Return the memberships with the reasons; with ``why`` in the address, also why not in that segment."""
    why = context.query.get("why", "")
    explanation, missing = await part(workers.explanation(view.profile_id), None)
    other = None
    if why:
        asked, missing_other = await part(workers.explanation(view.profile_id, why), None)
        other = next((explained_data(each, names) for each in asked.segments), None) if asked else None
        missing = missing or missing_other or ("" if other else f"the segment {why} is not in force")
    return {
        "memberships": memberships_data(view.memberships, explanation, names),
        "why": why,
        "other": other,
        "choices": segments_of(context.board),
        "missing": missing,
    }


async def _profile(
    context: Context[Any], names: Names, workers: Workers, view: ProfileView
) -> dict[str, Any]:
    """Return the RFM digits and the scores of a person; without these, why they cannot be had."""
    found, missing = await part(workers.explanation(view.profile_id, days=DAYS), None)
    return {
        "rfm": rfm_of_person(view, definitions_of(context.board), names),
        "scores": [] if found is None else scores_data(found.scores, names, view.now_ms),
        "scores_missing": missing,
    }


async def _timeline(
    context: Context[Any], names: Names, workers: Workers, view: ProfileView
) -> dict[str, Any]:
    asked, kind = context.query.get("before", ""), context.query.get("kind", "")
    query = {"limit": str(_ENTRIES), **({"to": asked} if asked else {})}
    found = await workers.timeline(view.profile_id, **query)
    entries = timeline_data(found, names)
    shown = [each for each in entries if kind in ("", each["kind"])]
    older = found.left_out and found.entries
    before = format_instant(found.entries[0].time_ms) if older else ""
    return {
        "entries": shown,
        "kind": kind,
        "next": [each for each in _next(view)],
        "events_since_ms": found.events_since_ms or None,
        "changes_since_ms": found.changes_since_ms or None,
        "older": link(names.path(view.profile_id), {"tab": "timeline", "kind": kind, "before": before})
        if older
        else "",
        "is_latest": not asked,
    }


def _next(view: ProfileView) -> list[dict[str, Any]]:
    """Return when memberships end if nothing more happens, the earliest first."""
    found = [
        {"segment": each.segment_key, "name": each.name, "at_ms": each.until}
        for each in view.memberships
        if each.until is not None
    ]
    return sorted(found, key=lambda each: each["at_ms"] or 0)


async def _past(_context: Context[Any], _names: Names, workers: Workers, view: ProfileView) -> dict[str, Any]:
    found = await workers.timeline(view.profile_id, limit=str(_HISTORY))
    since_ms = max(found.changes_since_ms, found.entries[0].time_ms if found.left_out else 0)
    return {"past": past_data(found.entries), "since_ms": since_ms or None}


async def _sent(context: Context[Any], names: Names, _workers: Workers, view: ProfileView) -> dict[str, Any]:
    ids = {each.identifier for each in view.identifiers}
    return {"sent": sent_data(await read_sent(context.settings, ids), names)}


async def _manage(
    _context: Context[Any], names: Names, _workers: Workers, view: ProfileView
) -> dict[str, Any]:
    merged = [each for each in view.identifiers if each.origin == TAKEN_OVER]
    return {
        "merged": [{"id": each.identifier, "at_ms": each.at_ms} for each in merged],
        "erase_cli": f"segops erase --profile {_quoted(names, view)}",
        "split_cli": f"segops split {shlex.quote(merged[0].identifier)}" if merged else "",
    }


_PARTS: Final[Mapping[str, Part]] = {
    "segments": _segments,
    "profile": _profile,
    "timeline": _timeline,
    "past": _past,
    "sent": _sent,
    "manage": _manage,
}


# -- a segment from this person ----------------------------------------------------------------------------


async def _draft(context: Context[Any]) -> Data:
    """Return a draft from what the person did, as a text that the builder opens with."""
    names = Names(context.settings, context.user)
    identifier = identifier_in(context, names)
    await context.audit("person.read", {"part": "draft"})
    async with asking(context) as workers:
        view = await profile_of(workers, identifier)
        found, missing = await part(workers.timeline(view.profile_id, limit=str(_HISTORY)), None)
    draft = None if found is None else draft_of(found.entries, view.now_ms)
    text = _text({"version": 1, "segments": [draft]}) if draft else ""
    return {
        "id": names.identifier(view.profile_id),
        "path": names.path(view.profile_id),
        "clock_ms": view.now_ms,
        "text": text,
        "builder": link("/builder", {"text": text}) if text else "",
        "missing": missing or ("" if draft else "no event of this person is retained"),
        "cli": "segops check draft.yaml && segops estimate draft.yaml",
    }


def _text(written: Data) -> str:
    text: str = yaml.safe_dump(dict(written), sort_keys=False, allow_unicode=True)
    return text


# -- erase and split ---------------------------------------------------------------------------------------


class EraseForm(BaseModel):
    """What a person types to erase another."""

    model_config = ConfigDict(extra="forbid")
    confirmation: str


class SplitForm(EraseForm):
    """What a person types to undo a merge: of which profile."""

    source: str


def _confirmed(typed: str, expected: str) -> None:
    if typed.strip() != expected:
        raise UserError(f"confirmation: type {expected} to confirm")


async def _erase(context: Context[Any], form: EraseForm) -> Done:
    identifier = identifier_in(context, Names(context.settings, context.user))
    _confirmed(form.confirmation, identifier)
    request = ErasureRequest(identifier, f"console-{uuid4().hex}")
    try:
        receipts = await erasing.erase(context.settings, request, wait_s=_ERASED_S)
    except SegopsError as error:
        raise UserError(str(error)) from error
    erased = sum(each.found in ("profile", "redirect") for each in receipts)
    message = f"Erased: {erased} of {len(receipts)} identifiers were stored. These are the receipts."
    data = {"request": request.request, "receipts": [_receipt(each) for each in receipts]}
    return Done(f"/people/erasures/{request.request}", message, data)


def _receipt(receipt: Receipt) -> Data:
    return {
        "identifier_sha256": receipt.identifier_sha256,
        "found": receipt.found,
        "erased_ms": receipt.erased_at,
    }


async def _receipts(context: Context[Any]) -> Data:
    request = context.arguments["request"]
    found, missing = await part(read_receipts(context.settings, request), [])
    return {
        "request": request,
        "receipts": [_receipt(each) for each in found],
        "complete": erasing.is_complete(found),
        "missing": missing,
        "cli": f"segops erase --profile ID --request {shlex.quote(request)}",
    }


async def _split(context: Context[Any], form: SplitForm) -> Done:
    names = Names(context.settings, context.user)
    identifier = identifier_in(context, names)
    _confirmed(form.confirmation, form.source)
    async with asking(context) as workers:
        view = await profile_of(workers, identifier)
    merged = {each.identifier for each in view.identifiers if each.origin == TAKEN_OVER}
    if form.source not in merged:
        raise UserError(f"source: {form.source} is no profile that was merged into this one")
    try:
        found = await splitting.split(context.settings, form.source)
    except SegopsError as error:
        raise UserError(str(error)) from error
    message = f"The split was requested: {form.source} gets back the state of hand-over {found.sequence}."
    return Done(names.path(view.profile_id), message, {"sequence": found.sequence})


PAGES: tuple[Page[Any], ...] = (
    Page("/people/erasures/{request}", "erasure.html", "Erasure", _receipts, Role.ADMIN),
    Page("/people/{id}", "person.html", "Person", _person),
    Page("/people/{id}/draft", "draft.html", "Segment from a person", _draft, Role.EDITOR),
)
ACTIONS: tuple[Action[Any, Any], ...] = (
    Action("/people/{id}/erase", "person.erase", EraseForm, _erase, Role.ADMIN, lambda _form: {}),
    Action("/people/{id}/split", "person.split", SplitForm, _split, Role.ADMIN, lambda _form: {}),
)
