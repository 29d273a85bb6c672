"""The identifiers that a record names, and what an erasure does to the record.

A record of the erased profile is deleted. Another profile's event or membership change that only mentions an
erased identifier, such as a shared device, is kept without it: its own history must not become wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

import msgspec

from segops.core.errors import RejectedEvent
from segops.core.events import Event
from segops.schemas.events import decode
from segops.schemas.identifying import DEFAULT, IdentityLimits, number_text
from segops.schemas.records import Record
from segops.schemas.ticks import TYPE_HEADER

#: Keys whose numbers are identifiers.
_NUMBERED: Final = frozenset(("userId", "anonymousId", "previousId", "id"))
#: A text that is JSON itself.
_NESTED: Final = "traits_json"


def type_of(record: Record) -> str | None:
    """Return the value of the header ``segops-type``: what a record is if not an event."""
    found = next((value for name, value in record.headers if name == TYPE_HEADER), None)
    return None if found is None else found.decode(errors="replace")


@lru_cache(maxsize=1 << 16)
def identifier_hash(identifier: str) -> int:
    """Return the first 64 bits of the SHA-256 of an identifier, as a signed number."""
    return int.from_bytes(sha256(identifier.encode(errors="surrogatepass")).digest()[:8], "big", signed=True)


def hash_of_hex(identifier_sha256: str) -> int:
    """Return the ``identifier_hash`` of an identifier whose SHA-256 a receipt names.

    >>> from segops.schemas.erasures import hashed
    >>> hash_of_hex(hashed("user_id:u1")) == identifier_hash("user_id:u1")
    True
    """
    return int.from_bytes(bytes.fromhex(identifier_sha256)[:8], "big", signed=True)


def decode_event(record: Record, limits: IdentityLimits = DEFAULT) -> Event | None:
    """Decode an event without correcting its time; return None for anything else."""
    if record.value is None or type_of(record) is not None:
        return None
    try:
        return decode(record.value, time_ms=0, default_id="", limits=limits)
    except (RejectedEvent, ValueError):
        return None


def named_in_event(event: Event, limits: IdentityLimits = DEFAULT) -> Iterator[str]:
    """Yield the identifiers of an event, and every e-mail address at a place where one is expected."""
    # The previous id of an alias may be a user's or an anonymous one.
    kinds = (("user_id", "anonymous_id"), (event.user_id, event.anonymous_id))
    pairs = [*zip(*kinds, strict=True), *((kind, event.previous_id) for kind in kinds[0])]
    yield from (f"{kind}:{value}" for kind, value in pairs if value is not None)
    for part in (event.traits, event.properties):
        email = limits.email((part or {}).get("email"))
        if email is not None:
            yield f"email:{email}"
    if event.email is not None:
        yield f"email:{event.email}"
    yield from event.others


def named_in_value(value: Any) -> Iterator[str]:
    """Yield every text of a decoded value that may be an identifier with its type, at any depth.

    >>> list(named_in_value(["claim", {"email:a@b": [1, "user_id:u"]}, "x"]))
    ['email:a@b', 'user_id:u']
    """
    if isinstance(value, str):
        if ":" in value:
            yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from named_in_value(key)
            yield from named_in_value(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from named_in_value(each)


def named_in_message(value: bytes | None) -> Iterator[str]:
    """Yield the identifiers in a message between profiles, or in a request."""
    try:
        found = msgspec.msgpack.decode((value or b"")[1:])
    except (msgspec.MsgspecError, ValueError):
        return
    yield from named_in_value(found)
    if isinstance(found, list) and len(found) > 2 and found[0] == "forward":
        event = msgspec.convert(found[2], Event, strict=False)
        yield from named_in_event(event)


def redacted(value: bytes, identifiers: Collection[str]) -> bytes:
    """Return a JSON value in which null stands for each of these identifiers, with or without their type.

    >>> redacted(b'{"userId":"u2","context":{"device":{"id":"D1"}},"n":7}', ["device_id:D1"])
    b'{"userId":"u2","context":{"device":{"id":null}},"n":7}'
    """
    texts = {text for each in identifiers for text in (each, each.partition(":")[2])}
    texts |= {text.lower() for text in texts}
    return msgspec.json.encode(_without(msgspec.json.decode(value), texts, None))


def _without(value: Any, texts: set[str], key: str | None) -> Any:
    if isinstance(value, dict):
        return {name: _without(each, texts, name) for name, each in value.items()}
    if isinstance(value, list):
        return [_without(each, texts, key) for each in value]
    if isinstance(value, str):
        return _text_without(value, texts, key)
    return None if key in _NUMBERED and number_text(value) in texts else value


def _text_without(value: str, texts: set[str], key: str | None) -> str | None:
    if key == _NESTED and value:
        nested = _without(msgspec.json.decode(value), texts, None)
        return msgspec.json.encode(nested).decode()
    text = value.strip()
    return None if text in texts or text.lower() in texts else value
