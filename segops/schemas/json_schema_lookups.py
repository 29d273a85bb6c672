"""The JSON Schema of the blocks ``lookups`` and ``postal_codes``."""

from __future__ import annotations

from typing import Any

from segops.core.rules.parsing import TABLE_PATTERN
from segops.schemas.lookups import SUFFIXES

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_FILE: Schema = {"type": "string", "pattern": rf"\.({'|'.join(suffix[1:] for suffix in SUFFIXES)})$"}


def lookups_block() -> Schema:
    """Return the schema of a ``lookups`` block."""
    return {
        "description": "Look-up tables by name: of a file, its path relative to this one, or of rows.",
        "type": "object",
        "propertyNames": {"pattern": f"^{TABLE_PATTERN}$"},
        "additionalProperties": {"oneOf": [_form({"file": _FILE, "key": _TEXT}), _rows({})]},
        "minProperties": 1,
    }


def postal_codes_block() -> Schema:
    """Return the schema of a ``postal_codes`` block."""
    columns = {"file": _FILE, "code": _TEXT, "lat": _TEXT, "lon": _TEXT}
    degrees = {"lat": {"type": ["number", "string"]}, "lon": {"type": ["number", "string"]}}
    return {
        "description": "The point of each postal code, in degrees: of a file, or of rows.",
        "oneOf": [_form(columns), _rows(degrees)],
    }


def _form(properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _rows(columns: Schema) -> Schema:
    row = {"type": "object", "properties": columns, "required": list(columns)}
    return _form({"rows": {"type": "object", "additionalProperties": row, "minProperties": 1}})
