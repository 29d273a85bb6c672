"""Data: where events come from, what they look like, what violates their plans, and what was rejected."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, Final

from pydantic import BaseModel

from segops.catalogue.views import EventView, FieldView
from segops.config import Settings
from segops.console.page import Action, Context, Data, Done, NotFound, Page, Role
from segops.console.pages import _sources as sources
from segops.console.pages._activation import chosen, curl, found_by, paged, part
from segops.console.rendering import quoted
from segops.core.errors import UserError
from segops.operations import dead_letters
from segops.operations.dead_letters import DeadLetter, Letters, tried
from segops.tracking.reports import published_since
from segops.tracking.violations import ViolationRecord, summed

_HOURS: Final = (1, 24, 168)
_HOUR_MS: Final = 3_600_000
_LETTERS: Final = 500
_SHOWN_BYTES: Final = 16_384
_LINE: Final = 16
_TABS: Final = (
    ("/data", "Sources"),
    ("/data/catalogue", "Catalogue"),
    ("/data/violations", "Violations"),
    ("/data/models", "Models"),
    ("/data/dead-letters", "Dead letters"),
)


def tabs() -> list[dict[str, str]]:
    """Return the pages of data and of what is made of them."""
    return [{"href": href, "label": label} for href, label in _TABS]


# -- sources -----------------------------------------------------------------------------------------------


async def _sources(context: Context[Any]) -> Data:
    missing: list[str] = []
    settings = context.settings
    return {
        "as_of_ms": context.board.as_of_ms,
        "tabs": tabs(),
        "topics": await part(missing, "mapped topics", sources.mapped_topics(settings), []),
        "pulls": await part(missing, "pulls and imports", sources.pulls(settings), []),
        "seen": sources.seen(_events(context)),
        "shops": sources.shops(settings),
        "missing": missing,
        "cli": "segops sources list\nsegops catalogue",
        "curl": curl(context, "/data.json"),
    }


# -- the catalogue -----------------------------------------------------------------------------------------


async def _catalogue(context: Context[Any]) -> Data:
    query, events = context.query, _events(context)
    name = query.get("event", "")
    one = next((each for each in events if each.event == name), None) if name else None
    if name and one is None:
        raise NotFound(f"The catalogue has no event {name[:100]}.")
    rows = [_event(each) for each in events if query.get("source") in (None, "", *each.sources)]
    shown, page_number, pages = paged(found_by(rows, query.get("q", ""), ["event", "names"]), query)
    return {
        "as_of_ms": context.board.as_of_ms,
        "tabs": tabs(),
        "events": [] if one is not None else list(shown),
        "count": len(rows),
        "event": None
        if one is None
        else {**_event(one), "properties": [_field(each) for each in one.properties]},
        "page_number": page_number,
        "pages": pages,
        "q": query.get("q", ""),
        "source": query.get("source", ""),
        "sources": sorted({source for each in events for source in each.sources}),
        "cli": f"segops catalogue show '{name}'"
        if one is not None and name.isalnum()
        else "segops catalogue",
        "curl": curl(context, "/data/catalogue.json"),
    }


def _events(context: Context[Any]) -> list[EventView]:
    """Return the events of the catalogue, and the traits if there are any."""
    board = context.board
    return [*board.catalogue, *([] if board.traits is None else [board.traits])]


def _event(each: EventView) -> dict[str, Any]:
    return {
        "event": each.event,
        "href": f"/data/catalogue?event={quoted(each.event)}",
        "sources": each.sources,
        "count": each.count,
        "per_day": each.per_day,
        "first_ms": each.first_ms,
        "last_ms": each.last_ms,
        "fields": len(each.properties),
        "names": " ".join(one.name for one in each.properties[:50]),
        "others": each.others,
        "days": _days(each),
    }


def _days(each: EventView) -> list[dict[str, Any]]:
    return [{"day": day, "count": count} for day, count in list(each.days.items())[-14:]]


def _field(each: FieldView) -> dict[str, Any]:
    return {
        "name": each.name,
        "share": each.share,
        "types": ", ".join(f"{name} {number:,}" for name, number in each.types.items()),
        "values": ", ".join(f"{value} {number:,}" for value, number in (each.values or {}).items()),
        "range": None if each.range is None else f"{each.range[0]:g} to {each.range[1]:g}",
    }


# -- violations --------------------------------------------------------------------------------------------


async def _violations(context: Context[Any]) -> Data:
    missing, query = list[str](), context.query
    asked = query.get("hours", "24")
    hours = int(asked) if asked in map(str, _HOURS) else 24
    since_ms = context.now_ms - hours * _HOUR_MS
    found = await part(missing, "violations", _read_violations(context.settings, since_ms), [])
    rows = [_violation(each) for each in found]
    listed = chosen(rows, query, ["source", "reason"])
    shown, page_number, pages = paged(listed, query)
    return {
        "as_of_ms": context.now_ms if not missing else None,
        "tabs": tabs(),
        "violations": list(shown),
        "count": sum(each["count"] for each in listed),
        "page_number": page_number,
        "pages": pages,
        "hours": hours,
        "source": query.get("source", ""),
        "reason": query.get("reason", ""),
        "sources": sorted({each["source"] for each in rows}),
        "reasons": sorted({each["reason"] for each in rows}),
        "spans": [str(each) for each in _HOURS],
        "missing": missing,
        "cli": f"segops tracking-plans violations --hours {hours}",
        "curl": curl(context, f"/data/violations.json?hours={hours}"),
    }


async def _read_violations(settings: Settings, since_ms: int) -> Sequence[ViolationRecord]:
    async with aclosing(published_since(settings, since_ms)) as batches:
        return summed(await anext(batches))


def _violation(each: ViolationRecord) -> dict[str, Any]:
    return {
        "source": each.source,
        "event": each.event,
        "reason": each.reason,
        "path": each.path,
        "expected": each.expected,
        "got": each.got,
        "action": each.action,
        "tone": {"rejected": "bad", "warned": "warn"}.get(each.action, "neutral"),
        "count": each.count,
        "first_ms": each.first_ms,
        "last_ms": each.last_ms,
    }


# -- dead letters ------------------------------------------------------------------------------------------


async def _dead_letters(context: Context[Any]) -> Data:
    missing, query = list[str](), context.query
    reading = dead_letters.latest(context.settings, _LETTERS)
    found = await part(missing, "dead letters", reading, Letters([], 0))
    rows = [_letter(context, each) for each in found.letters]
    listed = chosen(rows, query, ["reason"])
    shown, page_number, pages = paged(listed, query)
    return {
        "as_of_ms": context.now_ms if not missing else None,
        "tabs": tabs(),
        "letters": list(shown),
        "count": len(listed),
        "read": len(rows),
        "total": found.total,
        "by_reason": _by_reason(rows),
        "page_number": page_number,
        "pages": pages,
        "reason": query.get("reason", ""),
        "reasons": sorted({each["reason"] for each in rows}),
        "missing": missing,
        "cli": "segops dead-letters list",
        "curl": curl(context, "/data/dead-letters.json"),
    }


def _letter(context: Context[Any], each: DeadLetter) -> dict[str, Any]:
    """Return a dead letter without its bytes, and its detail, which may name a person, for who may see it."""
    verdict = tried(each, context.settings, now_ms=context.now_ms)
    return {
        "id": each.id,
        "href": f"/data/dead-letters/{quoted(each.id)}",
        "at_ms": each.at_ms,
        "reason": each.reason,
        "detail": each.detail if context.user.sees_personal_data else "",
        "origin": each.origin,
        "bytes": len(each.value or b""),
        "cut": each.cut,
        "replayable": verdict.profile_id is not None,
        "refused": verdict.refused if context.user.sees_personal_data else "",
    }


def _by_reason(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    counts: dict[str, int] = {}
    for each in rows:
        counts[each["reason"]] = counts.get(each["reason"], 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [
        {"reason": reason, "href": f"/data/dead-letters?reason={quoted(reason)}", "count": count}
        for reason, count in ordered
    ]


async def _dead_letter(context: Context[Any]) -> Data:
    """Return a dead letter with its bytes, for those who may see personal data."""
    missing, name = list[str](), context.arguments["id"]
    letter = await part(missing, "the dead letter", _find(context.settings, name), None)
    found: dict[str, Any] = {"letter": None, "text": None, "hex": None, "profile_id": None, "shown_bytes": 0}
    if letter is not None:
        found["letter"] = _letter(context, letter)
        if context.user.sees_personal_data:
            await context.audit("dead_letter.read", {"id": letter.id})
            verdict = tried(letter, context.settings, now_ms=context.now_ms)
            data = (letter.value or b"")[:_SHOWN_BYTES]
            found |= {
                "text": text_of(data),
                "hex": hex_of(data),
                "profile_id": verdict.profile_id,
                "shown_bytes": len(data),
            }
    return {
        **found,
        "id": name[:100],
        "tabs": tabs(),
        "missing": missing,
        "cli": f"segops dead-letters show {name[:40]}",
        "curl": curl(context, f"/data/dead-letters/{quoted(name[:40])}.json"),
    }


async def _find(settings: Settings, name: str) -> DeadLetter:
    try:
        (found,) = await dead_letters.find(settings, [name])
    except dead_letters.UnknownLetter as error:
        raise NotFound(str(error)) from None
    return found


def text_of(data: bytes) -> str:
    r"""Return bytes as text: invalid UTF-8, and control characters but line feeds, are escaped.

    >>> text_of(b'{"a": "\xff\x00\xe2\x80\xae"}')
    '{"a": "\\xff\\x00\\u202e"}'
    """
    text = data.decode(errors="backslashreplace")
    return "".join(each if each.isprintable() or each == "\n" else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def hex_of(data: bytes) -> str:
    r"""Return bytes as lines of offset, hexadecimal digits and printable characters.

    >>> hex_of(b"a\x00")
    '00000000  61 00                                            a.'
    """
    lines = []
    for at in range(0, len(data), _LINE):
        piece = data[at : at + _LINE]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in piece)
        lines.append(f"{at:08x}  {piece.hex(' '):<{3 * _LINE - 1}}  {shown}")
    return "\n".join(lines)


class Replay(BaseModel):
    """Replays one dead letter."""


async def _replay(context: Context[Any], form: Replay) -> Done:
    letter = await _find(context.settings, context.arguments["id"])
    (found,) = await dead_letters.replay(context.settings, [letter])
    if found.profile_id is None:
        raise UserError(f"Nothing was sent: {found.refused}.")
    return Done(
        f"/data/dead-letters/{quoted(letter.id)}", "Sent to the events topic once more.", {"id": letter.id}
    )


PAGES: tuple[Page[Any], ...] = (
    Page("/data", "data.html", "Data", _sources),
    Page("/data/catalogue", "catalogue.html", "Catalogue", _catalogue),
    Page("/data/violations", "violations.html", "Violations", _violations),
    Page("/data/dead-letters", "dead_letters.html", "Dead letters", _dead_letters),
    Page("/data/dead-letters/{id}", "dead_letter.html", "Dead letter", _dead_letter),
)
ACTIONS: tuple[Action[Any, Any], ...] = (
    Action("/data/dead-letters/{id}/replay", "dead_letter.replay", Replay, _replay, Role.ADMIN),
)
