"""The JSON schemas of aggregates and figures, and of the nodes and blocks that contain them."""

from __future__ import annotations

from collections.abc import Collection

from segops.core.conversions import CONVERSIONS
from segops.core.rules.parsing import (
    AGGREGATES,
    COMPARISONS,
    DIGITS,
    DISTANCE_OPERATORS,
    FIGURES,
    INDICATOR_PATTERN,
    MONEY_KEYS,
    SCORE_PATTERN,
    TIER,
    TIME_KEYS,
)
from segops.core.scoring.models import AFFINITY
from segops.schemas.json_schema_values import (
    CURRENCY,
    DEGREES,
    LENGTH,
    POSITIVE,
    STRING,
    Schema,
    map_of,
    pair_of,
    path_of,
    ref,
    windowed,
)

_INDICATOR: Schema = {"type": "string", "pattern": INDICATOR_PATTERN}
#: The name of a score: one with a model, or one that the file declares.
SCORE: Schema = {"type": "string", "pattern": SCORE_PATTERN}
#: The name of a score, or of an affinity.
READ_SCORE: Schema = {"type": "string", "pattern": f"^({AFFINITY[:-1]}\\.)?{SCORE_PATTERN[1:]}"}
#: The value whose affinity is read.
OF_VALUE: Schema = {"type": "string", "minLength": 1}


def aggregate_schema(head: str, windows: Collection[str], **required: Schema) -> Schema:
    """Return the schema of an aggregate with these keys of windows, and further ``required`` keys."""
    keys = {head: path_of("properties", "context"), "of": ref("names"), "where": ref("where"), **required}
    keys |= {"as": {"enum": list(CONVERSIONS)}, "time_of_day": ref("time of day")}
    if head in MONEY_KEYS:
        keys["money"] = map_of(("currency",), currency=CURRENCY, path=path_of("properties", "context"))
    return windowed(map_of((head, "of", *required), **keys), windows)


def figure_schema() -> Schema:
    """Return the schema of a figure of any kind."""
    return {"type": "object", "oneOf": [_figure(head) for head in FIGURES]}


def _figure(head: str) -> Schema:
    """Return the schema of a figure: of the node with its head, without what tests the value."""
    found = _live_figure(head)
    if "refresh" in FIGURES[head].keys:
        found["properties"]["refresh"] = ref("refresh")
    return found


def _live_figure(head: str) -> Schema:
    if head in AGGREGATES:
        return aggregate_schema(head, TIME_KEYS)
    selected = {head: ref("names"), "where": ref("where")}
    if head == "did":
        return windowed(map_of((head,), **selected, time_of_day=ref("time of day")), TIME_KEYS)
    if head == "ratio":
        return map_of((head,), **{head: map_of(("of", "to"), of=ref("figure"), to=ref("figure"))})
    if head == "distance_to":
        return map_of((head,), **distance_keys(head))
    values = {
        "indicator": _INDICATOR,
        "trait": path_of("traits"),
        "score": READ_SCORE,
        "score_percentile": SCORE,
        "rfm": {"enum": [*DIGITS, TIER]},
    }
    if head == "rfm":
        return map_of((head,), **{head: values[head]}, grid=STRING)
    if head == "score":
        return map_of((head,), **{head: values[head]}, of=OF_VALUE)
    if head in values:
        return map_of((head,), **{head: values[head]})
    return map_of((head,), **selected, time_of_day=ref("time of day"))


def distance_keys(head: str) -> dict[str, Schema]:
    """Return the schemas of the keys of the distance to a place."""
    point = map_of(("lat", "lon"), lat=DEGREES[90], lon=DEGREES[180])
    return {head: {"anyOf": [STRING, point, map_of(("places",), places=STRING)]}, "within": POSITIVE}


def distance_schema(head: str) -> Schema:
    """Return the schema of a test of the distance to a place."""
    operands = {name: pair_of(LENGTH) if name == "between" else LENGTH for name in DISTANCE_OPERATORS}
    return map_of(
        (head, "is"), **distance_keys(head), **{"is": {**map_of((), **operands), "minProperties": 1}}
    )


def _published(figure: Schema) -> Schema:
    """Return the schema of a figure with the keys about its publication beside it."""
    keys: Schema = {
        "publish": {"type": "boolean"},
        "change_by": {"type": "number", "exclusiveMinimum": 0},
        "at_most": {"const": 1},
        "per": POSITIVE,
    }
    needs = {**figure.get("dependentRequired", {}), "at_most": ["per"], "per": ["at_most"]}
    return {**figure, "properties": {**figure["properties"], **keys}, "dependentRequired": needs}


def compare_schema(head: str) -> Schema:
    """Return the schema of a comparison."""
    number: Schema = {"type": "number"}
    parts = [ref("figure"), {"enum": list(COMPARISONS)}, {"anyOf": [ref("figure"), number]}]
    return map_of((head,), **{head: {"type": "array", "prefixItems": parts, "minItems": 3, "maxItems": 3}})


def ratio_schema(head: str) -> Schema:
    """Return the schema of a ratio."""
    keys = {"of": ref("figure"), "to": ref("figure"), "is": ref("test")}
    return map_of((head,), **{head: map_of(("of", "to", "is"), **keys)})


def indicator_schema(head: str) -> Schema:
    """Return the schema of a test of an indicator."""
    return map_of((head, "is"), **{head: _INDICATOR, "is": ref("test")})


def indicators_block() -> Schema:
    """Return the schema of an ``indicators`` block."""
    return {
        "description": "Figures by key, which rules name as `indicator`, and when each is published.",
        "type": "object",
        "propertyNames": _INDICATOR,
        "additionalProperties": {"type": "object", "oneOf": [_published(_figure(head)) for head in FIGURES]},
        "minProperties": 1,
    }


def scores_block() -> Schema:
    """Return the schema of a ``scores`` block."""
    description = {"type": "string", "maxLength": 2_000}
    return {
        "description": "Scores by name that rules may read before they are fitted.",
        "type": "object",
        "propertyNames": SCORE,
        "additionalProperties": map_of((), description=description),
        "minProperties": 1,
    }
