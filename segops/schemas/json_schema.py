"""The JSON Schema of segment files for editors, generated from the parser's tables.

It accepts every file that ``segops check`` accepts, and some that it rejects: mistakes that involve two
places (a cycle, a reused key, a threshold that can never hold).
"""

from __future__ import annotations

from collections.abc import Callable

from segops.core.operators import EDGES, OPERATORS
from segops.core.refresh import UNITS
from segops.core.rules.parsing import (
    ACTIVE,
    AGGREGATES,
    COUNT_OPERATORS,
    DIGITS,
    GRID_PATTERN,
    HEADS,
    MAX_ALERTS,
    MAX_EDGES,
    MAX_STEPS,
    PERCENTAGE,
    REFRESHED,
    SIDES,
    TIME_KEYS,
    windows_of,
)
from segops.core.scoring.rfm_presets import PRESETS, QUANTILES
from segops.core.time_of_day import DAYS
from segops.schemas.json_schema_areas import areas_block
from segops.schemas.json_schema_audiences import audiences_block
from segops.schemas.json_schema_figures import (
    OF_VALUE,
    READ_SCORE,
    SCORE,
    aggregate_schema,
    compare_schema,
    distance_schema,
    figure_schema,
    indicator_schema,
    indicators_block,
    ratio_schema,
    scores_block,
)
from segops.schemas.json_schema_lookups import lookups_block, postal_codes_block
from segops.schemas.json_schema_rhythm import (
    active_schema,
    lifecycle_schema,
    regularly_schema,
    session_schema,
    sessions_schema,
)
from segops.schemas.json_schema_values import (
    CLOCK,
    COUNTS,
    CURRENCY,
    DEGREES,
    DURATION,
    LENGTH,
    PATH,
    POSITIVE,
    SCALAR,
    STRING,
    WHOLE,
    Schema,
    list_of,
    map_of,
    one_or_more,
    path_of,
    ref,
    test_of,
    where_of,
    windowed,
)
from segops.schemas.segment_reading import KEY_PATTERN, SegmentForm
from segops.schemas.segments import SegmentFileForm

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> Schema:
    """Return the schema of a segment file (draft 2020-12).

    >>> schema = json_schema()
    >>> schema["$schema"], "did" in schema["$defs"]["node.did"]["properties"]
    ('https://json-schema.org/draft/2020-12/schema', True)
    """
    file, segment = SegmentFileForm.model_json_schema(), SegmentForm.model_json_schema()
    file["properties"]["segments"]["items"] = ref("segment")
    file["properties"]["rfm"] = _rfm_block()
    file["properties"]["places"] = areas_block(LENGTH)
    file["properties"]["indicators"] = indicators_block()
    file["properties"]["lookups"] = lookups_block()
    file["properties"]["postal_codes"] = postal_codes_block()
    file["properties"]["scores"] = scores_block()
    file["required"] = ["version"]
    file["properties"]["audiences"] = audiences_block()
    file["anyOf"] = [{"required": [block]} for block in ("segments", "indicators", "audiences")]
    segment["properties"]["when"] = ref("node")
    segment["properties"]["membership"] = _membership()
    segment["properties"]["alert"] = ref("alerts")
    nodes = {f"node.{head}": _node(head) for head in HEADS}
    any_node = {"type": "object", "oneOf": [ref(name) for name in nodes]}
    return {
        "$schema": DIALECT,
        **file,
        "title": "Segments of segops",
        "$defs": {"segment": segment, "alerts": _alerts(), "node": any_node, **nodes, **_shared_schemas()},
    }


def _shared_schemas() -> dict[str, Schema]:
    """Return the definitions that several nodes share."""
    counts = {name: COUNTS.get(name, WHOLE) for name in COUNT_OPERATORS}
    same_as = map_of(("same_as",), same_as={"type": "integer", "minimum": 1, "maximum": MAX_STEPS})
    return {
        "names": {"anyOf": [{"type": "string", "minLength": 1}, list_of({"type": "string", "minLength": 1})]},
        "test": test_of(OPERATORS),
        "settled": test_of([name for name in OPERATORS if name not in EDGES]),
        "count": {**map_of((), **counts), "minProperties": 1},
        "where": where_of([SCALAR, ref("test")], 1),
        "elements": where_of([SCALAR, ref("settled")], 1),
        "number of elements": map_of((), **counts, where=ref("elements")),
        "time of day": {
            **map_of(
                (), **{"days": list_of({"enum": list(DAYS)}), "from": CLOCK, "to": CLOCK, "zone": STRING}
            ),
            "anyOf": [{"required": ["days"]}, {"required": ["from"]}],
            "dependentRequired": {"from": ["to"], "to": ["from"]},
        },
        "figure": figure_schema(),
        "refresh": _refresh(),
        "step": {"oneOf": [_step("did"), _step("did_not")]},
        "where of a step": where_of([SCALAR, ref("settled"), same_as], 0),
    }


def _refresh() -> Schema:
    """Return the schema of a ``refresh``."""
    hourly = map_of(("every",), every={"const": "hour"})
    days = [unit for unit in UNITS if unit != "hour"]
    daily = map_of(("every",), every={"enum": days}, at=CLOCK, zone=STRING)
    description = "When the value is computed; it is kept until the next time."
    return {"description": description, "oneOf": [hourly, daily]}


def _step(head: str, *, first: bool = False) -> Schema:
    within = {} if first else {"within": POSITIVE}
    keys = {head: ref("names"), "where": ref("where of a step"), "time_of_day": ref("time of day")}
    return map_of((head,), **keys, **within)


def _group(head: str) -> Schema:
    return map_of((head,), **{head: list_of(ref("node"))})


def _at_least(head: str) -> Schema:
    form = map_of(("k", "of"), k={"type": "integer", "minimum": 1}, of=list_of(ref("node")))
    return map_of((head,), **{head: form})


def _did(head: str) -> Schema:
    keys = {head: ref("names"), "count": ref("count"), "where": ref("where")}
    return windowed(map_of((head,), **keys, time_of_day=ref("time of day")))


def _did_not(head: str) -> Schema:
    keys = {head: ref("names"), "where": ref("where"), "time_of_day": ref("time of day")}
    return windowed(map_of((head,), **keys))


def _aggregate(head: str) -> Schema:
    test = ref("count" if head == "distinct" else "test")
    return aggregate_schema(head, windows_of(head), **{"is": test})


def _occurrence(head: str) -> Schema:
    age = {**map_of((), older_than=DURATION, newer_than=POSITIVE), "minProperties": 1}
    keys = {head: ref("names"), "where": ref("where"), "time_of_day": ref("time of day"), "is": age}
    return map_of((head, "is"), **keys)


def _trait(head: str) -> Schema:
    return map_of((head, "is"), **{head: path_of("traits"), "is": ref("test")})


def _has_been(head: str) -> Schema:
    return map_of((head, "for"), **{head: _trait("trait"), "for": DURATION})


def _changed(head: str) -> Schema:
    value = {"anyOf": [SCALAR, ref("settled")]}
    form = {**map_of(("trait",), **{"trait": PATH, "from": value, "to": value}), "minProperties": 2}
    return windowed(map_of((head,), **{head: form}), TIME_KEYS)


def _near(head: str) -> Schema:
    form = map_of(("lat", "lon", "radius"), lat=DEGREES[90], lon=DEGREES[180], radius=LENGTH)
    around = map_of(("places", "radius"), places=STRING, radius=LENGTH)
    return _located(map_of((head,), **{head: {"anyOf": [form, around, STRING]}}))


def _located(schema: Schema) -> Schema:
    """Add ``anytime`` and the keys of windows, of which only ``within`` may stand without it."""
    found = windowed(schema, TIME_KEYS)
    found["properties"]["anytime"] = {"type": "boolean"}
    found["properties"]["located_by"] = path_of("properties", "context")
    others = [{"required": [key]} for key in TIME_KEYS if key != "within"]
    any_fix = {"properties": {"anytime": {"const": True}}, "required": ["anytime"]}
    return {**found, "if": {"anyOf": others}, "then": any_fix}


def _bucket(head: str) -> Schema:
    percent = {"type": "number", "minimum": 0, "maximum": 100}
    form = map_of(("salt", "from", "to"), **{"salt": STRING, "from": percent, "to": percent})
    return map_of((head,), **{head: form})


def _rfm(head: str) -> Schema:
    digit: Schema = {"anyOf": [WHOLE, ref("count")]}
    digits = {
        "type": "object",
        "properties": {**dict.fromkeys(DIGITS, digit), "grid": STRING},
        "additionalProperties": False,
        "anyOf": [{"required": [name]} for name in DIGITS],
    }
    tier = map_of((), grid=STRING, tier={"anyOf": [STRING, list_of(STRING)]})
    one = {"anyOf": [STRING, list_of(STRING), digits, {**tier, "required": ["tier"]}]}
    sides = map_of(SIDES, **dict.fromkeys(SIDES, one))
    return map_of((head,), **{head: {"anyOf": [*one["anyOf"], sides]}})


def _score(head: str) -> Schema:
    figures = {head: READ_SCORE, "of": OF_VALUE, **dict.fromkeys(("is", *SIDES), ref("test"))}
    kinds = [{"required": [*SIDES], "not": {"required": ["is"]}}, _only_is()]
    return {**map_of((head,), **figures), "oneOf": kinds}


def _percentile(head: str) -> Schema:
    percent: Schema = {"anyOf": [WHOLE, ref("count")]}
    return map_of((head, "is"), **{head: SCORE, "is": percent})


def _only_is() -> Schema:
    return {"required": ["is"], "not": {"anyOf": [{"required": [side]} for side in SIDES]}}


def _membership() -> Schema:
    """Return the schema of a ``membership`` block."""
    block = map_of((), min_stay=POSITIVE, cool_down=POSITIVE, max_entries={"type": "integer", "minimum": 1})
    text = "Minimum stay, cool-down and maximum number of entries."
    return {"description": text, **block, "minProperties": 1}


def _alerts() -> Schema:
    """Return the schema of an ``alert`` block."""
    bounds = {"at_least": {"type": "integer", "minimum": 1}, "at_most": {"type": "integer", "minimum": 0}}
    some = {"anyOf": [{"required": [bound]} for bound in bounds]}
    rate = {**map_of(("per",), **bounds, per=POSITIVE), **some}
    percentage = {"type": "string", "pattern": f"^{PERCENTAGE}$"}
    size = map_of(("size", "over"), size=percentage, over=POSITIVE, floor={"type": "integer", "minimum": 1})
    members = map_of(("members",), members={**map_of((), **bounds), **some})
    rates = (map_of((figure,), **{figure: rate}) for figure in ("entries", "exits"))
    alert = {"type": "object", "oneOf": [size, members, *rates]}
    several = {"type": "array", "items": alert, "minItems": 1, "maxItems": MAX_ALERTS}
    return {"description": "What the size, entries or exits must not do.", "oneOf": [alert, several]}


def _rfm_block() -> Schema:
    """Return the schema of an ``rfm`` block."""

    def edges(items: Schema) -> Schema:
        return {"anyOf": [{**list_of(items), "maxItems": MAX_EDGES}, {"enum": [*QUANTILES]}]}

    pair = {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2, "maxItems": 2}
    box = map_of(("recency", "frequency"), recency=pair, frequency=pair, monetary=pair)
    cells = {"anyOf": [box, list_of(box)]}
    keys = {
        "preset": {"enum": [*PRESETS]},
        "period": POSITIVE,
        "currency": CURRENCY,
        "recency": edges(POSITIVE),
        "frequency": edges({"type": "integer", "minimum": 0}),
        "monetary": edges({"type": "number"}),
        "tiers": {"type": "object", "additionalProperties": cells, "minProperties": 1},
    }
    named = map_of(("of",), **keys, of=ref("names"), where=ref("where"), value=path_of("properties"))
    return {
        "description": "Parameters of RFM; missing keys keep their defaults. Other keys name further grids.",
        **map_of((), **keys),
        "additionalProperties": False,
        "patternProperties": {f"^(?!({'|'.join(keys)})$){GRID_PATTERN.strip('^')}": named},
        "minProperties": 1,
    }


def _sequence(head: str) -> Schema:
    steps = {
        "type": "array",
        "prefixItems": [_step("did", first=True)],
        "items": ref("step"),
        "minItems": 1,
        "maxItems": MAX_STEPS,
    }
    return map_of((head,), **{head: steps}, within=POSITIVE, strict={"type": "boolean"})


_DAYS = "The number of local days, weeks or months with such an event satisfies `is`."
_FIGURE = "The aggregate of a property over the events `of` a name satisfies `is`."
_AGE = "The age of the first or last such event is older_than or newer_than a duration."

#: Head of a node -> its description and the builder of its schema.
_NODES: dict[str, tuple[str, Callable[[str], Schema]]] = {
    "all": ("Every child is true.", _group),
    "any": ("At least one child is true.", _group),
    "not": ("The child is false.", lambda head: map_of((head,), **{head: ref("node")})),
    "at_least": ("k or more of the children are true.", _at_least),
    "did": ("The number of such events satisfies count (without it: at least one).", _did),
    "did_not": ("There is no such event.", _did_not),
    **{function: (_FIGURE, _aggregate) for function in AGGREGATES},
    "first": (_AGE, _occurrence),
    "last": (_AGE, _occurrence),
    "trait": ("The customer's trait satisfies `is`.", _trait),
    "known_for": (
        "The customer's earliest event is at least this old.",
        lambda head: map_of((head,), **{head: DURATION}),
    ),
    "has_been": ("The trait has satisfied `is` continuously for at least the duration in `for`.", _has_been),
    "changed": ("The trait changed from a value to another one in the window.", _changed),
    "identified": (
        "The customer is a known user: there is a user id.",
        lambda head: map_of((head,), **{head: {"type": "boolean"}}),
    ),
    "has_identifier": (
        "The customer has an identifier of this type, or of one of these.",
        lambda head: map_of((head,), **{head: one_or_more({"type": "string", "pattern": "^[^:]+$"})}),
    ),
    "list": (
        "The customer is on this static list (segops lists).",
        lambda head: map_of((head,), **{head: {"type": "string", "pattern": KEY_PATTERN}}),
    ),
    "near": (
        "The last known location (with `anytime`: one in the window) is in the circle or near a named point.",
        _near,
    ),
    "inside": (
        "The last known location (with `anytime`: one in the window) is inside the named place.",
        lambda head: _located(map_of((head,), **{head: STRING})),
    ),
    "distance_to": (
        "The distance of the last known location to the place satisfies `is`.",
        distance_schema,
    ),
    "bucket": ("The customer falls into this share of all customers, in percent.", _bucket),
    "score": ("The named score satisfies `is`; or from `enter` until `exit`.", _score),
    "score_percentile": ("The percentile of the score in the population satisfies `is`.", _percentile),
    "rfm": (
        "The RFM tier is one of these, or the digits satisfy predicates; or from `enter` until `exit`.",
        _rfm,
    ),
    "sequence": ("Events happened one after another, or did not within a deadline.", _sequence),
    "in_segment": (
        "The customer is in that other segment now.",
        lambda head: map_of((head,), **{head: {"type": "string", "pattern": KEY_PATTERN}}),
    ),
    **{head: (_DAYS, active_schema) for head in ACTIVE},
    "sessions": ("The number of sessions that begin in the window satisfies `is`.", sessions_schema),
    "session": (
        "A figure of the current or the last session satisfies `is`.",
        session_schema,
    ),
    "regularly": ("Such an event happened in at least k of the last periods.", regularly_schema),
    "lifecycle": ("The customer is new, active, resurrected or dormant by such events.", lifecycle_schema),
    "compare": ("The figure is in this relation to another figure, or to a number.", compare_schema),
    "indicator": ("The indicator of the file's `indicators` block satisfies `is`.", indicator_schema),
    "ratio": ("The figure `of`, divided by the figure `to`, satisfies `is`.", ratio_schema),
}


def _node(head: str) -> Schema:
    description, make = _NODES[head]
    found = make(head)
    if head in REFRESHED:
        found["properties"]["refresh"] = ref("refresh")
    return {"description": description, **found}
