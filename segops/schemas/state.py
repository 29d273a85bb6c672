"""The stored form of a profile: one version byte, then msgpack of an array-like struct."""

from __future__ import annotations

import msgspec

from segops.core.errors import StateError
from segops.core.profile import Profile

#: Raised when the form changes in a way that adding fields at the end does not cover.
FORMAT = 1

_VERSION = bytes([FORMAT])
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Profile)


def encode_profile(profile: Profile) -> bytes:
    """The stored bytes of a profile."""
    return _VERSION + _encoder.encode(profile)


def decode_profile(data: bytes) -> Profile:
    """The profile of stored bytes.

    >>> decode_profile(encode_profile(Profile("user_id:u1"))).id
    'user_id:u1'

    Raises StateError for a format that this version does not read, and for damaged bytes.
    """
    if not data.startswith(_VERSION):
        found = data[0] if data else "nothing"
        raise StateError(f"a stored profile has format {found}, this version of segops reads {FORMAT}")
    try:
        return _decoder.decode(memoryview(data)[1:])
    except msgspec.DecodeError as error:
        raise StateError(f"a stored profile is damaged: {error}") from error
