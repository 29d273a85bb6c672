"""The stored form of a row of past events (``core.backfill``): msgpack of an array-like struct."""

from __future__ import annotations

import msgspec

from segops.core.backfill import Row
from segops.core.errors import StateError
from segops.schemas.state import packed

_decoder = msgspec.msgpack.Decoder(Row)


def encode_row(row: Row) -> bytes:
    """Encode a row. Values that msgpack cannot represent are fitted as in a stored profile."""
    return packed(row)


def decode_row(data: bytes) -> Row:
    """Decode a row. Tuples become lists and decimals strings, which ``fold`` reads alike.

    >>> decode_row(encode_row(Row(5, 7, 1, 0, 3, {9: None}))).values
    {9: None}

    Raises StateError for damaged bytes.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise StateError(f"a row of past events is damaged: {error}") from error
