"""Tallies: how many profiles have entered and left each segment of a partition, as the changelog keeps them.

Sizes are summed up from the stored profiles; what happened before is not in them. So the changelog holds the
tallies, in ``BUCKETS`` records by the hash of the segment, of which a checkpoint writes those that changed.

A checkpoint that is no transaction can end between two records: some profiles are stored, and the tallies
are not. So each profile is stored with the *moves* that its memberships made since the checkpoint before, and
with the number of its checkpoint, the *cut*. Moves of a later cut than that of the bucket are not in it yet.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

import msgspec

from segops.core.errors import StateError

BUCKETS: Final = 256
#: The reason for which members of a time before tallies, or whose moves are unknown, have entered or left.
UNKNOWN: Final = "unknown"
_CUT_BYTES: Final = 8


#: One change of a membership: the minute of the partition's clock in ms, segment, reason, whether it is an
#: entry. A plain tuple, since every change makes one.
Move = tuple[int, str, str, bool]


class Flow(msgspec.Struct, array_like=True):
    """How many profiles have entered and left a segment, by reason."""

    entered: dict[str, int] = {}
    left: dict[str, int] = {}

    @property
    def net(self) -> int:
        """The members that entered and have not left."""
        return sum(self.entered.values()) - sum(self.left.values())

    def add(self, reason: str, *, member: bool, count: int = 1) -> None:
        """Count entries, or exits."""
        side = self.entered if member else self.left
        side[reason] = side.get(reason, 0) + count


class Tally(Flow, array_like=True):
    """The flow since a segment began, and that of each minute not yet published, by its start."""

    minutes: dict[int, Flow] = {}


class Bucket(msgspec.Struct, array_like=True):
    """The tallies of the segments of one bucket, as of a cut."""

    cut: int
    tallies: dict[str, Tally] = {}


_encoder = msgspec.msgpack.Encoder()
_bucket = msgspec.msgpack.Decoder(Bucket)
_moves = msgspec.msgpack.Decoder(list[Move])


def bucket_of(segment_key: str) -> int:
    """Return the number of a segment's bucket."""
    return zlib.crc32(segment_key.encode()) % BUCKETS


def bucket_name(number: int) -> str:
    """Return the name of a bucket in the store; its key in the changelog is the same after a zero byte.

    >>> bucket_name(10)
    'tallies-0a'
    """
    return f"tallies-{number:02x}"


#: The keys of the buckets in the changelog -> their names in the store.
BUCKET_KEYS: Final = {b"\0" + bucket_name(number).encode(): bucket_name(number) for number in range(BUCKETS)}


def encode_bucket(bucket: Bucket) -> bytes:
    """Encode a bucket."""
    return _encoder.encode(bucket)


def decode_bucket(data: bytes) -> Bucket:
    """Decode the output of ``encode_bucket``. Raises StateError."""
    try:
        return _bucket.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StateError(f"unreadable tallies of segments: {error}") from error


def encode_moves(cut: int, moves: Sequence[Move]) -> bytes:
    """Encode moves of a cut.

    >>> data = encode_moves(7, [(60_000, "vip", "event", True)])
    >>> cut_of(data), decode_moves(data)
    (7, [(60000, 'vip', 'event', True)])
    """
    return cut.to_bytes(_CUT_BYTES, "big") + _encoder.encode(moves)


def cut_of(moves: bytes) -> int:
    """Return the cut of encoded moves."""
    return int.from_bytes(moves[:_CUT_BYTES], "big")


def decode_moves(data: bytes) -> list[Move]:
    """Decode the output of ``encode_moves``; none of damaged bytes."""
    try:
        return _moves.decode(data[_CUT_BYTES:])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return []
