"""Events for the catalogue, and what it then holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from segops.catalogue.counters import Catalogue, Entry, Field, Key
from segops.catalogue.views import FieldView, views
from segops.core.events import Event

DAY_MS = 86_400_000
#: Profiles that differ in their bits, with the salt of these tests.
MANY = [f"user_id:u{number}" for number in range(200)]


def event(name: str = "A", time_ms: int = 0, traits: Any = None, /, **properties: Any) -> Event:
    return Event(name, time_ms, "m", properties, traits)


def counted(events: Iterable[tuple[str, Event, str]], profiles: int = 3) -> Catalogue:
    """Return the catalogue of events, each with its source and its profile."""
    catalogue = Catalogue("salt", profiles)
    for source, each, profile in events:
        catalogue.observe(source, each, profile)
    return catalogue


def of_many(*values: Any, name: str = "x", people: int = 40) -> Catalogue:
    """Return the catalogue after each value was a property of events of several profiles."""
    return counted(("web", event(**{name: value}), MANY[n]) for value in values for n in range(people))


def field_of(catalogue: Catalogue, name: str = "x", *, event_name: str = "A") -> Field:
    return catalogue.entries[Key("event", "web", event_name)].fields[name]


def shown(catalogue: Catalogue, name: str = "x") -> FieldView:
    events, _ = views(catalogue.entries.values(), profiles=3)
    return next(each for each in events[0].properties if each.name == name)


def stored(catalogue: Catalogue) -> str:
    """Return all that is published of a catalogue."""
    return msgspec.json.encode(list(catalogue.entries.values())).decode()


def without_texts(entry: Entry) -> Any:
    """Return an entry for comparison: which text is kept depends on who saw it first."""
    found = msgspec.to_builtins(entry)
    for field in found["fields"].values():
        if field["labels"] is not None:
            field["labels"] = {key: label[:2] for key, label in field["labels"].items()}
    return found
