"""What the builder's pickers offer: events, properties, traits and keys, with types, values and volumes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from segops.catalogue.counters import OTHERS
from segops.catalogue.views import EventView, FieldView
from segops.core.indicators import INDICATOR_PREFIX
from segops.core.segments import Definition
from segops.core.static_lists import lists_of
from segops.schemas.shown import HIDDEN

#: Values of a property that are offered, the most frequent first.
_VALUES: Final = 50


def catalogue_form(
    events: Iterable[EventView],
    traits: EventView | None,
    published: Mapping[str, Definition],
    *,
    sizes: Mapping[str, int],
) -> dict[str, Any]:
    """Return the catalogue for the builder. ``sizes``: the members of segments by key, as far as known."""
    segments = [each for each in published.values() if not each.is_indicator and ":" not in each.key]
    return {
        "events": [_event_form(each) for each in events if each.event not in (HIDDEN, OTHERS)],
        "traits": [] if traits is None else _fields(traits.properties),
        "segments": [
            {"key": each.key, "name": each.name, "members": sizes.get(each.key)} for each in segments
        ],
        "indicators": sorted(
            each.key.removeprefix(INDICATOR_PREFIX) for each in published.values() if each.is_indicator
        ),
        "lists": sorted({key for each in segments for key in lists_of(each.when)}),
        "lookups": _columns(segments),
    }


def _columns(segments: Iterable[Definition]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for each in segments:
        for column in each.columns:
            found.setdefault(column.table, set()).add(column.name)
    return {table: sorted(names) for table, names in sorted(found.items())}


def _event_form(event: EventView) -> dict[str, Any]:
    return {
        "name": event.event,
        "per_day": event.per_day,
        "count": event.count,
        "last_ms": event.last_ms,
        "properties": _fields(event.properties),
    }


def _fields(fields: Iterable[FieldView]) -> list[dict[str, Any]]:
    return [
        {
            "name": each.name,
            "type": each.type,
            "share": each.share,
            "values": [[value, count] for value, count in (each.values or {}).items()][:_VALUES],
            "range": each.range,
        }
        for each in fields
        if HIDDEN not in each.name
    ]
