"""A tracking plan: the events of a source, the schemas of their properties, what follows a violation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

Mode = Literal["allow", "warn", "reject"]
MODES: Final = ("allow", "warn", "reject")
PropertyMode = Literal["allow", "warn", "omit", "reject"]
#: ``omit``: the event is accepted without the properties.
PROPERTY_MODES: Final = ("allow", "warn", "omit", "reject")
#: The calls beside ``track`` that a plan may describe, each with the field that its schema is of.
CALLS: Final[Mapping[str, str]] = {
    "identify": "traits",
    "group": "traits",
    "page": "properties",
    "screen": "properties",
}
#: Values of the label ``reason`` of violations.
VIOLATION_REASONS: Final = ("unknown_event", "unknown_property", "missing", "type", "value")


class Schema(msgspec.Struct, frozen=True):
    """A JSON Schema as it is compiled: references are replaced, annotations left out.

    ``patterns``: the regular expressions, which the schema names as formats.
    """

    definition: Mapping[str, Any]
    patterns: Mapping[str, str] = {}

    @property
    def names(self) -> frozenset[str]:
        """The properties that the schema names at its top."""
        return frozenset(self.definition.get("properties", ()))


class PlannedEvent(msgspec.Struct, frozen=True):
    """What a plan says of one event, or one kind of call. Without a schema any properties conform."""

    violations: Mode
    unknown_properties: PropertyMode
    schema: Schema | None = None


class TrackingPlan(msgspec.Struct, frozen=True):
    """The plan of a source: ``events`` by the names of track calls, ``calls`` by the other kinds.

    ``written``: the plan as people wrote it. ``at_ms``: when it was published.
    """

    source: str
    events: Mapping[str, PlannedEvent]
    calls: Mapping[str, PlannedEvent]
    unknown_events: Mode
    written: Mapping[str, Any] = {}
    at_ms: int = 0
