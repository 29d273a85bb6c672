"""What sinks of Kafka Connect demand of records, from the sources of their converters and connectors.

Each function raises AssertionError for a record that its connector would fail on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

#: JsonConverter: the JSON that each type of a schema takes. A boolean is no number.
_TYPES: Mapping[str, type] = {"boolean": bool, "int32": int, "int64": int, "double": float, "string": str}
_INT64 = 2**63
#: Elasticsearch refuses longer document ids.
_MAX_DOCUMENT_ID = 512


def connect_data(data: bytes) -> Any:
    """Read an envelope as JsonConverter does: exactly schema and payload, which fit each other."""
    envelope = strict_json(data)
    assert list(envelope) == ["schema", "payload"], list(envelope)
    return _value(envelope["schema"], envelope["payload"], "payload")


def strict_json(data: bytes) -> Any:
    """Read JSON without repeated keys and without NaN, which Java's parser refuses."""

    def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs), pairs
        return dict(pairs)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(data.decode(), object_pairs_hook=object_of, parse_constant=refuse)


def _value(schema: Mapping[str, Any], value: Any, where: str) -> Any:
    if value is None:
        assert schema["optional"], f"{where}: null"
        return None
    if schema["type"] != "struct":
        assert type(value) is _TYPES[schema["type"]], f"{where}: {value!r}"
        assert schema["type"] != "int64" or -_INT64 <= value < _INT64, f"{where}: {value!r}"
        return value
    fields = {field["field"]: field for field in schema["fields"]}
    assert len(fields) == len(schema["fields"]) and fields.keys() == value.keys(), where
    return {name: _value(fields[name], each, f"{where}.{name}") for name, each in value.items()}


def take_jdbc(key: bytes, value: bytes | None) -> tuple[tuple[Any, ...], dict[str, Any] | None]:
    """Take a record as a JDBC sink that upserts and deletes: return its primary key and its row.

    The key is a struct of non-null primitives; the value a struct of primitives without NUL, or null.
    """
    columns = connect_data(key)
    assert isinstance(columns, dict) and columns
    _check_primitive(columns)
    assert None not in columns.values()
    if value is None:
        return tuple(columns.values()), None
    row = connect_data(value)
    _check_primitive(row)
    assert {name: row[name] for name in columns} == columns
    return tuple(columns.values()), row


def _check_primitive(columns: Mapping[str, Any]) -> None:
    for name, value in columns.items():
        assert not isinstance(value, dict | list), name
        assert not (isinstance(value, str) and "\0" in value), name


def take_http(value: bytes | None) -> dict[str, Any]:
    """Take the value of a record as an HTTP sink: it sends one JSON object, and refuses null."""
    assert value is not None, "Record value must not be null"
    document = strict_json(value)
    assert isinstance(document, dict)
    return document


def take_s3(value: bytes | None, time_field: str) -> dict[str, Any]:
    """Take the value of a record as an S3 sink of JSON lines, partitioned by a field with a time."""
    assert value is not None, "null values are not supported"
    assert b"\n" not in value
    row = take_http(value)
    assert type(row[time_field]) in (int, str), time_field
    return row


def take_elasticsearch(key: bytes | None, value: bytes | None) -> tuple[str, dict[str, Any] | None]:
    """Take a record as an Elasticsearch sink: the key is the text of a document id, null deletes."""
    assert key is not None, "Key is used as document id and can not be null"
    document_id = key.decode()
    assert 0 < len(key) <= _MAX_DOCUMENT_ID, len(key)
    return document_id, None if value is None else take_http(value)


class FieldTypes:
    """The types that an index or a table derives from its first rows; a later row must not contradict."""

    def __init__(self) -> None:
        self._types: dict[str, type] = {}

    def add(self, row: Mapping[str, Any], within: str = "") -> None:
        """Add a row. Raises AssertionError if a field has another type than before."""
        for name, value in row.items():
            path = f"{within}{name}"
            if isinstance(value, dict):
                self.add(value, f"{path}.")
            if value is not None:
                known = self._types.setdefault(path, type(value))
                assert known is type(value), f"{path}: {known.__name__}, then {type(value).__name__}"
