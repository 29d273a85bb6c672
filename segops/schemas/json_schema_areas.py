"""The JSON Schema of a ``places`` block."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from segops.core.rules.parsing import MAX_AREAS, MAX_CORNERS

Schema = dict[str, Any]


def areas_block(length: Schema) -> Schema:
    """Return the schema of a ``places`` block; ``length`` is that of a radius."""
    lat, lon = ({"type": "number", "minimum": -limit, "maximum": limit} for limit in (90, 180))
    corner = {"type": "array", "prefixItems": [lat, lon], "items": False, "minItems": 2}
    polygon = {"type": "array", "items": corner, "minItems": 3, "maxItems": MAX_CORNERS + 1}
    sides = {"south": lat, "west": lon, "north": lat, "east": lon}
    kinds = [
        _area(("lat", "lon"), {"lat": lat, "lon": lon, "radius": length}),
        _area(sides, sides),
        _area(("polygon",), {"polygon": polygon}),
    ]
    area = {"type": "object", "oneOf": kinds}
    several = {"type": "array", "items": area, "minItems": 1, "maxItems": MAX_AREAS}
    return {
        "description": "Named points, circles, boxes and polygons, or lists of them.",
        "type": "object",
        "propertyNames": {"minLength": 1, "maxLength": 64},
        "additionalProperties": {"oneOf": [area, several]},
        "minProperties": 1,
    }


def _area(required: Collection[str], properties: Schema) -> Schema:
    return {"properties": properties, "required": list(required), "additionalProperties": False}
