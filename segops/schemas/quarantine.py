"""The stored form of a quarantined profile: its unreadable bytes, and the records held for it.

It replaces the profile in the store and in the changelog, with the same guarantees. Its own format byte
distinguishes it from a profile. The head is that of a profile, with the last known memberships, so that the
indexes of the store stay unchanged.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

import msgspec

from segops.core.errors import StateError
from segops.core.profile import Profile
from segops.schemas.state import QUARANTINED, body_of, encode_quarantined_head, head_of, summary

_MAX_SEQUENCE = 1 << 62
#: Due at any clock: the unreadable bytes must be published.
_AT_ONCE = 0

#: In a key of the quarantine topic, separates the source profile of a handover from the name of the bytes.
HANDOVER_MARK: Final = b"\x00"
QUARANTINE_HEADER: Final = "segops-quarantine"
FOUND_HEADER: Final = "segops-found-in"
REASON_HEADER: Final = "segops-reason"
ORIGIN_HEADER: Final = "segops-origin"


class HeldRecord(msgspec.Struct, array_like=True, gc=False, frozen=True):
    """A record held for a quarantined profile, unchanged, and the partition's clock at its arrival."""

    clock_ms: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]

    @property
    def size(self) -> int:
        """The approximate size in bytes."""
        return len(self.key or b"") + len(self.value or b"") + sum(len(value) for _, value in self.headers)


class QuarantinedProfile(msgspec.Struct, array_like=True):
    """A quarantined profile. New fields are added at the end, with a default."""

    id: str
    #: The name of the bytes (``name_of_bytes``), which a release must repeat.
    of: str
    reason: str
    #: The partition's clock, and its offset in profile-events, when the profile was quarantined.
    since_ms: int
    offset: int
    #: The unreadable bytes, until they are published.
    data: bytes | None
    #: The sequence of the last change, if readable, else 0.
    sequence: int = 0
    members: list[str] = []
    #: The offset of the last record held or rejected.
    applied: int = -1
    held: list[HeldRecord] = []
    held_bytes: int = 0

    @property
    def due_ms(self) -> int | None:
        """When the profile is due."""
        return None if self.data is None else _AT_ONCE

    def hold(self, record: HeldRecord) -> None:
        """Hold a record for the profile."""
        self.held.append(record)
        self.held_bytes += record.size


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(QuarantinedProfile)


def quarantine_profile(
    profile_id: str, data: bytes, reason: str, *, since_ms: int, offset: int
) -> QuarantinedProfile:
    """Quarantine a profile with unreadable bytes; sequence and memberships are salvaged if possible."""
    name = name_of_bytes(data)
    return QuarantinedProfile(
        profile_id, name, reason, since_ms, offset, data, sequence_in(data), _members_in(data)
    )


def name_of_bytes(data: bytes) -> str:
    """Return a short name of some bytes: the first 16 hex digits of their SHA-256.

    >>> name_of_bytes(b"x")
    '2d711642b726b044'
    """
    return sha256(data).hexdigest()[:16]


def sequence_in(data: bytes) -> int:
    """Return the sequence in the bytes of a profile that may be unreadable otherwise; 0 if unreadable."""
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
    """Return the due time under which a store indexes the bytes; an unreadable head is due at once."""
    try:
        return summary(data)[0]
    except StateError:
        return _AT_ONCE


def activity_in(data: bytes) -> int | None:
    """Return the activity in the head of the bytes; None if the head is unreadable."""
    try:
        return head_of(data)[2]
    except StateError:
        return None


def stand_in(quarantined: QuarantinedProfile) -> Profile:
    """Return an empty profile with the offset and due time of the quarantined one."""
    return Profile(quarantined.id, applied=quarantined.applied, due_ms=quarantined.due_ms)


def encode_quarantined(quarantined: QuarantinedProfile) -> bytes:
    """Encode a quarantined profile for the store."""
    return encode_quarantined_head(quarantined.due_ms, quarantined.members) + _encoder.encode(quarantined)


def decode_quarantined(data: bytes) -> QuarantinedProfile | None:
    """Decode a quarantined profile; return None for the bytes of a profile. Raises StateError if damaged."""
    if data[:1] != bytes([QUARANTINED]):
        return None
    try:
        return _decoder.decode(body_of(data))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise StateError(f"damaged quarantined profile: {error}") from error
