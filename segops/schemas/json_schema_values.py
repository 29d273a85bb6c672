"""The JSON Schema of what stands in many nodes: maps, lists, durations, paths and predicates."""

from __future__ import annotations

from collections.abc import Collection
from itertools import combinations
from typing import Any

from segops.core.conversions import CONVERSIONS
from segops.core.geo import UNIT_M
from segops.core.rules.parsing import WEEKDAYS, WINDOW_KEYS, ZONED
from segops.core.values import UNIT_MS
from segops.core.windows import CALENDAR_UNITS

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """Return a reference to a definition."""
    return {"$ref": f"#/$defs/{name}"}


def map_of(required: Collection[str], **properties: Schema) -> Schema:
    """Return the schema of a map with these keys and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def list_of(items: Schema) -> Schema:
    """Return the schema of a list of one or more items."""
    return {"type": "array", "items": items, "minItems": 1}


STRING: Schema = {"type": "string"}
SCALAR: Schema = {"type": ["number", "string", "boolean"]}
ORDERED: Schema = {"type": ["number", "string"]}
WHOLE: Schema = {"type": "integer"}
_UNITS = "|".join(UNIT_MS)
DURATION: Schema = {"type": "string", "pattern": f"^[0-9]{{1,18}}({_UNITS})$", "examples": ["48h", "30d"]}
POSITIVE: Schema = {**DURATION, "pattern": f"^0*[1-9][0-9]{{0,17}}({_UNITS})$"}
CURRENCY: Schema = {"type": "string", "pattern": "^[A-Z]{3}$"}
CLOCK: Schema = {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$"}
INSTANT: Schema = {"type": "string", "examples": ["2026-01-31", "2026-01-31T12:00:00+01:00"]}
_NAME = r"(\\[.\\]|[^.])+"
PATH: Schema = {"type": "string", "pattern": rf"^{_NAME}(\.{_NAME})*$"}
LENGTH: Schema = {
    "type": "string",
    "pattern": rf"^[0-9]+(\.[0-9]+)?({'|'.join(UNIT_M)})$",
    "examples": ["5km"],
}


#: Limit -> a number of degrees up to it.
DEGREES: dict[int, Schema] = {
    limit: {"type": "number", "minimum": -limit, "maximum": limit} for limit in (90, 180)
}


def pair_of(items: Schema) -> Schema:
    """Return the schema of a list of two items."""
    return {"type": "array", "items": items, "minItems": 2, "maxItems": 2}


_ELEMENTS: Schema = {"$ref": "#/$defs/elements"}


def one_or_more(items: Schema) -> Schema:
    """Return the schema of an item, or of a list of them."""
    return {"anyOf": [items, list_of(items)]}


#: Operator -> its operand.
_OPERANDS: dict[str, Schema] = {
    **dict.fromkeys(("eq", "ne", "includes"), SCALAR),
    **dict.fromkeys(("in", "not_in"), list_of(SCALAR)),
    **dict.fromkeys(("lt", "lte", "gt", "gte"), ORDERED),
    "between": pair_of(ORDERED),
    **dict.fromkeys(("contains", "starts_with", "ends_with", "matches"), STRING),
    **dict.fromkeys(("any", "all", "none"), _ELEMENTS),
    "count": {"$ref": "#/$defs/number of elements"},
    "exists": {"type": "boolean"},
    **dict.fromkeys(("before", "after"), INSTANT),
    **dict.fromkeys(("in_last", "in_next", "newer_than", "anniversary_in_next"), POSITIVE),
    "older_than": DURATION,
    "age_in_years": {"anyOf": [WHOLE, {"$ref": "#/$defs/count"}]},
    "weekday": one_or_more({"enum": list(WEEKDAYS)}),
    "month": one_or_more({"type": "integer", "minimum": 1, "maximum": 12}),
}
COUNTS: dict[str, Schema] = {"between": pair_of(WHOLE), "in": list_of(WHOLE), "not_in": list_of(WHOLE)}


def test_of(operators: Collection[str]) -> Schema:
    """Return the schema of a predicate with these operators."""
    schema = {**map_of((), **{name: _OPERANDS[name] for name in operators}), "minProperties": 1}
    if "includes" in operators:
        schema["properties"]["as"] = {"enum": list(CONVERSIONS)}
    schema["properties"]["zone"] = STRING
    zoned = [{"required": [name]} for name in ZONED if name in operators]
    schema["dependentSchemas"] = {"zone": {"anyOf": zoned}}
    return schema


def path_of(*roots: str) -> Schema:
    """Return the schema of a path: a text, or a list of a root and names."""
    listed = {"type": "array", "prefixItems": [{"enum": list(roots)}], "items": STRING, "minItems": 2}
    return {"anyOf": [PATH, listed]}


def where_of(values: list[Schema], least: int) -> Schema:
    """Return the schema of conditions on paths, at least so many."""
    return {
        "type": "object",
        "propertyNames": PATH,
        "additionalProperties": {"anyOf": values},
        "minProperties": least,
    }


#: Key of a window -> its form.
_WINDOWS: dict[str, Schema] = {
    "within": {**POSITIVE, "description": "now − this < t ≤ now"},
    "between": {
        **map_of(("from", "to"), **{"from": DURATION, "to": DURATION}),
        "description": "now − from < t ≤ now − to",
    },
    "since": {**INSTANT, "description": "since ≤ t"},
    "until": {**INSTANT, "description": "t < until"},
    "calendar": {
        **map_of(("this",), this={"enum": list(CALENDAR_UNITS)}, zone=STRING),
        "description": "t is in the current day, week, month or year of the zone",
    },
    "since_last": {"$ref": "#/$defs/names", "description": "after the last event of these names"},
    "same": {**PATH, "description": "only events with the value of that last event at this path"},
}


def windowed(schema: Schema, keys: Collection[str] = WINDOW_KEYS) -> Schema:
    """Add the keys of windows, at most one of which a node may have."""
    pairs = [pair for pair in combinations(keys, 2) if pair not in _TOGETHER]
    properties = {**schema["properties"], **{key: _WINDOWS[key] for key in keys}}
    needs = {"dependentRequired": {"same": ["since_last"]}} if "same" in keys else {}
    return {
        **schema,
        "properties": properties,
        "not": {"anyOf": [{"required": list(p)} for p in pairs]},
        **needs,
    }


#: The keys of windows that may stand beside each other.
_TOGETHER = (("since", "until"), ("since_last", "same"))
