"""Publication of a draft, unless the segment was changed since the person began to edit it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from segops.config import Settings
from segops.console.drafts.checking import Checked, fingerprint
from segops.console.drafts.writing import written
from segops.core.errors import DefinitionError, UserError
from segops.core.scans import Limits
from segops.core.segments import Definition
from segops.kafka.definitions import DefinitionLog
from segops.operations import plans
from segops.operations.completing import models_in_force
from segops.operations.definitions import DefinitionChange, plan
from segops.operations.plans import Wait
from segops.schemas.completing import completed
from segops.schemas.definition_blocks import written_blocks
from segops.schemas.segments import definition_from_record, definition_to_record

#: Keys of a published record that a person does not write.
_RECORD_ONLY: Final = ("version", "paused", "lists", "lookups", "models")


class Stale(Exception):
    """The segment is not what the person saw. ``definition``: the published one, None if it was retired."""

    def __init__(self, key: str, definition: Definition | None) -> None:
        by = "was retired" if definition is None else f"is now at version {definition.version}"
        super().__init__(f"another person published {key!r} meanwhile: it {by}. Nothing was written.")
        self.definition = definition


class Edit(NamedTuple):
    """A draft to publish. ``seen``: the fingerprint of the published definition that the edit began with."""

    found: Checked
    seen: str


def decide(edit: Edit, log: DefinitionLog) -> list[DefinitionChange]:
    """Return what publishing a draft changes. Raises Stale, and what ``definitions.plan`` raises."""
    definition = edit.found.definition
    if definition is None:
        raise DefinitionError(edit.found.errors)
    former = log.live.get(definition.key)
    if fingerprint(former) != edit.seen:
        raise Stale(definition.key, former)
    indicators = [each for each in edit.found.beside if each.is_indicator]
    # The models in force may be newer than those that the draft was checked with.
    models = models_in_force(log)
    return plan(log, [completed(each, models) for each in (definition, *indicators)], prune=False)


async def publish(settings: Settings, edit: Edit, *, limited: bool, wait_s: float) -> list[DefinitionChange]:
    """Publish a draft and the indicators of its file. Raises Stale, and what ``plans.publish`` raises.

    ``limited``: refuse, with TooMuch, what moves more of a segment than the usual limits allow.
    """
    limits = Limits() if limited else None
    return await plans.publish(settings, lambda log: decide(edit, log), limits=limits, wait=Wait(wait_s))


def document_of(definition: Definition, published: Mapping[str, Definition]) -> dict[str, Any]:
    """Return a published definition as a segment file that means the same.

    Indicators that are published themselves are written as they are there; the others only name a figure.
    Look-up tables and models are left out: drafts read the published ones.
    """
    record = msgspec.json.decode(definition_to_record(definition))
    blocks = {name: each for name, each in written_blocks(definition).items() if name not in _RECORD_ONLY}
    if "indicators" in blocks:
        blocks["indicators"] = {
            name: _indicator(name, figure, published) for name, figure in blocks["indicators"].items()
        }
    segment = {name: value for name, value in record.items() if name not in (*_RECORD_ONLY, *blocks)}
    segment = {name: value for name, value in segment.items() if not _is_default(name, value, definition)}
    return {"version": 1, **blocks, "segments": [segment]}


def _indicator(name: str, figure: Any, published: Mapping[str, Definition]) -> Any:
    own = published.get(f"indicator:{name}")
    return {**figure, "publish": False} if own is None else own.written


def _is_default(name: str, value: Any, definition: Definition) -> bool:
    return (name == "description" and not value) or (name == "name" and value == definition.key)


def difference(one: str, other: str) -> list[dict[str, str]]:
    r"""Return the difference of two texts by line; ``kind``: ``same``, ``removed`` or ``added``.

    >>> [each["kind"] for each in difference("a\nb", "a\nc")]
    ['same', 'removed', 'added']
    """
    kinds = {"  ": "same", "- ": "removed", "+ ": "added"}
    lines = difflib.ndiff(one.splitlines(), other.splitlines())
    return [{"kind": kinds[each[:2]], "text": each[2:]} for each in lines if each[:2] in kinds]


def stale_form(stale: Stale, text: str, published: Mapping[str, Definition]) -> dict[str, Any]:
    """Return both sides of a stale edit: the published definition now, the draft, and their difference."""
    if stale.definition is None:
        return {
            "published": None,
            "published_json": None,
            "seen": "",
            "version": 0,
            "draft": text,
            "difference": [],
        }
    form = document_of(stale.definition, published)
    now = written(form)
    return {
        "published": now,
        "published_json": msgspec.json.encode(form).decode(),
        "seen": fingerprint(stale.definition),
        "version": stale.definition.version,
        "draft": text,
        "difference": difference(now, text),
    }


def change_form(change: DefinitionChange) -> dict[str, Any]:
    """Return a change for the person who published it."""
    return {
        "key": change.key,
        "action": change.action,
        "version": change.version,
        "reason": change.reason,
        "waits": change.waits,
    }


def fingerprint_of(record: bytes) -> str:
    """Return the fingerprint of a definition whose record was just published."""
    return fingerprint(definition_from_record(record))


def not_published(error: UserError) -> str:
    """Return why nothing was published, for a person who has no command line."""
    return str(error).partition("\nraise --max-changes")[0]
