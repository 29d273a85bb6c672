"""The JSON Schema of an ``audiences`` block."""

from __future__ import annotations

from typing import Any, Final

from segops.core.audiences.model import CHANNELS, EXISTING, QUIETABLE, TELLING
from segops.schemas.audiences import AUDIENCE_KEY, MAX_LISTED, OPTION, PURPOSE, SENT_ALONG
from segops.schemas.json_schema_values import POSITIVE, SCALAR, list_of, map_of, ref

Schema = dict[str, Any]
_KEY: Final[Schema] = {"type": "string", "pattern": f"^{AUDIENCE_KEY}$"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 1}


def audiences_block() -> Schema:
    """Return the schema of an ``audiences`` block."""
    return {
        "description": "Members of segments who can be reached through a channel, for `segops audiences`.",
        **list_of(map_of(("key", "segment", "channel"), **_keys())),
    }


def _keys() -> dict[str, Schema]:
    rate = map_of(("at_most", "per"), at_most=_COUNT, per=POSITIVE)
    percent = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 100}
    share = {"type": "string", "pattern": r"^0*(100(\.0{1,2})?|[0-9]{1,2}(\.[0-9]{1,2})?)%$"}
    limits = map_of((), members=_COUNT, share=share, entries=rate, exits=rate)
    reasons = map_of((), **{key: {"enum": list(TELLING)} for key in QUIETABLE})
    suppressed = {"anyOf": [_KEY, {"type": "string", "pattern": r"^trait\..+$"}]}
    return {
        "key": _KEY,
        "segment": {**_KEY, "description": "The key of a published segment."},
        "channel": {"enum": list(CHANNELS), "description": "Which address a member must have."},
        "purpose": {"type": "string", "pattern": f"^{PURPOSE}$"},
        "suppress": {**_listed(suppressed), "description": "Segments and traits that keep people out."},
        "hold_out": map_of(("salt", "percent"), salt=_text(1, 200), percent=percent),
        "frequency": rate,
        "existing": {"enum": list(EXISTING), "description": "Whether members at activation are sent, too."},
        "reasons": {**reasons, "minProperties": 1},
        "limits": {**limits, "minProperties": 1},
        "deliver": _listed(_delivery()),
        "properties": _listed({"type": "string", "pattern": f"^{SENT_ALONG}$"}),
        "goal": {"allOf": [ref("node.did"), {"required": ["within"], "not": {"required": ["refresh"]}}]},
        "alert": ref("alerts"),
        "name": _text(0, 200),
        "description": _text(0, 2_000),
    }


def _delivery() -> Schema:
    return {
        "type": "object",
        "properties": {"to": _KEY},
        "required": ["to"],
        "patternProperties": {f"^{OPTION}$": {"anyOf": [SCALAR, list_of(SCALAR)]}},
        "additionalProperties": False,
    }


def _text(least: int, most: int) -> Schema:
    return {"type": "string", "minLength": least, "maxLength": most}


def _listed(items: Schema) -> Schema:
    return {**list_of(items), "maxItems": MAX_LISTED}
