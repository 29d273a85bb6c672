"""The JSON Schema of segment files for editors, generated from the parser's tables.

It accepts every file that ``segops check`` accepts, and some that it rejects: mistakes that involve two
places (a cycle, a reused key, a threshold that can never hold).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import combinations
from typing import Any

from segops.core.conversions import CONVERSIONS
from segops.core.features.periods import STAGES
from segops.core.geo import UNIT_M
from segops.core.operators import EDGES, OPERATORS
from segops.core.rules.parsing import (
    ACTIVE,
    AGGREGATES,
    COUNT_OPERATORS,
    DIGITS,
    DURATION_OPERATORS,
    HEADS,
    MAX_ALERTS,
    MAX_EDGES,
    MAX_PERIODS,
    MAX_STEPS,
    MONEY_KEYS,
    NUMBERS,
    PERCENTAGE,
    SIDES,
    TIME_KEYS,
    VALUES,
    WEEKDAYS,
    WHICH,
    WINDOW_KEYS,
    ZONED,
)
from segops.core.scoring import SCORERS
from segops.core.time_of_day import DAYS
from segops.core.values import UNIT_MS
from segops.core.windows import CALENDAR_UNITS
from segops.schemas.json_schema_areas import areas_block
from segops.schemas.segments import KEY_PATTERN, SegmentFileForm, SegmentForm

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def json_schema() -> Schema:
    """Return the schema of a segment file (draft 2020-12).

    >>> schema = json_schema()
    >>> schema["$schema"], "did" in schema["$defs"]["node.did"]["properties"]
    ('https://json-schema.org/draft/2020-12/schema', True)
    """
    file, segment = SegmentFileForm.model_json_schema(), SegmentForm.model_json_schema()
    file["properties"]["segments"]["items"] = _ref("segment")
    file["properties"]["rfm"] = _rfm_block()
    file["properties"]["places"] = areas_block(_LENGTH)
    segment["properties"]["when"] = _ref("node")
    segment["properties"]["membership"] = _membership()
    segment["properties"]["alert"] = _alerts()
    nodes = {f"node.{head}": _node(head) for head in HEADS}
    any_node = {"type": "object", "oneOf": [_ref(name) for name in nodes]}
    return {
        "$schema": DIALECT,
        **file,
        "title": "Segments of segops",
        "$defs": {"segment": segment, "node": any_node, **nodes, **_shared_schemas()},
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _map(required: Collection[str], **properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items, "minItems": 1}


_STRING: Schema = {"type": "string"}
_SCALAR: Schema = {"type": ["number", "string", "boolean"]}
_ORDERED: Schema = {"type": ["number", "string"]}
_WHOLE: Schema = {"type": "integer"}
_UNITS = "|".join(UNIT_MS)
_DURATION: Schema = {"type": "string", "pattern": f"^[0-9]{{1,18}}({_UNITS})$", "examples": ["48h", "30d"]}
_POSITIVE: Schema = {**_DURATION, "pattern": f"^0*[1-9][0-9]{{0,17}}({_UNITS})$"}
_CURRENCY: Schema = {"type": "string", "pattern": "^[A-Z]{3}$"}
_CLOCK: Schema = {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$"}
_INSTANT: Schema = {"type": "string", "examples": ["2026-01-31", "2026-01-31T12:00:00+01:00"]}
_NAME = r"(\\[.\\]|[^.])+"
_PATH: Schema = {"type": "string", "pattern": rf"^{_NAME}(\.{_NAME})*$"}
_LENGTH: Schema = {
    "type": "string",
    "pattern": rf"^[0-9]+(\.[0-9]+)?({'|'.join(UNIT_M)})$",
    "examples": ["5km"],
}


def _pair(items: Schema) -> Schema:
    return {"type": "array", "items": items, "minItems": 2, "maxItems": 2}


_ELEMENTS: Schema = {"$ref": "#/$defs/elements"}


def _one_or_more(items: Schema) -> Schema:
    return {"anyOf": [items, _list(items)]}


#: Operator -> its operand.
_OPERANDS: dict[str, Schema] = {
    **dict.fromkeys(("eq", "ne", "includes"), _SCALAR),
    **dict.fromkeys(("in", "not_in"), _list(_SCALAR)),
    **dict.fromkeys(("lt", "lte", "gt", "gte"), _ORDERED),
    "between": _pair(_ORDERED),
    **dict.fromkeys(("contains", "starts_with", "ends_with", "matches"), _STRING),
    **dict.fromkeys(("any", "all", "none"), _ELEMENTS),
    "count": {"$ref": "#/$defs/number of elements"},
    "exists": {"type": "boolean"},
    **dict.fromkeys(("before", "after"), _INSTANT),
    **dict.fromkeys(("in_last", "in_next", "newer_than", "anniversary_in_next"), _POSITIVE),
    "older_than": _DURATION,
    "age_in_years": {"anyOf": [_WHOLE, {"$ref": "#/$defs/count"}]},
    "weekday": _one_or_more({"enum": list(WEEKDAYS)}),
    "month": _one_or_more({"type": "integer", "minimum": 1, "maximum": 12}),
}
_COUNTS: dict[str, Schema] = {"between": _pair(_WHOLE), "in": _list(_WHOLE), "not_in": _list(_WHOLE)}


def _test(operators: Collection[str]) -> Schema:
    schema = {**_map((), **{name: _OPERANDS[name] for name in operators}), "minProperties": 1}
    if "includes" in operators:
        schema["properties"]["as"] = {"enum": list(CONVERSIONS)}
    schema["properties"]["zone"] = _STRING
    zoned = [{"required": [name]} for name in ZONED if name in operators]
    schema["dependentSchemas"] = {"zone": {"anyOf": zoned}}
    return schema


def _path(*roots: str) -> Schema:
    """Return the schema of a path: a text, or a list of a root and names."""
    listed = {"type": "array", "prefixItems": [{"enum": list(roots)}], "items": _STRING, "minItems": 2}
    return {"anyOf": [_PATH, listed]}


def _where(values: list[Schema], least: int) -> Schema:
    return {
        "type": "object",
        "propertyNames": _PATH,
        "additionalProperties": {"anyOf": values},
        "minProperties": least,
    }


def _shared_schemas() -> dict[str, Schema]:
    """Return the definitions that several nodes share."""
    counts = {name: _COUNTS.get(name, _WHOLE) for name in COUNT_OPERATORS}
    same_as = _map(("same_as",), same_as={"type": "integer", "minimum": 1, "maximum": MAX_STEPS})
    return {
        "names": {"anyOf": [{"type": "string", "minLength": 1}, _list({"type": "string", "minLength": 1})]},
        "test": _test(OPERATORS),
        "settled": _test([name for name in OPERATORS if name not in EDGES]),
        "count": {**_map((), **counts), "minProperties": 1},
        "where": _where([_SCALAR, _ref("test")], 1),
        "elements": _where([_SCALAR, _ref("settled")], 1),
        "number of elements": _map((), **counts, where=_ref("elements")),
        "time of day": {
            **_map(
                (), **{"days": _list({"enum": list(DAYS)}), "from": _CLOCK, "to": _CLOCK, "zone": _STRING}
            ),
            "anyOf": [{"required": ["days"]}, {"required": ["from"]}],
            "dependentRequired": {"from": ["to"], "to": ["from"]},
        },
        "step": {"oneOf": [_step("did"), _step("did_not")]},
        "where of a step": _where([_SCALAR, _ref("settled"), same_as], 0),
    }


def _step(head: str, *, first: bool = False) -> Schema:
    within = {} if first else {"within": _POSITIVE}
    return _map((head,), **{head: _ref("names"), "where": _ref("where of a step")}, **within)


#: Key of a window -> its form.
_WINDOWS: dict[str, Schema] = {
    "within": {**_POSITIVE, "description": "now − this < t ≤ now"},
    "between": {
        **_map(("from", "to"), **{"from": _DURATION, "to": _DURATION}),
        "description": "now − from < t ≤ now − to",
    },
    "since": {**_INSTANT, "description": "since ≤ t"},
    "until": {**_INSTANT, "description": "t < until"},
    "calendar": {
        **_map(("this",), this={"enum": list(CALENDAR_UNITS)}, zone=_STRING),
        "description": "t is in the current day, week, month or year of the zone",
    },
    "since_last": {"$ref": "#/$defs/names", "description": "after the last event of these names"},
    "same": {**_PATH, "description": "only events with the value of that last event at this path"},
}


def _windowed(schema: Schema, keys: Collection[str] = WINDOW_KEYS) -> Schema:
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


def _group(head: str) -> Schema:
    return _map((head,), **{head: _list(_ref("node"))})


def _at_least(head: str) -> Schema:
    form = _map(("k", "of"), k={"type": "integer", "minimum": 1}, of=_list(_ref("node")))
    return _map((head,), **{head: form})


def _did(head: str) -> Schema:
    keys = {head: _ref("names"), "count": _ref("count"), "where": _ref("where")}
    return _windowed(_map((head,), **keys, time_of_day=_ref("time of day")))


def _did_not(head: str) -> Schema:
    keys = {head: _ref("names"), "where": _ref("where"), "time_of_day": _ref("time of day")}
    return _windowed(_map((head,), **keys))


def _aggregate(head: str) -> Schema:
    test = _ref("count" if head == "distinct" else "test")
    keys = {head: _path("properties", "context"), "of": _ref("names"), "where": _ref("where"), "is": test}
    keys |= {"as": {"enum": list(CONVERSIONS)}, "time_of_day": _ref("time of day")}
    if head in MONEY_KEYS:
        keys["money"] = _map(("currency",), currency=_CURRENCY, path=_path("properties", "context"))
    return _windowed(_map((head, "of", "is"), **keys))


def _occurrence(head: str) -> Schema:
    age = {**_map((), older_than=_DURATION, newer_than=_POSITIVE), "minProperties": 1}
    return _map((head, "is"), **{head: _ref("names"), "where": _ref("where"), "is": age})


def _trait(head: str) -> Schema:
    return _map((head, "is"), **{head: _path("traits"), "is": _ref("test")})


def _has_been(head: str) -> Schema:
    return _map((head, "for"), **{head: _trait("trait"), "for": _DURATION})


def _changed(head: str) -> Schema:
    value = {"anyOf": [_SCALAR, _ref("settled")]}
    form = {**_map(("trait",), **{"trait": _PATH, "from": value, "to": value}), "minProperties": 2}
    return _windowed(_map((head,), **{head: form}), TIME_KEYS)


def _near(head: str) -> Schema:
    lat, lon = ({"type": "number", "minimum": -limit, "maximum": limit} for limit in (90, 180))
    form = _map(("lat", "lon", "radius"), lat=lat, lon=lon, radius=_LENGTH)
    around = _map(("places", "radius"), places=_STRING, radius=_LENGTH)
    return _located(_map((head,), **{head: {"anyOf": [form, around, _STRING]}}))


def _located(schema: Schema) -> Schema:
    """Add ``anytime`` and the keys of windows, of which only ``within`` may stand without it."""
    windowed = _windowed(schema, TIME_KEYS)
    windowed["properties"]["anytime"] = {"type": "boolean"}
    others = [{"required": [key]} for key in TIME_KEYS if key != "within"]
    any_fix = {"properties": {"anytime": {"const": True}}, "required": ["anytime"]}
    return {**windowed, "if": {"anyOf": others}, "then": any_fix}


def _bucket(head: str) -> Schema:
    percent = {"type": "number", "minimum": 0, "maximum": 100}
    form = _map(("salt", "from", "to"), **{"salt": _STRING, "from": percent, "to": percent})
    return _map((head,), **{head: form})


def _rfm(head: str) -> Schema:
    digit: Schema = {"anyOf": [_WHOLE, _ref("count")]}
    digits = {
        "type": "object",
        "properties": dict.fromkeys(DIGITS, digit),
        "additionalProperties": False,
        "minProperties": 1,
    }
    one = {"anyOf": [_STRING, _list(_STRING), digits]}
    sides = _map(SIDES, **dict.fromkeys(SIDES, one))
    return _map((head,), **{head: {"anyOf": [*one["anyOf"], sides]}})


def _score(head: str) -> Schema:
    figures = {head: {"enum": list(SCORERS)}, **dict.fromkeys(("is", *SIDES), _ref("test"))}
    kinds = [{"required": [*SIDES], "not": {"required": ["is"]}}, _only_is()]
    return {**_map((head,), **figures), "oneOf": kinds}


def _only_is() -> Schema:
    return {"required": ["is"], "not": {"anyOf": [{"required": [side]} for side in SIDES]}}


def _membership() -> Schema:
    """Return the schema of a ``membership`` block."""
    block = _map((), min_stay=_POSITIVE, cool_down=_POSITIVE, max_entries={"type": "integer", "minimum": 1})
    text = "Minimum stay, cool-down and maximum number of entries."
    return {"description": text, **block, "minProperties": 1}


def _alerts() -> Schema:
    """Return the schema of an ``alert`` block."""
    bounds = {"at_least": {"type": "integer", "minimum": 1}, "at_most": {"type": "integer", "minimum": 0}}
    some = {"anyOf": [{"required": [bound]} for bound in bounds]}
    rate = {**_map(("per",), **bounds, per=_POSITIVE), **some}
    percentage = {"type": "string", "pattern": f"^{PERCENTAGE}$"}
    size = _map(("size", "over"), size=percentage, over=_POSITIVE, floor={"type": "integer", "minimum": 1})
    members = _map(("members",), members={**_map((), **bounds), **some})
    rates = (_map((figure,), **{figure: rate}) for figure in ("entries", "exits"))
    alert = {"type": "object", "oneOf": [size, members, *rates]}
    several = {"type": "array", "items": alert, "minItems": 1, "maxItems": MAX_ALERTS}
    return {"description": "What the size, entries or exits must not do.", "oneOf": [alert, several]}


def _rfm_block() -> Schema:
    """Return the schema of an ``rfm`` block."""

    def edges(items: Schema) -> Schema:
        return {**_list(items), "maxItems": MAX_EDGES}

    pair = {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2, "maxItems": 2}
    cells = _map(("recency", "frequency"), recency=pair, frequency=pair)
    return {
        "description": "Parameters of RFM; missing keys keep their defaults.",
        **_map(
            (),
            period=_POSITIVE,
            currency=_CURRENCY,
            recency=edges(_POSITIVE),
            frequency=edges({"type": "integer", "minimum": 0}),
            monetary=edges({"type": "number"}),
            tiers={"type": "object", "additionalProperties": cells, "minProperties": 1},
        ),
        "minProperties": 1,
    }


def _sequence(head: str) -> Schema:
    steps = {
        "type": "array",
        "prefixItems": [_step("did", first=True)],
        "items": _ref("step"),
        "minItems": 1,
        "maxItems": MAX_STEPS,
    }
    return _map((head,), **{head: steps}, within=_POSITIVE, strict={"type": "boolean"})


def _active(head: str) -> Schema:
    keys = {head: _ref("names"), "where": _ref("where"), "zone": _STRING, "is": _ref("count")}
    return _windowed(_map((head, "is"), **keys), TIME_KEYS)


def _of_sessions() -> dict[str, Schema]:
    return {"where": _where([_SCALAR, _ref("settled")], 1), "gap": _POSITIVE}


def _sessions(head: str) -> Schema:
    form = _map((head, "is"), **{head: _ref("names"), "is": _ref("count")}, **_of_sessions())
    return _windowed(form, TIME_KEYS)


def _session(head: str) -> Schema:
    operands = {name: _pair(_DURATION) if name == "between" else _DURATION for name in DURATION_OPERATORS}
    tests = {"duration": {**_map((), **operands), "minProperties": 1}, "events": _ref("count")}
    values = {"oneOf": [_map((name,), **{name: _PATH}) for name in VALUES]}
    forms = [*(({"const": name}, tests[name]) for name in NUMBERS), (values, _ref("test"))]
    keys = {head: {"anyOf": [figure for figure, _ in forms]}, "of": _ref("names"), "is": {"type": "object"}}
    kinds = [{"properties": {head: figure, "is": test}} for figure, test in forms]
    return {
        **_map((head, "of", "is"), **keys, which={"enum": list(WHICH)}, **_of_sessions()),
        "oneOf": kinds,
    }


def _regularly(head: str) -> Schema:
    k, of = ({"type": "integer", "minimum": least, "maximum": MAX_PERIODS} for least in (1, 2))
    where = _of_sessions()["where"]
    return _map((head, "every", "k", "of"), **{head: _ref("names")}, where=where, every=_POSITIVE, k=k, of=of)


def _lifecycle(head: str) -> Schema:
    stages = {"anyOf": [{"enum": list(STAGES)}, _list({"enum": list(STAGES)})]}
    keys = {"of": _ref("names"), "period": _POSITIVE, "is": stages, "where": _of_sessions()["where"]}
    return _map((head,), **{head: _map(("of", "period", "is"), **keys)})


_DAYS = "The number of local days, weeks or months with such an event satisfies `is`."
_FIGURE = "The aggregate of a property over the events `of` a name satisfies `is`."
_AGE = "The age of the first or last such event is older_than or newer_than a duration."

#: Head of a node -> its description and the builder of its schema.
_NODES: dict[str, tuple[str, Callable[[str], Schema]]] = {
    "all": ("Every child is true.", _group),
    "any": ("At least one child is true.", _group),
    "not": ("The child is false.", lambda head: _map((head,), **{head: _ref("node")})),
    "at_least": ("k or more of the children are true.", _at_least),
    "did": ("The number of such events satisfies count (without it: at least one).", _did),
    "did_not": ("There is no such event.", _did_not),
    **{function: (_FIGURE, _aggregate) for function in AGGREGATES},
    "first": (_AGE, _occurrence),
    "last": (_AGE, _occurrence),
    "trait": ("The customer's trait satisfies `is`.", _trait),
    "known_for": (
        "The customer's earliest event is at least this old.",
        lambda head: _map((head,), **{head: _DURATION}),
    ),
    "has_been": ("The trait has satisfied `is` continuously for at least the duration in `for`.", _has_been),
    "changed": ("The trait changed from a value to another one in the window.", _changed),
    "identified": (
        "The customer is a known user: there is a user id.",
        lambda head: _map((head,), **{head: {"type": "boolean"}}),
    ),
    "has_identifier": (
        "The customer has an identifier of this type, or of one of these.",
        lambda head: _map((head,), **{head: _one_or_more({"type": "string", "pattern": "^[^:]+$"})}),
    ),
    "near": (
        "The last known location (with `anytime`: one in the window) is in the circle or near a named point.",
        _near,
    ),
    "inside": (
        "The last known location (with `anytime`: one in the window) is inside the named place.",
        lambda head: _located(_map((head,), **{head: _STRING})),
    ),
    "bucket": ("The customer falls into this share of all customers, in percent.", _bucket),
    "score": ("The named score satisfies `is`; or from `enter` until `exit`.", _score),
    "rfm": (
        "The RFM tier is one of these, or the digits satisfy predicates; or from `enter` until `exit`.",
        _rfm,
    ),
    "sequence": ("Events happened one after another, or did not within a deadline.", _sequence),
    "in_segment": (
        "The customer is in that other segment now.",
        lambda head: _map((head,), **{head: {"type": "string", "pattern": KEY_PATTERN}}),
    ),
    **{head: (_DAYS, _active) for head in ACTIVE},
    "sessions": ("The number of sessions that begin in the window satisfies `is`.", _sessions),
    "session": (
        "A figure of the current or the last session satisfies `is`.",
        _session,
    ),
    "regularly": ("Such an event happened in at least k of the last periods.", _regularly),
    "lifecycle": ("The customer is new, active, resurrected or dormant by such events.", _lifecycle),
}


def _node(head: str) -> Schema:
    description, make = _NODES[head]
    return {"description": description, **make(head)}
