"""The definitions by which a partition is judged, as its changelog and its store keep them.

A format byte, then zlib of JSON: the definitions as they are published, and since when they hold. Profiles
never have this key, and a version that does not know it refuses the record in words.
"""

from __future__ import annotations

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

_FORMAT: Final = b"1"


class InForce(msgspec.Struct, frozen=True):
    """Definitions, and the partition's clock when they came into force there."""

    definitions: list[Definition]
    since_ms: int


class _Stored(msgspec.Struct):
    since_ms: int
    definitions: list[msgspec.Raw]


def encode_in_force(definitions: Iterable[Definition], *, since_ms: int) -> bytes:
    """The stored bytes."""
    found: list[Any] = [msgspec.Raw(definition_to_record(definition)) for definition in definitions]
    return _FORMAT + zlib.compress(msgspec.json.encode(_Stored(since_ms, found)))


def decode_in_force(data: bytes) -> InForce:
    """What ``encode_in_force`` wrote. StateError for another format and what cannot be read."""
    if not data.startswith(_FORMAT):
        raise StateError(f"the definitions of a partition have format {data[:1]!r}, not {_FORMAT!r}")
    try:
        stored = msgspec.json.decode(zlib.decompress(data[1:]), type=_Stored)
        found = [definition_from_record(bytes(raw)) for raw in stored.definitions]
    except (zlib.error, msgspec.DecodeError, UnicodeDecodeError, RecursionError, DefinitionError) as error:
        raise StateError(f"the definitions of a partition cannot be read: {error}") from error
    return InForce([definition for definition in found if definition is not None], stored.since_ms)
