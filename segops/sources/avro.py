"""Avro records: decoded by the schema that they were written with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import fastavro
from fastavro.schema import SchemaParseException, UnknownType

from segops.core.errors import RejectedEvent
from segops.sources.framing import UNDECODABLE


class AvroSchema:
    r"""A parsed schema. Raises ValueError if the text is not one.

    >>> schema = AvroSchema('{"type": "record", "name": "A", "fields": [{"name": "id", "type": "string"}]}')
    >>> schema.decode(b"\x04o1"), schema.lacks(("total",))
    ({'id': 'o1'}, True)
    """

    def __init__(self, text: str, references: Mapping[str, str] | None = None) -> None:
        named: dict[str, Any] = {}
        try:
            for reference in (references or {}).values():
                fastavro.parse_schema(json.loads(reference), named)
            self._schema = fastavro.parse_schema(json.loads(text), named)
        except (ValueError, SchemaParseException, UnknownType, RecursionError, TypeError, KeyError) as error:
            raise ValueError(f"invalid Avro schema: {error}") from None
        self._named = named

    def decode(self, payload: bytes) -> Any:
        """Return the value of a payload. Raises RejectedEvent."""
        stream = BytesIO(payload)
        try:
            value = fastavro.schemaless_reader(stream, self._schema, None)
        except Exception as error:  # bytes of another schema lead to any error
            raise RejectedEvent(UNDECODABLE, f"not Avro of this schema: {error}") from None
        rest = len(payload) - stream.tell()
        if rest:
            raise RejectedEvent(UNDECODABLE, f"not Avro of this schema: {rest} bytes are left over")
        return value

    def lacks(self, path: tuple[str, ...]) -> bool:
        """Tell whether no record of this schema can have a value at a path."""
        schemas = [self._schema]
        for name in path:
            known = [each for schema in schemas for each in self._variants(schema)]
            if any(isinstance(each, dict) and each.get("type") == "map" for each in known):
                return False
            schemas = [field["type"] for each in known for field in _fields(each) if field["name"] == name]
            if not schemas:
                return True
        return False

    def _variants(self, schema: Any) -> list[Any]:
        """Return the types of a union, else the schema itself; a name is replaced by what it names."""
        variants = schema if isinstance(schema, list) else [schema]
        return [self._named.get(each, each) if isinstance(each, str) else each for each in variants]


def _fields(schema: Any) -> list[dict[str, Any]]:
    return schema.get("fields", []) if isinstance(schema, dict) else []
