"""People: look one up by any identifier; browse the members of a segment."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from typing import Any, Final

from segops.console.access.guard import Denied
from segops.console.board.answers import AnswerCache
from segops.console.page import Action, Context, Data, Page
from segops.console.people.asking import asking, part
from segops.console.people.handles import Names
from segops.console.people.known import segments_of
from segops.console.people.links import curl_of, link
from segops.console.people.shown import REASONS, reason_text
from segops.core.errors import UserError
from segops.core.identifiers import USER
from segops.core.views.profile import ProfileView
from segops.operations.members import MemberRow, MembersNow, newest_members
from segops.operations.workers import UnknownProfile
from segops.schemas.erasures import hashed

#: Members of a segment that can be browsed, the newest; and how many a page shows.
_BROWSED: Final = 10_000
_SHOWN: Final = 50
_MAX_TEXT: Final = 500
#: What a text without a type may be: tried in this order.
_TYPES: Final = (USER, "anonymous_id", "device_id")
_members = AnswerCache()


async def _people(context: Context[Any]) -> Data:
    names = Names(context.settings, context.user)
    asked, key = context.query.get("id", "").strip(), context.query.get("segment", "")
    if asked and names.masked:
        raise Denied(403, "Looking people up needs the role editor.")
    found, members = await asyncio.gather(_looked_up(context, names, asked), _browsed(context, names, key))
    cli = f"segops profile {shlex.quote(asked or 'user_id:ann')}"
    return {
        "asked": asked,
        "found": found,
        "masked": names.masked,
        "segments": segments_of(context.board),
        "segment": key,
        "members": members,
        "reasons": [{"key": each, "text": text} for each, text in REASONS.items()],
        "cli": f"segops members {shlex.quote(key)}" if key else cli,
        "curl": curl_of(context, "/people", context.query),
    }


# -- look-up -----------------------------------------------------------------------------------------------


async def _looked_up(context: Context[Any], names: Names, asked: str) -> Data | None:
    """Return the person with an identifier, or why there is none; None if no one was looked for."""
    if not asked:
        return None
    if len(asked) > _MAX_TEXT:
        return {"person": None, "missing": f"An identifier has at most {_MAX_TEXT} characters."}
    await context.audit("person.look_up", {"identifier_sha256": hashed(asked)})
    view, missing = await part(_first(context, candidates(asked)), None)
    if view is None:
        return {"person": None, "missing": missing}
    return {"person": _brief(view, names), "missing": ""}


async def _first(context: Context[Any], identifiers: Sequence[str]) -> ProfileView:
    async with asking(context) as workers:
        for identifier in identifiers[:-1]:
            try:
                return await workers.profile(identifier)
            except (UnknownProfile, UserError):
                continue
        return await workers.profile(identifiers[-1])


def candidates(text: str) -> list[str]:
    """Return the identifiers that a text may be, the likeliest first.

    >>> candidates("Ann@X.example"), candidates("email:Ann@X"), candidates("u1")[:2]
    (['email:ann@x.example', 'user_id:Ann@X.example'], ['email:ann@x'], ['user_id:u1', 'anonymous_id:u1'])
    """
    kind, colon, value = text.partition(":")
    if colon and value and kind.replace("_", "").isalnum():
        return [f"{kind}:{value.lower() if kind == 'email' else value}"]
    if "@" in text:
        return [f"email:{text.lower()}", f"{USER}:{text}"]
    return [f"{each}:{text}" for each in _TYPES]


def _brief(view: ProfileView, names: Names) -> Data:
    return {
        "id": names.identifier(view.profile_id),
        "path": names.path(view.profile_id),
        "latest_ms": view.latest_ms,
        "identifiers": len(view.identifiers),
        "segments": [{"key": each.segment_key, "name": each.name} for each in view.memberships],
    }


# -- the members of a segment ------------------------------------------------------------------------------


async def _browsed(context: Context[Any], names: Names, key: str) -> Data | None:
    """Return a page of the members of a segment; None if none is chosen."""
    if not key:
        return None

    async def read() -> MembersNow:
        return await newest_members(context.settings, key, limit=_BROWSED)

    await context.audit("person.members", {"segment": key})
    (as_of_ms, found), missing = await part(
        _members.dated(key, context.now_ms, read), (None, MembersNow([], 0))
    )
    rows = _chosen(context, names, found.rows)
    page = _number(context.query.get("page", ""))
    shown = rows[page * _SHOWN : (page + 1) * _SHOWN]
    return {
        "total": found.total,
        "browsed": len(found.rows),
        "chosen": len(rows),
        "as_of_ms": as_of_ms,
        "missing": missing,
        "rows": [_row(each, names) for each in shown],
        "before": _page_address(context, page - 1) if page else "",
        "after": _page_address(context, page + 1) if len(rows) > (page + 1) * _SHOWN else "",
        "first": page * _SHOWN + 1,
    }


def _chosen(context: Context[Any], names: Names, rows: Sequence[MemberRow]) -> Sequence[MemberRow]:
    """Return the members that the filters of the address let through."""
    text = "" if names.masked else context.query.get("q", "").strip().lower()
    reason, leaving = context.query.get("reason", ""), context.query.get("leaving", "")
    return [
        each
        for each in rows
        if text in each.profile_id.lower()
        and reason in ("", each.reason)
        and (not leaving or each.flips_at is not None)
    ]


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0


def _page_address(context: Context[Any], page: int) -> str:
    return link("/people", {**context.query, "page": page or None})


def _row(row: MemberRow, names: Names) -> Data:
    return {
        "id": names.identifier(row.profile_id),
        "path": names.path(row.profile_id),
        "since_ms": row.occurred_at,
        "reason": row.reason,
        "reason_text": reason_text(row.reason),
        "until_ms": row.flips_at,
        "version": row.segment_version,
    }


PAGES: tuple[Page[Any], ...] = (Page("/people", "people.html", "People", _people),)
ACTIONS: tuple[Action[Any, Any], ...] = ()
