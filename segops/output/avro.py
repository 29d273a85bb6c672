"""Avro with the framing of a schema registry's serializers: keys and values are records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from typing import Any, Final

import msgspec

from segops.core.errors import UserError
from segops.core.events import Change
from segops.output.columns import CHANGE_KEY, COLUMNS, MEMBERSHIP_KEY, Column, Kind
from segops.output.form import Form, storable, storable_change
from segops.sources.framing import framed
from segops.sources.registry import Registry

_TYPES: Final[Mapping[Kind, Any]] = {
    "string": "string",
    "boolean": "boolean",
    "int64": "long",
    "timestamp": {"type": "long", "logicalType": "timestamp-millis"},
}


def _field(name: str, column: Column) -> dict[str, Any]:
    type_ = _TYPES[column.kind]
    if column.nullable:
        return {"name": name, "type": ["null", type_], "default": None}
    return {"name": name, "type": type_}


def record_schema(name: str, columns: Iterable[str]) -> dict[str, Any]:
    """Return the schema of a record with these columns.

    >>> record_schema("Key", ["profile_id"])["fields"]
    [{'name': 'profile_id', 'type': 'string'}]
    """
    fields = [_field(column, COLUMNS[column]) for column in columns]
    return {"type": "record", "name": name, "namespace": "segops.v1", "fields": fields}


SCHEMAS: Final = {
    "membership_key": record_schema("MembershipKey", MEMBERSHIP_KEY),
    "change_key": record_schema("ChangeKey", CHANGE_KEY),
    "value": record_schema("Membership", COLUMNS),
}


async def open_form(registry: Registry, memberships: str, changes: str) -> Form:
    """Register the schemas of two topics, under ``TOPIC-key`` and ``TOPIC-value``, and return the format.

    Raises UserError if the registry refuses a schema or fastavro is not installed, RegistryAway.
    """
    membership_key = await _writer(registry, f"{memberships}-key", SCHEMAS["membership_key"])
    change_key = await _writer(registry, f"{changes}-key", SCHEMAS["change_key"])
    membership = await _writer(registry, f"{memberships}-value", SCHEMAS["value"])
    change = await _writer(registry, f"{changes}-value", SCHEMAS["value"])
    return Form(
        b"application/vnd.apache.avro",
        lambda profile, segment: membership_key({"profile_id": storable(profile), "segment_key": segment}),
        lambda profile: change_key({"profile_id": storable(profile)}),
        lambda row: membership(_row(row)),
        lambda row: change(_row(row)),
    )


def _row(change: Change) -> dict[str, Any]:
    return msgspec.structs.asdict(storable_change(change))


async def _writer(
    registry: Registry, subject: str, schema: Mapping[str, Any]
) -> Callable[[dict[str, Any]], bytes]:
    """Return what writes records of a schema, framed with the id that the registry gives it."""
    try:
        import fastavro
    except ImportError:
        raise UserError("SEGOPS_OUTPUT_FORMAT=avro requires fastavro (extra 'sources')") from None
    schema_id = await registry.register(subject, json.dumps(schema))
    parsed = fastavro.parse_schema(dict(schema))

    def write(row: dict[str, Any]) -> bytes:
        stream = BytesIO()
        fastavro.schemaless_writer(stream, parsed, row)
        return framed(schema_id, stream.getvalue())

    return write
