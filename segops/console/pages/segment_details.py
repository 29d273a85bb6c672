"""Parts of a segment's page that take time: members, forecast, overlap, funnel. Pages load them on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec
from aiokafka.errors import KafkaError

from segops.config import Settings
from segops.console.board.board import Board
from segops.console.drafts.estimating import share_of
from segops.console.page import Action, Context, Data, Page
from segops.console.pages._board import REASONS
from segops.console.pages.segment import definition_of
from segops.console.rendering import address, quoted
from segops.core.errors import SegopsError
from segops.core.segments import Definition
from segops.core.views.history import PastMembership
from segops.operations.history import current_members
from segops.operations.scans import patient_scan
from segops.schemas.scan_views import view_estimate, view_forecast, view_overlap
from segops.schemas.scans import ForecastRequest, OverlapRequest, Question, Scanned, estimate_request
from segops.wall_clock import wall_ms

MEMBERS: Final = 50
_PART_S: Final = 15.0
#: More members are not listed here: their list takes too long to read.
_MOST_PAGES: Final = 2_000


async def _part(context: Context[Board], make: Callable[[], Awaitable[Data]]) -> Data:
    """Return a part of the page, or why it is missing."""
    try:
        async with asyncio.timeout(min(_PART_S, context.settings.console.timeout_ms / 1000 - 1)):
            return {"missing": "", **await make()}
    except TimeoutError:
        return {"missing": "this takes long; it goes on, try again in a minute"}
    except (SegopsError, KafkaError, OSError) as error:
        return {"missing": str(error)}


async def _scanned(context: Context[Board], question: Question) -> Scanned:
    """Return the result of a scan, which is kept for a minute."""
    settings = context.settings
    key = msgspec.json.encode(question)
    return await context.board.scanned.get(key, lambda: patient_scan(settings, question, wait_s=120))


# -- forecast, overlap, funnel -------------------------------------------------------------------------------


async def _forecast(context: Context[Board]) -> Data:
    key = definition_of(context).key

    async def make() -> Data:
        view = view_forecast(await _scanned(context, ForecastRequest((key,))))
        (found,) = view.segments
        members = found.members
        days = [(each.from_ms, each.entered, each.left) for each in found.days]
        hours = [(each.from_ms, each.entered, each.left) for each in found.hours]
        return {
            "as_of_ms": view.from_ms,
            "members": members,
            "hours": hours,
            "days": days,
            "in_24h": members + sum(entered - left for _, entered, left in hours),
            "in_30d": members + sum(entered - left for _, entered, left in days),
            "cut": view.cut,
            "cli": f"segops forecast {key} --days",
        }

    return await _part(context, make)


async def _overlap(context: Context[Board]) -> Data:
    key, other = definition_of(context).key, context.query.get("with", "")
    if other == key or other not in context.board.definitions:
        return {"missing": "choose another segment"}

    async def make() -> Data:
        view = view_overlap(await _scanned(context, OverlapRequest((key, other))))
        both, name = view.in_all, context.board.definitions[other].name
        return {
            "as_of_ms": view.from_ms,
            "other": other,
            "name": name,
            "sizes": view.sizes,
            "both": both,
            "only_this": view.sizes[key] - both,
            "only_other": view.sizes[other] - both,
            "of_this": both / view.sizes[key] if view.sizes[key] else None,
            "of_other": both / view.sizes[other] if view.sizes[other] else None,
            "cli": f"segops overlap {key} {other}",
        }

    return await _part(context, make)


async def _funnel(context: Context[Board]) -> Data:
    definition = definition_of(context)

    async def make() -> Data:
        population = context.board.sizes.population()
        share = share_of(None if population is None else population.known)
        drafts = [*_drafts(context.board, definition)]
        asked = estimate_request(definition.key, drafts, share=share, funnel=True)
        view = view_estimate(await _scanned(context, asked))
        return {
            "as_of_ms": view.from_ms,
            "sample": view.sample,
            "evaluated": view.evaluated,
            "members": msgspec.to_builtins(view.members),
            "nodes": [msgspec.to_builtins(each) for each in view.funnel],
            "incomplete": view.incomplete,
            "cli": f"segops estimate {definition.key}.yaml --funnel",
        }

    return await _part(context, make)


def _drafts(board: Board, definition: Definition) -> list[Definition]:
    return board.log.bound([definition])


# -- members -------------------------------------------------------------------------------------------------


class _Listed(msgspec.Struct, frozen=True):
    at_ms: int
    members: Sequence[PastMembership]


async def _members(context: Context[Board]) -> Data:
    definition = definition_of(context)
    key, at = definition.key, context.query.get("at", "")
    first = min(int(at), MEMBERS * _MOST_PAGES) // MEMBERS * MEMBERS if at.isdecimal() and len(at) < 9 else 0
    personal = context.user.sees_personal_data

    async def make() -> Data:
        found = await context.board.scanned.get(("members", key), lambda: _read(context.settings, key))
        shown = found.members[first : first + MEMBERS]
        if personal and shown:
            await context.audit("segment.members", {"segment": key, "from": first, "count": len(shown)})
        path, total = f"/segments/{quoted(key)}/members", len(found.members)
        return {
            "as_of_ms": found.at_ms,
            "total": total,
            "from": first + 1 if shown else 0,
            "until": first + len(shown),
            "masked": not personal,
            "members": [_member(each, first + n, personal) for n, each in enumerate(shown, 1)],
            "before": address(path, {"at": first - MEMBERS or None}) if first else "",
            "after": address(path, {"at": first + MEMBERS}) if first + MEMBERS < total else "",
        }

    part = await _part(context, make)
    head = {"key": key, "name": definition.name, "path": f"/segments/{quoted(key)}"}
    curl = f"curl {context.settings.console.address}{head['path']}/members.json"
    return {**_NOBODY, **head, **part, "cli": f"segops members {key} --limit {MEMBERS}", "curl": curl}


_NOBODY: Final[Data] = {
    "as_of_ms": None,
    "total": 0,
    "from": 0,
    "until": 0,
    "masked": False,
    "members": [],
    "before": "",
    "after": "",
}


async def _read(settings: Settings, key: str) -> _Listed:
    """Return all members, read in a thread with a loop of its own, since it may be many records."""
    at_ms = wall_ms()
    found = await asyncio.to_thread(lambda: asyncio.run(current_members(settings, key)))
    return _Listed(at_ms, sorted(found, key=lambda each: (-(each.since or 0), each.profile_id)))


def _member(each: PastMembership, number: int, personal: bool) -> dict[str, Any]:
    return {
        "profile_id": each.profile_id if personal else None,
        "name": each.profile_id if personal else f"Person {number:,}",
        "href": f"/people/{quoted(each.profile_id)}" if personal else "",
        "since_ms": each.since,
        "why": "" if each.reason is None else f"entered {REASONS.get(each.reason, each.reason)}",
        "until_ms": each.until,
        "version": each.version,
    }


PAGES: tuple[Page[Any], ...] = (
    Page("/segments/{key}/members", "members.html", "Members", _members),
    Page("/segments/{key}/forecast", "", "Forecast", _forecast),
    Page("/segments/{key}/overlap", "", "Overlap", _overlap),
    Page("/segments/{key}/funnel", "", "Funnel", _funnel),
)
ACTIONS: tuple[Action[Any, Any], ...] = ()
