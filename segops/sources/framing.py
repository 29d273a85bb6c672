"""The framing of a registry's serializers: a zero byte, the schema id, and for protobuf the message type."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from segops.core.errors import RejectedEvent

#: The reason of a record that cannot be decoded.
UNDECODABLE: Final = "undecodable"
_HEADER: Final = struct.Struct(">bI")
_MAX_INDEXES: Final = 32
_MAX_VARINT_BITS: Final = 35


class Framed(NamedTuple):
    """A payload and the id of its schema."""

    schema_id: int
    payload: bytes


def unframe(value: bytes) -> Framed:
    r"""Split a framed value. Raises RejectedEvent.

    >>> unframe(b"\x00\x00\x00\x00\x07rest")
    Framed(schema_id=7, payload=b'rest')
    """
    if len(value) < _HEADER.size or value[0] != 0:
        begins = value[:5].hex() or "nothing"
        detail = f"expected a zero byte and a schema id before the payload, got {begins}"
        raise RejectedEvent(UNDECODABLE, detail)
    return Framed(_HEADER.unpack_from(value)[1], value[_HEADER.size :])


def framed(schema_id: int, payload: bytes) -> bytes:
    r"""Return a payload with the id of its schema before it.

    >>> framed(7, b"rest")
    b'\x00\x00\x00\x00\x07rest'
    """
    return _HEADER.pack(0, schema_id) + payload


def message_indexes(payload: bytes) -> tuple[tuple[int, ...], bytes]:
    r"""Split a protobuf payload into the indexes of its message type and the rest. Raises RejectedEvent.

    The indexes lead from the messages of the schema's file to a nested one; a single zero means the first.

    >>> message_indexes(b"\x00rest"), message_indexes(b"\x04\x02\x00rest")
    (((0,), b'rest'), ((1, 0), b'rest'))
    """
    count, at = _varint(payload, 0)
    if not 0 <= count <= _MAX_INDEXES:
        raise RejectedEvent(UNDECODABLE, f"expected at most {_MAX_INDEXES} message indexes, got {count}")
    indexes = []
    for _ in range(count):
        index, at = _varint(payload, at)
        indexes.append(index)
    if min(indexes, default=0) < 0:
        raise RejectedEvent(UNDECODABLE, f"negative message index {min(indexes)}")
    return tuple(indexes) or (0,), payload[at:]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a zigzag number; return it, and where the next one begins."""
    number = shift = 0
    while at < len(data) and shift < _MAX_VARINT_BITS:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return (number >> 1) ^ -(number & 1), at
    raise RejectedEvent(UNDECODABLE, "the message indexes are cut off")
