"""What the read model knows that pages of people need. While it has read nothing, there is nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from segops.analytics.views import PopulationView
from segops.core.audiences.model import PREFIX
from segops.core.segments import Definition

_MOST_EVENTS: Final = 200
_MOST_PROPERTIES: Final = 40


def definitions_of(board: Any) -> Mapping[str, Definition]:
    """Return the published definitions by key."""
    found: Mapping[str, Definition] = getattr(board, "definitions", None) or {}
    return found


def segments_of(board: Any) -> list[dict[str, str]]:
    """Return the key and name of each published segment, by name; audiences follow."""
    found = [each for each in definitions_of(board).values() if not each.is_indicator]
    found.sort(key=lambda each: (each.key.startswith(PREFIX), each.name, each.key))
    return [{"key": each.key, "name": _name(each)} for each in found]


def _name(definition: Definition) -> str:
    return f"Audience {definition.name}" if definition.key.startswith(PREFIX) else definition.name


def population_of(board: Any) -> PopulationView | None:
    """Return the figures of all profiles; None while no partition has reported."""
    sizes = getattr(board, "sizes", None)
    found: PopulationView | None = None if sizes is None else sizes.population()
    return found


def worker_of(board: Any) -> str | None:
    """Return the address of a worker that answered last; None if none is known."""
    workers = getattr(board, "workers", None) or ()
    return next((str(each.url) for each in workers if each.answers), None)


def events_of(board: Any) -> list[dict[str, Any]]:
    """Return the events of the catalogue, each with its properties and their types, for a form."""
    listed = list(getattr(board, "catalogue", None) or ())[:_MOST_EVENTS]
    return [
        {
            "name": each.event,
            "properties": [
                {"name": field.name, "type": field.type} for field in each.properties[:_MOST_PROPERTIES]
            ],
        }
        for each in listed
    ]
