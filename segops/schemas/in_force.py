"""The definitions by which a partition is judged, as its changelog and its store keep them.

A format byte, since when they hold, then zlib of JSON: the definitions as they are published. That part is
made once for all partitions. In format 1 the time was within the JSON. Profiles never have this key, and a
version that does not know it refuses the record in words.
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

#: Its key in the changelog.
IN_FORCE_KEY: Final = b"\x00definitions"
#: The key of the number behind which the changes of whoever is new in a partition begin.
BASE_KEY: Final = b"\x00sequences"

_FORMAT: Final = b"2"
_FORMER: Final = b"1"
_SINCE: Final = struct.Struct(">q")


class InForce(msgspec.Struct, frozen=True):
    """Definitions, and the partition's clock when they came into force there."""

    definitions: list[Definition]
    since_ms: int


class _Former(msgspec.Struct):
    since_ms: int
    definitions: list[msgspec.Raw]


_definitions = msgspec.json.Decoder(list[msgspec.Raw])


def pack_definitions(definitions: Iterable[Definition]) -> bytes:
    """Definitions as bytes."""
    found: list[Any] = [msgspec.Raw(definition_to_record(definition)) for definition in definitions]
    return zlib.compress(msgspec.json.encode(found))


def unpack_definitions(data: bytes) -> list[Definition]:
    """What ``pack_definitions`` wrote. Raises StateError."""
    try:
        return _read(_definitions.decode(zlib.decompress(data)))
    except _UNREADABLE as error:
        raise StateError(f"the definitions of a partition cannot be read: {error}") from error


def encode_in_force(packed: bytes, *, since_ms: int) -> bytes:
    """The stored bytes of packed definitions that are in force since an instant."""
    return _FORMAT + _SINCE.pack(since_ms) + packed


def split_in_force(data: bytes) -> tuple[int, bytes]:
    """Since when definitions are in force, and the packed definitions. StateError for anything else."""
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
    """What ``encode_in_force`` wrote. StateError for another format and what cannot be read."""
    since_ms, packed = split_in_force(data)
    return InForce(unpack_definitions(packed), since_ms)


_UNREADABLE: Final = (zlib.error, msgspec.DecodeError, UnicodeDecodeError, RecursionError, DefinitionError)


def _read(records: list[msgspec.Raw]) -> list[Definition]:
    found = [definition_from_record(bytes(raw)) for raw in records]
    return [definition for definition in found if definition is not None]
