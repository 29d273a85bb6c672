"""Tracking plans drafted from the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from segops.catalogue.counters import OTHERS, Entry
from segops.catalogue.views import FieldView, is_closed, views
from segops.schemas.shown import HIDDEN

#: So many events must have a property before it is drafted as required.
_ENOUGH: Final = 20
#: The names of sources of the collector, which plans are for. Those of mapped topics mostly differ.
_SOURCE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_CALLS: Final = ("identify", "group", "page", "screen")
_TYPES: Final = {"list": "array", "iso2": "string", "date": "string"}


def drafted_plans(entries: Iterable[Entry], source: str | None, *, profiles: int) -> list[dict[str, Any]]:
    """Return the drafts of plans by source, as they are written. ``source``: of this one only.

    The draft of an event has the types that occurred; it requires what all events had.
    """
    known = list(entries)
    sources = sorted({entry.source for entry in known if _SOURCE.fullmatch(entry.source)})
    return [_plan(known, each, profiles) for each in sources if source in (None, each)]


def _plan(entries: list[Entry], source: str, profiles: int) -> dict[str, Any]:
    events, traits = views(entries, source=source, profiles=profiles)
    named = [each for each in events if each.event not in (HIDDEN, OTHERS, *_CALLS, "alias")]
    plan: dict[str, Any] = {"source": source, "violations": "warn", "unknown_events": "warn"}
    plan["events"] = {each.event: {"schema": _schema(each.properties, each.read)} for each in named}
    if traits is not None and any(each.event == "identify" for each in events):
        plan["identify"] = {"schema": _schema(traits.properties, 0)}
    return plan


def _schema(fields: Iterable[FieldView], read: int) -> dict[str, Any]:
    """Return the JSON Schema of the fields at the top; ``read``: how many events show what is required."""
    top = [each for each in sorted(fields, key=lambda each: each.name) if _is_top(each)]
    required = [each.name for each in top if each.share == 1 and read >= _ENOUGH]
    schema: dict[str, Any] = {"type": "object"}
    if required:
        schema["required"] = required
    return {**schema, "properties": {each.name: _property(each) for each in top}}


def _is_top(field: FieldView) -> bool:
    return HIDDEN not in field.name and "." not in field.name


def _property(field: FieldView) -> dict[str, Any]:
    if set(field.types) == {"string"} and is_closed(field):
        return {"enum": sorted(field.values or ())}
    types = sorted({_TYPES.get(each, each) for each in field.types})
    if set(field.types) == {"date"}:
        return {"type": "string", "description": "a date or time"}
    return {"type": types[0] if len(types) == 1 else types}
