"""The stored form of a profile: one version byte, then msgpack of an array-like struct."""

from __future__ import annotations

from typing import Any

import msgspec

from segops.core.errors import StateError
from segops.core.profile import Profile

#: Raised when the form changes in a way that adding fields at the end does not cover.
FORMAT = 1

_VERSION = bytes([FORMAT])
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Profile)


def encode_profile(profile: Profile) -> bytes:
    """The stored bytes of a profile. An integer of more than 64 bits is kept as the nearest float."""
    try:
        return _VERSION + _encoder.encode(profile)
    except OverflowError:
        return _VERSION + _encoder.encode(_fitted(msgspec.to_builtins(profile)))


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
    if not data.startswith(_VERSION):
        found = data[0] if data else "nothing"
        raise StateError(f"a stored profile has format {found}, this version of segops reads {FORMAT}")
    try:
        return _decoder.decode(memoryview(data)[1:])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise StateError(f"a stored profile is damaged: {error}") from error
