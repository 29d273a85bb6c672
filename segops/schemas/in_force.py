"""The active definitions of a partition, as stored in its changelog and its store.

A format byte, the instant of activation, then zlib of JSON: the definitions as published, and if they carry
models, an object with these beside them. The compressed part is computed once for all partitions. In format 1
the instant was in the JSON. No profile has this key, and a version that does not know the record rejects it
with an error.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from segops.core.errors import DefinitionError, StateError
from segops.core.segments import Definition
from segops.schemas.segments import definition_from_record, definition_to_record
from segops.schemas.shared_models import shared, whole

#: The key of the record in the changelog.
IN_FORCE_KEY: Final = b"\x00definitions"
#: The key of the base from which the change sequences of new profiles of a partition start.
BASE_KEY: Final = b"\x00sequences"

_FORMAT: Final = b"2"
_FORMER: Final = b"1"
_SINCE: Final = struct.Struct(">q")


class InForce(msgspec.Struct, frozen=True):
    """Definitions, and the partition's clock when they became active."""

    definitions: list[Definition]
    since_ms: int


class _Former(msgspec.Struct):
    since_ms: int
    definitions: list[msgspec.Raw]


class _Packed(msgspec.Struct):
    definitions: list[msgspec.Raw]
    models: dict[str, msgspec.Raw]


_definitions = msgspec.json.Decoder(list[msgspec.Raw] | _Packed)


def pack_definitions(definitions: Iterable[Definition]) -> bytes:
    """Encode and compress definitions."""
    found = shared(map(definition_to_record, definitions))
    records: Any = list(found.records)
    return zlib.compress(msgspec.json.encode(_Packed(records, found.models) if found.models else records))


def unpack_definitions(data: bytes) -> list[Definition]:
    """Decode the output of ``pack_definitions``. Raises StateError."""
    try:
        found = _definitions.decode(zlib.decompress(data))
        if isinstance(found, _Packed):
            return _read(whole(found.definitions, found.models))
        return _read(map(bytes, found))
    except _UNREADABLE as error:
        raise StateError(f"the definitions of a partition cannot be read: {error}") from error


def encode_in_force(packed: bytes, *, since_ms: int) -> bytes:
    """Encode packed definitions that are active since an instant."""
    return _FORMAT + _SINCE.pack(since_ms) + packed


def split_in_force(data: bytes) -> tuple[int, bytes]:
    """Return the instant of activation and the packed definitions. Raises StateError."""
    if data.startswith(_FORMAT) and len(data) > _SINCE.size:
        return int(_SINCE.unpack_from(data, 1)[0]), data[1 + _SINCE.size :]
    if not data.startswith(_FORMER):
        raise StateError(f"the definitions of a partition have format {data[:1]!r}, not {_FORMAT!r}")
    try:
        former = msgspec.json.decode(zlib.decompress(data[1:]), type=_Former)
    except _UNREADABLE as error:
        raise StateError(f"the definitions of a partition cannot be read: {error}") from error
    return former.since_ms, zlib.compress(msgspec.json.encode(former.definitions))


def decode_in_force(data: bytes) -> InForce:
    """Decode the output of ``encode_in_force``. Raises StateError for another format or damage."""
    since_ms, packed = split_in_force(data)
    return InForce(unpack_definitions(packed), since_ms)


_UNREADABLE: Final = (zlib.error, msgspec.DecodeError, UnicodeDecodeError, RecursionError, DefinitionError)


def _read(records: Iterable[bytes]) -> list[Definition]:
    found = [definition_from_record(each) for each in records]
    return [definition for definition in found if definition is not None]
