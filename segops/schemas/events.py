"""The border: Segment-spec and RudderStack events as bytes, in; an ``Event``, or a reason, out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from segops.core.errors import RejectedEvent
from segops.core.events import Event
from segops.core.identifiers import USER
from segops.core.values import parse_instant
from segops.schemas.identifying import DEFAULT, IdentityLimits, describes_person, email_of, others_of

#: Values of the label ``reason`` of rejected events, and of the header of their dead letters.
REJECT_REASONS = (
    "empty",
    "too_large",
    "bad_utf8",
    "too_deep",
    "invalid_json",
    "wrong_type",
    "unknown_type",
    "no_name",
    "bad_time",
    "no_time",
    "no_identifier",
    "blocked_identifier",
    "internal",
)

#: What is nested deeper could be read, but perhaps not stored.
MAX_DEPTH = 256


class Routed(msgspec.Struct, frozen=True, gc=False):
    """Where an event belongs and when it happened."""

    profile_id: str
    time_ms: int
    clamped: bool = False


class _Mail(msgspec.Struct, gc=False):
    email: Any = msgspec.UNSET


class _Context(msgspec.Struct, gc=False):
    traits: _Mail | None = None


class _Envelope(msgspec.Struct, gc=False):
    """What routing reads of an event; everything else is skipped unread."""

    type: str
    event: str | None = None
    userId: str | int | None = None
    anonymousId: str | int | None = None
    traits: _Mail | None = None
    context: _Context | None = None
    properties: _Mail | None = None
    timestamp: str | None = None
    originalTimestamp: str | None = None
    sentAt: str | None = None
    receivedAt: str | None = None


class _OthersContext(msgspec.Struct, gc=False):
    device: Any = None
    externalIds: Any = None


class _Others(msgspec.Struct, gc=False):
    """What routing reads of an event that names nobody in the first places."""

    context: _OthersContext | None = None


class _FullContext(msgspec.Struct, gc=False):
    location: Any = None
    traits: dict[str, Any] | None = None
    device: Any = None
    externalIds: Any = None


class _Full(msgspec.Struct, gc=False):
    """What applying reads of an event."""

    type: str
    event: str | None = None
    # What routing has not looked at is taken as it comes: an odd value of it spoils no event.
    messageId: Any = None
    userId: str | int | None = None
    anonymousId: str | int | None = None
    previousId: Any = None
    groupId: Any = None
    name: Any = None
    category: Any = None
    traits: dict[str, Any] | None = None
    context: _FullContext | None = None
    properties: dict[str, Any] | None = None


_envelope = msgspec.json.Decoder(_Envelope)
_others_of = msgspec.json.Decoder(_Others)
_full = msgspec.json.Decoder(_Full)


def route(
    value: bytes | None, *, now_ms: int, default_time_ms: int | None, limits: IdentityLimits = DEFAULT
) -> Routed:
    """The profile and the time of an event.

    The time is corrected by the spec's skew rule where its fields exist, and an event more than
    ``limits.max_ahead_ms`` ahead of the wall clock ``now_ms`` is clamped to it. ``default_time_ms`` serves an
    event that names no time. The profile is the first of the event's identifiers by ``limits.rules``.

    >>> route(b'{"type":"track","event":"A","userId":"u1","timestamp":"1970-01-02"}', now_ms=10**12,
    ...       default_time_ms=None)
    Routed(profile_id='user_id:u1', time_ms=86400000, clamped=False)

    Raises RejectedEvent.
    """
    envelope = _decoded(_envelope, value, limits.max_bytes)
    if value.count(b"[") + value.count(b"{") > MAX_DEPTH:  # type: ignore[union-attr]
        _refuse_deep(value)  # type: ignore[arg-type]
    if envelope.type == "track":
        if not envelope.event:
            raise RejectedEvent("no_name", "a track call names no event")
    elif envelope.type not in _TYPES:
        raise RejectedEvent("unknown_type", f"type is {envelope.type[:40]!r}")
    profile_id = _profile_id(envelope, value, limits)  # type: ignore[arg-type]
    time_ms = _time_ms(envelope, default_time_ms)
    if time_ms > now_ms + limits.max_ahead_ms:
        return Routed(profile_id, now_ms, clamped=True)
    return Routed(profile_id, time_ms)


def decode(value: bytes, *, time_ms: int, default_id: str, limits: IdentityLimits = DEFAULT) -> Event:
    """The whole event of bytes that ``route`` has accepted; ``default_id`` serves one without a messageId.

    Raises RejectedEvent.
    """
    full = _decoded(_full, value, len(value or b""))
    name = full.event if full.type == "track" else full.type
    if not name:
        raise RejectedEvent("no_name", "a track call names no event")
    message_id, identifier = _message_id(full.messageId), limits.identifier
    said = email_of(full, limits)
    email = limits.email(said)
    return Event(
        name,
        time_ms,
        message_id or default_id,
        _properties(full),
        _traits(full),
        identifier(full.userId),
        identifier(full.anonymousId),
        email,
        named=message_id is not None,
        location=_location(full.context),
        previous_id=identifier(full.previousId) if full.type == "alias" else None,
        others=()
        if full.context is None
        else others_of(full.context.device, full.context.externalIds, limits),
        email_removed=email is None and said is not msgspec.UNSET,
    )


_TYPES = frozenset(("track", "identify", "page", "screen", "group", "alias"))


def _decoded(decoder: msgspec.json.Decoder[Any], value: bytes | None, max_bytes: int) -> Any:
    if not value:
        raise RejectedEvent("empty", "the record has no value")
    if len(value) > max_bytes:
        raise RejectedEvent("too_large", f"{len(value)} bytes, {max_bytes} are allowed")
    try:
        return decoder.decode(value)
    except msgspec.ValidationError as error:
        raise RejectedEvent("wrong_type", str(error)) from None
    except msgspec.DecodeError as error:
        raise RejectedEvent(_about_json(value), str(error)) from None
    except UnicodeDecodeError as error:
        raise RejectedEvent("bad_utf8", str(error)) from None
    except RecursionError:
        raise RejectedEvent("too_deep", "nested too deeply") from None


def _refuse_deep(value: bytes) -> None:
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", value)):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise RejectedEvent("too_deep", f"nested deeper than {MAX_DEPTH}")


_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"')
_BRACKETS = re.compile(rb"[\[\]{}]")


def _about_json(value: bytes) -> str:
    try:
        value.decode()
    except UnicodeDecodeError:
        return "bad_utf8"
    return "invalid_json"


def _profile_id(envelope: _Envelope, value: bytes, limits: IdentityLimits) -> str:
    user_id = limits.identifier(envelope.userId)
    if user_id is not None:
        return f"{USER}:{user_id}"
    email, anonymous_id = email_of(envelope, limits), envelope.anonymousId
    written = (("email", limits.email(email)), ("anonymous_id", limits.identifier(anonymous_id)))
    found = [f"{kind}:{value}" for kind, value in written if value is not None]
    if any(name in value for name in _OTHERS):
        others = _others_of.decode(value).context
        found += () if others is None else others_of(others.device, others.externalIds, limits)
    ordered = limits.rules.ordered(found)
    if ordered:
        return ordered[0]
    if envelope.userId or anonymous_id or email:
        raise RejectedEvent("blocked_identifier", "every identifier has a value that names nobody")
    raise RejectedEvent("no_identifier", "neither userId nor anonymousId nor an email")


_OTHERS = (b'"externalIds"', b'"device"')


def _message_id(raw: object) -> str | None:
    return str(raw) if raw and raw.__class__ in (str, int) else None


def _time_ms(envelope: _Envelope, default_ms: int | None) -> int:
    received, sent, original = envelope.receivedAt, envelope.sentAt, envelope.originalTimestamp
    if received is not None and sent is not None and original is not None:
        return _instant(received) - (_instant(sent) - _instant(original))
    for written in (envelope.timestamp, original, received, sent):
        if written is not None:
            return _instant(written)
    if default_ms is None:
        raise RejectedEvent("no_time", "the event names no time")
    return default_ms


def _instant(written: str) -> int:
    ms = parse_instant(written)
    if ms is None:
        raise RejectedEvent("bad_time", f"{written[:40]!r} is no ISO-8601 time")
    return ms


def _properties(full: _Full) -> dict[str, Any]:
    """What ``where`` reads: the properties, a page's name and category, the traits of identify and group."""
    properties = dict(full.properties or {})
    if full.type in ("identify", "group"):
        properties = {**(full.traits or {}), **properties}
    extras: Iterable[tuple[str, Any]] = (
        ("name", full.name),
        ("category", full.category),
        ("groupId", full.groupId),
        ("previousId", full.previousId),
    )
    if full.type != "track":
        for key, value in extras:
            if value is not None:
                properties.setdefault(key, value)
    return properties


def _location(context: _FullContext | None) -> tuple[float, float] | None:
    """context.location.latitude and .longitude, in degrees; None where they are no place on earth."""
    written = None if context is None else context.location
    if not isinstance(written, dict):
        return None
    lat, lon = (written.get(name) for name in ("latitude", "longitude"))
    if not isinstance(lat, (int, float)) or not isinstance(lon, (int, float)):
        return None
    return (float(lat), float(lon)) if -90 <= lat <= 90 and -180 <= lon <= 180 else None


def _traits(full: _Full) -> dict[str, Any] | None:
    """The traits to merge: context.traits of any call, and the call's own unless it is of a group."""
    merged = dict(full.context.traits) if full.context is not None and full.context.traits else {}
    if full.traits and describes_person(full.type):
        merged.update(full.traits)
    return merged or None
