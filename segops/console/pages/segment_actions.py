"""Pausing, resuming and retiring a segment, as of the definition that the person saw."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from segops.console.board.board import Board
from segops.console.drafts.checking import fingerprint
from segops.console.drafts.publishing import difference, document_of
from segops.console.drafts.writing import written
from segops.console.page import Action, Conflict, Context, Done, NotFound, Page, Role
from segops.console.rendering import quoted
from segops.core.errors import UserError
from segops.core.segments import Definition
from segops.kafka.definitions import DefinitionLog
from segops.operations.definitions import DefinitionChange, commit, plan, plan_pause
from segops.schemas.segments import definition_from_record

#: How long the read model may take to hear of what was published.
_HEARD_S: Final = 5.0
_LOOK_S: Final = 0.05


class Seen(BaseModel):
    """``seen``: the fingerprint of the definition that the person saw."""

    model_config = ConfigDict(extra="forbid")

    seen: str


class Retiring(Seen):
    """``confirmation``: the key of the segment, typed by the person."""

    confirmation: str


Decide = Callable[[DefinitionLog], list[DefinitionChange]]


async def _pause(context: Context[Board], form: Seen) -> Done:
    return await _set_paused(context, form, paused=True)


async def _resume(context: Context[Board], form: Seen) -> Done:
    return await _set_paused(context, form, paused=False)


async def _set_paused(context: Context[Board], form: Seen, *, paused: bool) -> Done:
    key = context.arguments["key"]
    (change,) = await _publish(context, form, lambda log: plan_pause(log, [key], paused=paused))
    await _heard(context.board, lambda found: key in found and found[key].paused is paused)
    name = context.board.definitions[key].name if key in context.board.definitions else key
    return Done(
        f"/segments/{quoted(key)}", f"{name} is {'paused' if paused else 'live again'}.", _data(change)
    )


async def _retire(context: Context[Board], form: Retiring) -> Done:
    key = context.arguments["key"]
    if form.confirmation.strip() != key:
        raise UserError(f"type {key} to confirm that it is to be retired")
    users = [each.audience.key for each in context.board.audiences.values() if _uses(each, key)]
    if users:
        raise UserError(
            f"{key} is delivered or suppressed by the audiences {', '.join(sorted(users))}: retire them first"
        )
    (change,) = await _publish(context, form, lambda log: plan(log, (), prune=False, retire=[key]))
    await _heard(context.board, lambda found: key not in found)
    return Done(
        "/segments",
        f"{key} is retired. Its members leave it, and its key is never used again.",
        _data(change),
    )


def _uses(record: Any, key: str) -> bool:
    used = key == record.audience.segment or key in record.audience.suppress
    return record.state != "retired" and used


def _data(change: DefinitionChange) -> dict[str, Any]:
    return {"key": change.key, "action": change.action, "version": change.version}


async def _publish(context: Context[Board], form: Seen, decide: Decide) -> list[DefinitionChange]:
    """Publish a change of the segment as the person saw it. Raises Conflict if it is another one by now."""
    key, board = context.arguments["key"], context.board

    def checked(log: DefinitionLog) -> tuple[list[DefinitionChange], None]:
        now = log.live.get(key)
        if now is None and key not in log.retired:
            raise NotFound(f"There is no segment {key}.")
        if fingerprint(now) != form.seen:
            raise _conflict(board, key, form.seen, now)
        return decide(log), None

    return await commit(context.settings, checked)


def _conflict(board: Board, key: str, seen: str, now: Definition | None) -> Conflict:
    """Return that another person was first, with the difference to what was seen, if that is known."""
    if now is None:
        return Conflict(f"Another person retired {key} meanwhile. Nothing was done.", {"retired": True})
    texts = [written(document_of(each, board.definitions)) for each in (_seen(board, key, seen), now) if each]
    lines = difference(*texts) if len(texts) > 1 else []
    data = {"version": now.version, "paused": now.paused, "seen": fingerprint(now), "difference": lines}
    state = "paused" if now.paused else "not paused"
    is_now = f"it is at version {now.version} and {state}"
    return Conflict(f"Another person changed {key} meanwhile: {is_now}. Nothing was done.", data)


def _seen(board: Board, key: str, seen: str) -> Definition | None:
    """Return the definition with a fingerprint, if its record is known."""
    found = (definition_from_record(each.record) for each in board.editions(key))
    return next((each for each in found if fingerprint(each) == seen), None)


async def _heard(board: Board, holds: Callable[[Any], bool]) -> None:
    """Wait until the read model knows it, so that the next page shows it, but no longer than a moment."""
    try:
        async with asyncio.timeout(_HEARD_S):
            while not holds(board.definitions):
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        pass


PAGES: tuple[Page[Any], ...] = ()
ACTIONS: tuple[Action[Any, Any], ...] = (
    Action("/segments/{key}/pause", "segment.pause", Seen, _pause, Role.EDITOR),
    Action("/segments/{key}/resume", "segment.resume", Seen, _resume, Role.EDITOR),
    Action("/segments/{key}/retire", "segment.retire", Retiring, _retire, Role.EDITOR),
)
