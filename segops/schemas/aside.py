"""The stored form of a profile that is set aside: what is kept in its place, and what waits for it.

It has the place of the profile in the store and in the changelog, and so all that is promised of those. A
format byte of its own tells it from a profile; the head is that of one, with the memberships that were
known, so that what a store is indexed by stays as it was.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

import msgspec

from segops.core.errors import StateError
from segops.core.profile import Profile
from segops.schemas.state import ASIDE, body_of, encode_head, summary

_MAX_SEQUENCE = 1 << 62
#: Due whatever the clock says: what is set aside is to be published.
_AT_ONCE = 0

#: In a key of the quarantine, between the profile that was handed over and the name of the bytes.
HANDOVER_MARK: Final = b"\x00"
QUARANTINE_HEADER: Final = "segops-quarantine"
FOUND_HEADER: Final = "segops-found-in"
REASON_HEADER: Final = "segops-reason"
ORIGIN_HEADER: Final = "segops-origin"


class HeldRecord(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """A record that waits for its profile, as it came, and the clock of the partition at its arrival."""

    clock_ms: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]

    @property
    def size(self) -> int:
        """Bytes that it takes, about."""
        return len(self.key or b"") + len(self.value or b"") + sum(len(value) for _, value in self.headers)


class Aside(msgspec.Struct, array_like=True):
    """A profile that cannot be read. New fields are added at the end, with a default."""

    id: str
    #: Names the bytes: who releases the profile says what he has seen.
    of: str
    reason: str
    #: Where the partition was when the profile was set aside: clock, and offset in its profile events.
    since_ms: int
    offset: int
    #: The bytes, until they are published.
    data: bytes | None
    #: Its last change, as far as that can be read.
    sequence: int = 0
    members: list[str] = []
    #: The offset of the last record held or refused.
    applied: int = -1
    held: list[HeldRecord] = []
    held_bytes: int = 0

    @property
    def due_ms(self) -> int | None:
        """When it is to be looked at."""
        return None if self.data is None else _AT_ONCE

    def hold(self, record: HeldRecord) -> None:
        """Keep a record for the profile."""
        self.held.append(record)
        self.held_bytes += record.size


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Aside)


def set_aside(profile_id: str, data: bytes, reason: str, *, since_ms: int, offset: int) -> Aside:
    """What takes the place of a profile whose bytes cannot be read, with all that they still tell."""
    name = name_of_bytes(data)
    return Aside(profile_id, name, reason, since_ms, offset, data, sequence_in(data), _members_in(data))


def name_of_bytes(data: bytes) -> str:
    """A short name of some bytes.

    >>> name_of_bytes(b"x")
    '2d711642b726b044'
    """
    return sha256(data).hexdigest()[:16]


def sequence_in(data: bytes) -> int:
    """The sequence of a profile that need not be readable otherwise; 0 where that is not, either."""
    try:
        found: Any = msgspec.msgpack.decode(body_of(data))
    except (StateError, msgspec.MsgspecError, ValueError, RecursionError):
        return 0
    sequence = found[1] if isinstance(found, list) and len(found) > 1 else 0
    return sequence if type(sequence) is int and 0 <= sequence <= _MAX_SEQUENCE else 0


def _members_in(data: bytes) -> list[str]:
    try:
        return summary(data)[1].decode().splitlines()
    except (StateError, UnicodeDecodeError):
        return []


def due_in(data: bytes) -> int | None:
    """The due time under which a store has some bytes; those without a readable head are due at once."""
    try:
        return summary(data)[0]
    except StateError:
        return _AT_ONCE


def stand_in(aside: Aside) -> Profile:
    """An empty profile in the place of the one set aside, for who reads offsets and timers only."""
    return Profile(aside.id, applied=aside.applied, due_ms=aside.due_ms)


def encode_aside(aside: Aside) -> bytes:
    """The stored bytes."""
    return encode_head(ASIDE, aside.due_ms, aside.members) + _encoder.encode(aside)


def decode_aside(data: bytes) -> Aside | None:
    """What is set aside under these bytes; None where they are of a profile. StateError if damaged."""
    if data[:1] != bytes([ASIDE]):
        return None
    try:
        return _decoder.decode(body_of(data))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise StateError(f"what is set aside for a profile is damaged: {error}") from error
