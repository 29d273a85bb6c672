"""The form of Kafka Connect's JsonConverter with ``schemas.enable=true``: schema and payload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from segops.core.events import Change
from segops.output.columns import CHANGE_KEY, COLUMNS, MEMBERSHIP_KEY, Column, Kind
from segops.output.form import Form, storable, storable_change

_TYPES: Final[Mapping[Kind, Mapping[str, Any]]] = {
    "string": {"type": "string"},
    "boolean": {"type": "boolean"},
    "int64": {"type": "int64"},
    "timestamp": {"type": "int64", "name": "org.apache.kafka.connect.data.Timestamp", "version": 1},
}
_encoder = msgspec.json.Encoder()


def _field(name: str, column: Column) -> dict[str, Any]:
    return {**_TYPES[column.kind], "optional": column.nullable, "field": name}


def struct_schema(name: str, columns: Iterable[str]) -> dict[str, Any]:
    """Return the schema of a struct with these columns.

    >>> struct_schema("Key", ["profile_id"])["fields"]
    [{'type': 'string', 'optional': False, 'field': 'profile_id'}]
    """
    fields = [_field(column, COLUMNS[column]) for column in columns]
    return {"type": "struct", "name": f"segops.v1.{name}", "optional": False, "fields": fields}


def _opening(name: str, columns: Iterable[str]) -> bytes:
    """Return an envelope up to its payload; a brace ends it."""
    return b'{"schema":%b,"payload":' % _encoder.encode(struct_schema(name, columns))


_MEMBERSHIP: Final = _opening("Membership", COLUMNS)
_MEMBERSHIP_KEY: Final = _opening("MembershipKey", MEMBERSHIP_KEY)
_CHANGE_KEY: Final = _opening("ChangeKey", CHANGE_KEY)


def _membership_key(profile_id: str, segment_key: str) -> bytes:
    key = {"profile_id": storable(profile_id), "segment_key": segment_key}
    return b"%b%b}" % (_MEMBERSHIP_KEY, _encoder.encode(key))


def _change_key(profile_id: str) -> bytes:
    return b"%b%b}" % (_CHANGE_KEY, _encoder.encode({"profile_id": storable(profile_id)}))


def _value(change: Change) -> bytes:
    return b"%b%b}" % (_MEMBERSHIP, _encoder.encode(storable_change(change)))


FORM: Final = Form(b"application/json", _membership_key, _change_key, _value, _value)
