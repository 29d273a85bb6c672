"""The sandbox of a person: imaginary events and a clock that moves; nothing is stored."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from segops.console.page import Action, Context, Data, Page
from segops.console.pages.person import identifier_in, profile_of
from segops.console.people.asking import asking
from segops.console.people.handles import Names
from segops.console.people.known import events_of
from segops.console.people.links import curl_of
from segops.console.people.shown import sandbox_data
from segops.core.errors import SegopsError, UserError
from segops.core.values import MAX_MS, format_instant
from segops.operations.workers import Workers
from segops.schemas.sandbox import MAX_DAYS, MAX_EVENTS, SandboxForm

_DAY_MS: Final = 86_400_000
_DEFAULT_DAYS: Final = 60.0
_SANDBOX_S: Final = 15.0


async def _sandbox(context: Context[Any]) -> Data:
    names = Names(context.settings, context.user)
    identifier = identifier_in(context, names)
    await context.audit("person.read", {"part": "sandbox"})
    written, asked = context.query.get("events", ""), context.query.get("days", "")
    async with asking(context, timeout_s=_SANDBOX_S) as workers:
        view = await profile_of(workers, identifier)
        result, problem = await _played(workers, view.profile_id, view.now_ms, written, asked)
    path, days = names.path(view.profile_id), _shown_days(asked)
    shown = None if result is None else sandbox_data(result, names)
    return {
        "id": names.identifier(view.profile_id),
        "path": path,
        "masked": names.masked,
        "clock_ms": view.now_ms,
        "events": written,
        "days": days,
        "max_days": MAX_DAYS,
        "max_events": MAX_EVENTS,
        "result": None if shown is None else {**shown, **_stretches(shown)},
        "problem": problem,
        "catalogue": events_of(context.board),
        "cli": f"segops sandbox {'ID' if names.masked else shlex.quote(view.profile_id)} --days {days}",
        "curl": curl_of(context, f"{path}/sandbox", context.query),
    }


async def _played(
    workers: Workers, profile_id: str, clock_ms: int, written: str, days: str
) -> tuple[Any, str]:
    """Return the result, or None and what is wrong with the request."""
    try:
        form = SandboxForm(list(_events(written, clock_ms)), None, _days(days))
        return await workers.sandbox(profile_id, form), ""
    except SegopsError as error:
        return None, str(error)


def _shown_days(text: str) -> str:
    try:
        return f"{_days(text):g}"
    except UserError:
        return f"{_DEFAULT_DAYS:g}"


def _days(text: str) -> float:
    try:
        found = float(text) if text else _DEFAULT_DAYS
    except ValueError:
        found = math.nan
    if not 0 <= found <= MAX_DAYS:
        raise UserError(f"days: expected 0 to {MAX_DAYS}, got {text[:40]!r}")
    return found


def _events(written: str, clock_ms: int) -> Iterator[dict[str, Any]]:
    """Yield the events of a JSON list; ``day`` stands for a time that many days after the clock."""
    try:
        listed = msgspec.json.decode(written or "[]", type=list[dict[str, Any]])
    except (msgspec.MsgspecError, UnicodeEncodeError) as error:
        raise UserError(f"events: expected a JSON list of events: {error}") from None
    for number, fields in enumerate(listed):
        event = dict(fields)
        day = event.pop("day", None)
        if day is not None and "timestamp" not in event:
            event["timestamp"] = format_instant(_at_ms(day, number, clock_ms))
        yield event


def _at_ms(day: object, number: int, clock_ms: int) -> int:
    if not isinstance(day, int | float) or not -4_000 <= day <= MAX_DAYS:
        raise UserError(f"events[{number}]: day: expected a number of days up to {MAX_DAYS}")
    return min(MAX_MS, clock_ms + round(day * _DAY_MS))


def _stretches(result: Data) -> Data:
    """Return a lane per segment with the stretches of membership, as shares of the time shown."""
    begin, end = result["now_ms"], max(result["until_ms"], result["now_ms"] + 1)
    begin = min([begin, *(each["at_ms"] for each in result["changes"])])
    members = {each["segment"]: begin for each in result["before"]}
    titles = {each["segment"]: each["name"] for each in (*result["before"], *result["changes"])}
    spans: dict[str, list[Mapping[str, float]]] = {key: [] for key in titles}

    def close(key: str, at_ms: int) -> None:
        low, high = (members.pop(key) - begin) / (end - begin), (at_ms - begin) / (end - begin)
        spans[key].append({"x": round(1_000 * low, 2), "width": round(max(2, 1_000 * (high - low)), 2)})

    for each in result["changes"]:
        if each["action"] == "entered":
            members[each["segment"]] = each["at_ms"]
        elif each["segment"] in members:
            close(each["segment"], each["at_ms"])
    for key in list(members):
        close(key, end)
    moved = {each["segment"] for each in result["changes"]}
    lanes = [
        {"segment": key, "name": titles[key], "spans": found, "moves": key in moved}
        for key, found in spans.items()
    ]
    return {
        "lanes": sorted(lanes, key=lambda row: (not row["moves"], row["name"])),
        "begin_ms": begin,
        "end_ms": end,
    }


PAGES: tuple[Page[Any], ...] = (Page("/people/{id}/sandbox", "sandbox.html", "Sandbox", _sandbox),)
ACTIONS: tuple[Action[Any, Any], ...] = ()
