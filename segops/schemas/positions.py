"""The positions that a transaction commits, as the changelog keeps them: JSON under a key of their own.

Kafka can commit the records of a transaction without its offsets: a broker that starts, and does not know the
leader of a partition of ``__consumer_offsets`` yet, takes that partition for deleted and skips it (seen with
4.3.1). So the changelog, which is part of the same transaction, holds the offsets as well. Where the group is
still at the offset from before the transaction, they were lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from segops.core.errors import StateError

#: Its key in the changelog.
POSITIONS_KEY: Final = b"\x00positions"


class Move(msgspec.Struct, frozen=True, array_like=True):
    """A committed offset with its metadata, and the offset that was committed before; None: none was."""

    before: int | None
    offset: int
    metadata: str


_decoder = msgspec.json.Decoder(dict[str, Move])
_encoder = msgspec.json.Encoder()


def encode_positions(moves: Mapping[str, Move]) -> bytes:
    """Encode the moves of one partition number, by topic.

    >>> decode_positions(encode_positions({"events": Move(None, 5, "m")}))
    {'events': Move(before=None, offset=5, metadata='m')}
    """
    return _encoder.encode(moves)


def decode_positions(data: bytes) -> dict[str, Move]:
    """Decode what ``encode_positions`` wrote. Raises StateError for anything else."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StateError(f"unreadable positions of a transaction: {error}") from error
