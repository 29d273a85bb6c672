"""The records of the delivery: targets, routes, and what destinations were told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from segops.core.delivery.model import Target, Told
from segops.core.delivery.routing import Route, Routed

#: Of a target that is null, the exit that it is: a record of the address remains nowhere after it.
EXIT_HEADER: Final = "segops-exit"

_encode = msgspec.json.Encoder().encode
_target = msgspec.json.Decoder(Target)
_told = msgspec.json.Decoder(Told)
_route = msgspec.json.Decoder(Route)
_entries = msgspec.json.Decoder(dict[str, int])
_routed = msgspec.msgpack.Decoder(Routed)
_pack = msgspec.msgpack.Encoder().encode
_key = msgspec.json.Decoder(tuple[str, ...])


class BadKey(ValueError):
    """A key that no process of this version has written."""


def encode_key(*names: str) -> bytes:
    """Return the key of a record: ``destination, audience, address`` and, of a target, the profile.

    >>> encode_key("crm", "winback", "ann@shop.example", "user_id:u1")
    b'["crm","winback","ann@shop.example","user_id:u1"]'
    """
    return _encode(names)


def decode_key(key: bytes | None, count: int) -> tuple[str, ...]:
    """Return the parts of a key. Raises BadKey."""
    try:
        found = _key.decode(key or b"")
    except msgspec.DecodeError as error:
        raise BadKey(f"{key!r}: {error}") from None
    if len(found) != count:
        raise BadKey(f"{key!r}: expected {count} parts, got {len(found)}")
    return found


def encode_target(target: Target | None) -> tuple[bytes | None, Sequence[tuple[str, bytes]]]:
    """Return the value and the headers of a target."""
    if target is None:
        return None, ()
    encoded = _encode(target)
    return (encoded, ()) if target.member else (None, [(EXIT_HEADER, encoded)])


def decode_target(value: bytes | None, headers: Sequence[tuple[str, bytes]]) -> Target | None:
    """Return a target; None if it left no trace. Raises msgspec.DecodeError."""
    if value is not None:
        return _target.decode(value)
    encoded = dict(headers).get(EXIT_HEADER)
    return None if encoded is None else _target.decode(encoded)


def encode_told(told: Told | None) -> bytes | None:
    """Return the value of what a destination was told; None if nothing has to be remembered."""
    return None if told is None else _encode(told)


def decode_told(value: bytes | None) -> Told | None:
    """Return what a destination was told. Raises msgspec.DecodeError."""
    return None if value is None else _told.decode(value)


def encode_entries(told_ms: dict[str, int]) -> bytes | None:
    """Return the value of the entries that a person was told of: change -> instant."""
    return _encode(told_ms) if told_ms else None


def decode_entries(value: bytes | None) -> dict[str, int]:
    """Return the entries that a person was told of. Raises msgspec.DecodeError."""
    return {} if value is None else _entries.decode(value)


def encode_route(route: Route | None) -> bytes | None:
    """Return the value of a route."""
    return None if route is None else _encode(route)


def decode_route(value: bytes | None) -> Route | None:
    """Return a route. Raises msgspec.DecodeError."""
    return None if value is None else _route.decode(value)


def encode_routed(routed: Routed) -> bytes:
    """Return what is known of a profile, as it is kept."""
    return _pack(routed)


def decode_routed(data: bytes | None) -> Routed:
    """Return what is known of a profile. Raises msgspec.DecodeError."""
    return Routed() if data is None else _routed.decode(data)
