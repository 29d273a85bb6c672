"""The stored form of a profile: a version byte, a head, then msgpack of an array-like struct.

The head repeats what a store is indexed by, so that a recovery need not decode whole profiles: the due
time (8 bytes), the length of the membership list (4 bytes), and that list, one segment key a line.

Format 2 kept a count or a number of different values apart for each class of its limit; 3 says that they
are one, which earlier versions would not find. Format 2 and format 1, which had no head, are still read.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from segops.core.errors import StateError
from segops.core.links import timer_of
from segops.core.profile import Profile

#: Raised when the form changes in a way that adding fields at the end does not cover.
FORMAT = 3

_HEADLESS = 1
_WITH_HEAD = (bytes([2]), bytes([FORMAT]))
_HEAD = struct.Struct(">BqI")
_NOT_DUE = -(1 << 63)
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Profile)


def encode_profile(profile: Profile) -> bytes:
    """The stored bytes of a profile, as ``packed``."""
    return _head(profile) + packed(profile)


def packed(value: Any) -> bytes:
    """A value as msgpack. An integer of more than 64 bits is kept as the nearest float."""
    try:
        return _encoder.encode(value)
    except OverflowError:
        return _encoder.encode(_fitted(msgspec.to_builtins(value)))


def _head(profile: Profile) -> bytes:
    members = "\n".join(profile.members).encode()
    due_ms = timer_of(profile)
    return _HEAD.pack(FORMAT, _NOT_DUE if due_ms is None else due_ms, len(members)) + members


def _fitted(value: Any) -> Any:
    match value:
        case int() if not -(1 << 63) <= value < 1 << 64:
            return float(value) if abs(value) < _LARGEST else _LARGEST if value > 0 else -_LARGEST
        case dict():
            return {key: _fitted(item) for key, item in value.items()}
        case list() | tuple():
            return [_fitted(item) for item in value]
    return value


_LARGEST = 1.7e308


def decode_profile(data: bytes) -> Profile:
    """The profile of stored bytes.

    >>> decode_profile(encode_profile(Profile("user_id:u1"))).id
    'user_id:u1'

    Raises StateError for a format that this version does not read, and for damaged bytes.
    """
    try:
        return _decoder.decode(data[_start(data) :])
    except (msgspec.DecodeError, ValueError, RecursionError, struct.error) as error:
        raise StateError(f"a stored profile is damaged: {error}") from error


def _start(data: bytes) -> int:
    if data.startswith(_WITH_HEAD):
        return _HEAD.size + int(_HEAD.unpack_from(data)[2])
    if data and data[0] == _HEADLESS:
        return 1
    found = data[0] if data else "nothing"
    raise StateError(f"a stored profile has format {found}, this version of segops reads {FORMAT}")


def summary(data: bytes) -> tuple[int | None, bytes]:
    """The due time, and the keys of the segments that the profile is in, one a line.

    Raises StateError like ``decode_profile``.
    """
    if not data.startswith(_WITH_HEAD):
        profile = decode_profile(data)
        return timer_of(profile), "\n".join(profile.members).encode()
    try:
        _, due_ms, length = _HEAD.unpack_from(data)
    except struct.error as error:
        raise StateError(f"a stored profile is damaged: {error}") from error
    return None if due_ms == _NOT_DUE else due_ms, data[_HEAD.size : _HEAD.size + length]
