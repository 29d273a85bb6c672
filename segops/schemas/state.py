"""The stored form of a profile: a version byte, a head, then msgpack of an array-like struct.

The head has the values that a store is indexed by, so that a recovery need not decode whole profiles: the
due time (8 bytes), the length of the membership list (4 bytes), and that list, one segment key per line.

Format 2 stored a count or a number of distinct values once per capacity class; format 3 stores it once, which
earlier versions would not find. Format 2, and format 1, which had no head, can still be read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import msgspec

from segops.core.backfill import Row
from segops.core.errors import StateError, UnstorableError
from segops.core.events import Event
from segops.core.features import states
from segops.core.links import timer_of
from segops.core.profile import Member, Profile

#: Incremented for changes of the encoding other than appended fields.
FORMAT = 3

#: Replaces ``FORMAT`` for a quarantined profile; the head is that of a profile.
QUARANTINED = ord("q")

_HEADLESS = 1
_WITH_HEAD = (bytes([2]), bytes([FORMAT]))
_HEADED = (*_WITH_HEAD, bytes([QUARANTINED]))
_HEAD = struct.Struct(">BqI")
_NOT_DUE = -(1 << 63)
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Profile)


class _Frame(msgspec.Struct, array_like=True, gc=False):
    """A stored profile with its traits and features left undecoded."""

    id: str
    sequence: int
    applied: int
    evaluated_by: str
    due_ms: int | None
    first_ms: int | None
    latest_ms: int
    user_id: str | None
    anonymous_id: str | None
    email: str | None
    traits: msgspec.Raw
    trait_times: msgspec.Raw
    seen: msgspec.Raw
    features: msgspec.Raw
    members: dict[str, Member]
    flips: dict[str, int]


_frame = msgspec.msgpack.Decoder(_Frame)


def encode_profile(profile: Profile) -> bytes:
    """Encode a profile for the store, as ``packed``.

    Raises UnstorableError for a profile that could not be decoded again: the fields of ``_Frame`` are always
    checked, the whole profile only if a value had to be fitted, since decoding it takes longer than encoding.
    """
    try:
        body, fitted = _packed(profile)
        (_decoder if fitted else _frame).decode(body)
        return _head(profile) + body
    except _UNSTORABLE as error:
        raise UnstorableError(f"a profile cannot be stored: {error}") from error


#: Raised by encoding for values that msgpack or the head cannot represent, by decoding for a wrong type.
_UNSTORABLE = (msgspec.MsgspecError, OverflowError, ValueError, TypeError, RecursionError, struct.error)


def packed(value: Any) -> bytes:
    """Encode a value as msgpack.

    A free value (of a trait or property) that is an integer of more than 64 bits becomes the nearest float.
    Raises OverflowError for any other such integer.
    """
    return _packed(value)[0]


def _packed(value: Any) -> tuple[bytes, bool]:
    try:
        return _encoder.encode(value), False
    except OverflowError:
        return _encoder.encode(_with_fitted(value)), True


#: Fields with values from events. All other fields are internal and never coerced.
_FREE: dict[type, frozenset[str]] = {
    Profile: frozenset({"traits"}),
    Event: frozenset({"properties", "traits"}),
    states.RunningValue: frozenset({"value"}),
    states.Values: frozenset({"values"}),
    states.Entry: frozenset({"value", "timed"}),
    states.Link: frozenset({"values"}),
    Row: frozenset({"values"}),
}


def _with_fitted(value: Any) -> Any:
    """Copy structs with their free values fitted."""
    if isinstance(value, msgspec.Struct):
        free = _FREE.get(value.__class__, frozenset())
        fields = msgspec.structs.asdict(value).items()
        fitted = {name: _fitted(item) if name in free else _with_fitted(item) for name, item in fields}
        return msgspec.structs.replace(value, **fitted)
    if isinstance(value, dict):
        return {key: _with_fitted(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_fitted(item) for item in value]
    return value


def _head(profile: Profile) -> bytes:
    return encode_head(FORMAT, timer_of(profile), profile.members)


def encode_head(form: int, due_ms: int | None, keys: Iterable[str]) -> bytes:
    """Encode the head: the due time and the keys of the segments."""
    members = "\n".join(keys).encode()
    return _HEAD.pack(form, _NOT_DUE if due_ms is None else due_ms, len(members)) + members


def salvaged(profile: Profile) -> bytes:
    """Encode an unstorable profile for inspection; the bytes need not be decodable as a profile."""
    try:
        return _HEAD.pack(FORMAT, _NOT_DUE, 0) + _encoder.encode(_fitted(msgspec.to_builtins(profile)))
    except _UNSTORABLE:
        return _HEAD.pack(FORMAT, _NOT_DUE, 0) + _encoder.encode(repr(profile).encode(errors="replace"))


def _fitted(value: Any) -> Any:
    match value:
        case int() if not -(1 << 63) <= value < 1 << 64:
            return float(value) if abs(value) < _LARGEST else _LARGEST if value > 0 else -_LARGEST
        case dict():
            return {_fitted(key): _fitted(item) for key, item in value.items()}
        case str() if not value.isascii():
            return value.encode(errors="replace").decode()
        case list() | tuple():
            return [_fitted(item) for item in value]
    return value


_LARGEST = 1.7e308


def decode_profile(data: bytes) -> Profile:
    """Decode a stored profile.

    >>> decode_profile(encode_profile(Profile("user_id:u1"))).id
    'user_id:u1'

    Raises StateError for an unsupported format and for damaged bytes.
    """
    try:
        return _decoder.decode(body_of(data, _WITH_HEAD))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise StateError(f"a stored profile is damaged: {error}") from error


def body_of(data: bytes, formats: tuple[bytes, ...] = _HEADED) -> bytes:
    """Return the msgpack after the head. Raises StateError for an unsupported format or a partial head."""
    if data.startswith(formats):
        if len(data) < _HEAD.size:
            raise StateError("a stored profile is damaged: it ends within its head")
        return data[_HEAD.size + int(_HEAD.unpack_from(data)[2]) :]
    if data and data[0] == _HEADLESS:
        return data[1:]
    found = data[0] if data else "nothing"
    raise StateError(f"a stored profile has format {found}, this version of segops reads {FORMAT}")


def summary(data: bytes) -> tuple[int | None, bytes]:
    """Return the due time, and the keys of the segments that the profile is in, one per line.

    Raises StateError like ``decode_profile``.
    """
    if not data.startswith(_HEADED):
        profile = decode_profile(data)
        return timer_of(profile), "\n".join(profile.members).encode()
    try:
        _, due_ms, length = _HEAD.unpack_from(data)
    except struct.error as error:
        raise StateError(f"a stored profile is damaged: {error}") from error
    members = data[_HEAD.size : _HEAD.size + length]
    if len(members) < length or not members.isascii():
        raise StateError("a stored profile is damaged: invalid head")
    return None if due_ms == _NOT_DUE else due_ms, members
