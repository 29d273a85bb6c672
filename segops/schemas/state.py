"""The stored form of a profile: a version byte, a head, then msgpack of an array-like struct.

The head has the values that a store is indexed by and that a partition sums, so that a recovery need not
decode whole profiles: the due time (8 bytes), the lengths of the membership list and of the moves (4 bytes
each), the activity (4 bytes), the membership list, one segment key per line, and the moves (``tallies``).

The head of the formats 2 and 3 has no moves and no activity: that is read from the body. Format 2 stored a
count or a number of distinct values once per capacity class; format 3 stores it once, which earlier versions
would not find. Format 1 had no head. All can still be read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import msgspec

from segops.core.activity import activity_of
from segops.core.backfill import Row
from segops.core.errors import StateError, UnstorableError
from segops.core.events import Event
from segops.core.features import states
from segops.core.links import timer_of
from segops.core.profile import Member, Profile
from segops.core.values import MAX_MS

#: Incremented for changes of the encoding other than appended fields.
FORMAT = 4

#: Replaces ``FORMAT`` for a quarantined profile; the head is that of a profile.
QUARANTINED = ord("q")

_HEADLESS = 1
_CURRENT = bytes([FORMAT])
_SHORT_HEADED = (bytes([2]), bytes([3]), bytes([QUARANTINED]))
_PROFILES = (bytes([2]), bytes([3]), bytes([FORMAT]))
_HEADED = (*_PROFILES, bytes([QUARANTINED]))
_SHORT_HEAD = struct.Struct(">BqI")
_HEAD = struct.Struct(">BqIIi")
_NOT_DUE = -(1 << 63)
_NO_ACTIVITY = -(1 << 31)
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


class _Dates(msgspec.Struct, array_like=True, gc=False):
    """The first fields of a stored profile: those that its activity is read from."""

    id: str
    sequence: int = 0
    applied: int = -1
    evaluated_by: str = ""
    due_ms: int | None = None
    first_ms: int | None = None
    latest_ms: int = -MAX_MS


#: What a store is indexed by and a partition sums: due time, keys of segments, activity, encoded moves.
#: A plain tuple: a recovery reads two for every record.
Head = tuple[int | None, bytes, int | None, bytes]


_dates = msgspec.msgpack.Decoder(_Dates)
_frame = msgspec.msgpack.Decoder(_Frame)


def encode_profile(profile: Profile, moves: bytes = b"", *, activity: int | None = None) -> bytes:
    """Encode a profile for the store, as ``packed``, with its ``moves``. ``activity``: its own, if known.

    Raises UnstorableError for a profile that could not be decoded again: the fields of ``_Frame`` are always
    checked, the whole profile only if a value had to be fitted, since decoding it takes longer than encoding.
    """
    try:
        body, fitted = _packed(profile)
        (_decoder if fitted else _frame).decode(body)
        return _head(profile, moves, activity) + body
    except _UNSTORABLE as error:
        raise UnstorableError(f"a profile cannot be stored: {error}") from error


def encode_exactly(profile: Profile) -> bytes | None:
    """Encode a profile without moves; None if it cannot be stored, or not without changing a value."""
    try:
        body = _encoder.encode(profile)
        _frame.decode(body)
        return _head(profile, b"", None) + body
    except _UNSTORABLE:
        return None


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
    Event: frozenset({"properties", "traits", "context"}),
    states.RunningValue: frozenset({"value"}),
    states.Values: frozenset({"values"}),
    states.Entry: frozenset({"value", "timed"}),
    states.Link: frozenset({"values"}),
    states.Session: frozenset({"first", "last"}),
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


def _head(profile: Profile, moves: bytes, activity: int | None) -> bytes:
    due_ms = timer_of(profile)
    activity = activity_of(profile) if activity is None else activity
    members = "\n".join(profile.members).encode()
    due_ms = _NOT_DUE if due_ms is None else due_ms
    activity = _NO_ACTIVITY if activity is None else activity
    return _HEAD.pack(FORMAT, due_ms, len(members), len(moves), activity) + members + moves


def encode_quarantined_head(due_ms: int | None, keys: Iterable[str]) -> bytes:
    """Encode the head of a quarantined profile: the due time and the keys of the segments."""
    members = "\n".join(keys).encode()
    return _SHORT_HEAD.pack(QUARANTINED, _NOT_DUE if due_ms is None else due_ms, len(members)) + members


def salvaged(profile: Profile) -> bytes:
    """Encode an unstorable profile for inspection; the bytes need not be decodable as a profile."""
    try:
        body = _encoder.encode(_fitted(msgspec.to_builtins(profile)))
    except _UNSTORABLE:
        body = _encoder.encode(repr(profile).encode(errors="replace"))
    return _HEAD.pack(FORMAT, _NOT_DUE, 0, 0, _NO_ACTIVITY) + body


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
        return _decoder.decode(body_of(data, _PROFILES))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise StateError(f"a stored profile is damaged: {error}") from error


def body_of(data: bytes, formats: tuple[bytes, ...] = _HEADED) -> bytes:
    """Return the msgpack after the head. Raises StateError for an unsupported format or a partial head."""
    if data.startswith(formats):
        return data[_body_at(data) :]
    if data and data[0] == _HEADLESS:
        return data[1:]
    found = data[0] if data else "nothing"
    raise StateError(f"a stored profile has format {found}, this version of segops reads {FORMAT}")


def _body_at(data: bytes) -> int:
    try:
        if data.startswith(_SHORT_HEADED):
            return _SHORT_HEAD.size + int(_SHORT_HEAD.unpack_from(data)[2])
        _, _, members, moves, _ = _HEAD.unpack_from(data)
    except struct.error as error:
        raise StateError("a stored profile is damaged: it ends within its head") from error
    return _HEAD.size + int(members) + int(moves)


def summary(data: bytes) -> tuple[int | None, bytes]:
    """Return the due time, and the keys of the segments that the profile is in, one per line.

    Raises StateError like ``decode_profile``.
    """
    return head_of(data)[:2]


def head_of(data: bytes) -> Head:
    """Return the head of a stored or quarantined profile. Raises StateError like ``decode_profile``."""
    try:
        if data.startswith(_CURRENT):
            head = _whole_head(data)
        elif data.startswith(_SHORT_HEADED):
            head = _short_head(data)
        else:
            profile = decode_profile(data)
            return timer_of(profile), "\n".join(profile.members).encode(), activity_of(profile), b""
    except struct.error as error:
        raise StateError(f"a stored profile is damaged: {error}") from error
    if not head[1].isascii():
        raise StateError("a stored profile is damaged: invalid head")
    return head


def redirect_of(data: bytes) -> str | None:
    """Return the profile into which a stored one was merged; None if it is a profile of its own.

    >>> redirect_of(encode_profile(Profile("anonymous_id:a", merged_into="user_id:u")))
    'user_id:u'

    Raises StateError like ``decode_profile``.
    """
    # A redirect has no activity: profiles with events, which are the large ones, are not decoded.
    if data[:1] == bytes([QUARANTINED]) or head_of(data)[2] is not None:
        return None
    return decode_profile(data).merged_into


def _whole_head(data: bytes) -> Head:
    _, due_ms, length, moves, activity = _HEAD.unpack_from(data)
    begin = _HEAD.size + length
    end = begin + moves
    if end > len(data):
        raise StateError("a stored profile is damaged: it ends within its head")
    return (
        None if due_ms == _NOT_DUE else due_ms,
        data[_HEAD.size : begin],
        None if activity == _NO_ACTIVITY else activity,
        data[begin:end],
    )


def _short_head(data: bytes) -> Head:
    _, due_ms, length = _SHORT_HEAD.unpack_from(data)
    end = _SHORT_HEAD.size + length
    if end > len(data):
        raise StateError("a stored profile is damaged: it ends within its head")
    activity = None if data[0] == QUARANTINED else _activity_in(data[end:])
    return None if due_ms == _NOT_DUE else due_ms, data[_SHORT_HEAD.size : end], activity, b""


def _activity_in(body: bytes) -> int | None:
    try:
        found = _dates.decode(body)
    except (msgspec.MsgspecError, ValueError):
        return None  # it is damaged, and will be quarantined
    return activity_of(Profile(found.id, first_ms=found.first_ms, latest_ms=found.latest_ms))
