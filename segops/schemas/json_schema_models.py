"""The JSON Schema of model files."""

from __future__ import annotations

from segops.core.clocks import CIRCLES
from segops.core.rules.parsing import SCORE_PATTERN
from segops.core.scoring.models import STATUSES
from segops.schemas.affinities import MAX_LEAST, MAX_PRIOR, MAX_SHARES
from segops.schemas.json_schema import DIALECT, json_schema
from segops.schemas.json_schema_values import (
    INSTANT,
    POSITIVE,
    STRING,
    Schema,
    list_of,
    map_of,
    path_of,
    ref,
)
from segops.schemas.models import KINDS, LINKS, TRANSFORMS
from segops.schemas.own_models import PYTHON
from segops.schemas.populations import MAX_BARS, MAX_EDGES

_NUMBER: Schema = {"type": "number"}
_POSITIVE: Schema = {"type": "number", "exclusiveMinimum": 0}
_ABOVE_ONE: Schema = {"type": "number", "exclusiveMinimum": 1}
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_TEXTS: Schema = {"type": "array", "items": STRING}


def model_schema() -> Schema:
    """Return the schema of a model file (draft 2020-12).

    It accepts every file that ``read_model`` accepts, and some that it rejects: mistakes that involve two
    places, such as a weight without a feature.

    >>> sorted(model_schema()["required"])
    ['fitted_at', 'kind', 'name']
    """
    shared = json_schema()["$defs"]
    keys: dict[str, Schema] = {
        "name": {"type": "string", "minLength": 1},
        "kind": {"enum": list(KINDS)},
        "version": {"type": "integer", "minimum": 0},
        "fitted_at": INSTANT,
        "valid_until": INSTANT,
        "status": {"enum": list(STATUSES)},
        "reasons": _TEXTS,
        "forbid": _TEXTS,
        "trained_on": {"type": "object"},
        "quality": {"type": "object"},
        "currency": STRING,
        "features": list_of(_feature()),
        "scorer": {"type": "string", "pattern": SCORE_PATTERN},
        "parameters": {"type": "object"},
        "calibration": {"anyOf": [_platt(), _isotonic()]},
        "trees": list_of(_tree()),
        "link": {"enum": list(LINKS)},
    }
    used = {name: part for name, part in shared.items() if not name.startswith(("node", "segment", "alert"))}
    return {
        "$schema": DIALECT,
        "title": "A model of scores of segops",
        **map_of(("name", "kind", "fitted_at"), **keys),
        "if": {"properties": {"kind": {"const": PYTHON}}},
        "then": {"required": ["scorer"]},
        "else": {"properties": {"parameters": {"anyOf": _parameters()}}},
        "$defs": used,
    }


def _parameters() -> list[Schema]:
    of_trees = map_of((), intercept=_NUMBER)
    return [_buying(), _spending(), _weighted(), of_trees, _population(), _affinity()]


def _feature() -> Schema:
    numbers = {"missing": _NUMBER, "mean": _NUMBER, "scale": _POSITIVE}
    clock = map_of(("clock",), clock={"enum": list(CIRCLES)}, zone=STRING)
    figure: Schema = {"anyOf": [ref("figure"), clock]}
    keys = {"name": STRING, "figure": figure, "transform": {"enum": list(TRANSFORMS)}, **numbers}
    return map_of(("name", "figure"), **keys)


def _buying() -> Schema:
    names = ("r", "alpha", "a", "b")
    gaps = {"gap_shape": _ABOVE_ONE, "gap_scale": _POSITIVE}
    needs = {"gap_shape": ["gap_scale"], "gap_scale": ["gap_shape"]}
    return {**map_of(names, **dict.fromkeys(names, _POSITIVE), **gaps), "dependentRequired": needs}


def _spending() -> Schema:
    discount: Schema = {"type": "number", "minimum": 0, "maximum": 10}
    return map_of(("p", "q", "gamma"), p=_POSITIVE, q=_ABOVE_ONE, gamma=_POSITIVE, discount=discount)


def _weighted() -> Schema:
    weights: Schema = {"type": "object", "additionalProperties": _NUMBER, "minProperties": 1}
    return map_of(("intercept", "weights"), intercept=_NUMBER, weights=weights)


def _population() -> Schema:
    whole: Schema = {"type": "integer", "minimum": 0}
    edges = {
        **{key: {**list_of(whole), "maxItems": MAX_EDGES} for key in ("recency_ms", "frequency")},
        **{key: {**list_of(_NUMBER), "maxItems": MAX_EDGES} for key in ("monetary", "score")},
    }
    bar: Schema = {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2}
    bars: Schema = {"type": "object", "additionalProperties": {**list_of(bar), "maxItems": MAX_BARS}}
    profiles: Schema = {"type": "integer", "minimum": 1}
    keys = {"profiles": profiles, "measured_at": INSTANT, "histogram": bars}
    return map_of(
        ("edges", "profiles", "measured_at"), edges={**map_of((), **edges), "minProperties": 1}, **keys
    )


def _affinity() -> Schema:
    whole: Schema = {"type": "integer", "minimum": 1}
    share: Schema = {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
    shares: Schema = {
        "type": "object",
        "propertyNames": {"type": "string", "minLength": 1},
        "additionalProperties": share,
        "minProperties": 1,
        "maxProperties": MAX_SHARES,
    }
    keys: dict[str, Schema] = {
        "of": ref("names"),
        "path": path_of("properties", "context"),
        "half_life": POSITIVE,
        "prior": {**_POSITIVE, "maximum": MAX_PRIOR},
        "least": {**whole, "maximum": MAX_LEAST},
        "values": {**whole, "maximum": MAX_SHARES},
        "profiles": whole,
        "measured_at": INSTANT,
    }
    together = ("shares", "profiles", "measured_at")
    needs = {key: [other for other in together if other != key] for key in together}
    return {**map_of(("of", "path", "half_life"), **keys, shares=shares), "dependentRequired": needs}


def _platt() -> Schema:
    return map_of(("kind", "a", "b"), kind={"const": "platt"}, a=_POSITIVE, b=_NUMBER)


def _isotonic() -> Schema:
    point: Schema = {"type": "array", "items": _SHARE, "minItems": 2, "maxItems": 2}
    return map_of(("kind", "points"), kind={"const": "isotonic"}, points=list_of(point))


def _tree() -> Schema:
    whole, numbers = list_of({"type": "integer", "minimum": -2}), list_of(_NUMBER)
    lists = {"feature": whole, "threshold": numbers, "left": whole, "right": whole, "value": numbers}
    return map_of(tuple(lists), **lists)
