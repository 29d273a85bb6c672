"""Segment-spec and RudderStack events: from bytes to an ``Event``, or to a reason for rejection."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from segops.core.errors import RejectedEvent
from segops.core.events import Event
from segops.core.identifiers import USER
from segops.core.values import kind
from segops.schemas.identifying import (
    DEFAULT,
    IdentityLimits,
    describes_profile,
    email_of,
    number_text,
    others_of,
)
from segops.schemas.repairs import reread
from segops.schemas.times import TimestampFields, event_time

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

#: Deeper nesting could be read, but perhaps not stored.
MAX_DEPTH = 256


class Routed(msgspec.Struct, frozen=True, gc=False):
    """The profile and the time of an event."""

    profile_id: str
    time_ms: int
    clamped: bool = False


class _Mail(msgspec.Struct, gc=False):
    email: Any = msgspec.UNSET


class _Context(msgspec.Struct, gc=False):
    traits: _Mail | None = None


class _Envelope(TimestampFields, kw_only=True, gc=False):
    """The fields that routing reads; all others are skipped."""

    type: str
    event: Any = None
    # Any type: an invalid value does not reject an event that has a valid identifier.
    userId: Any = None
    anonymousId: Any = None
    traits: _Mail | None = None
    context: _Context | None = None
    properties: _Mail | None = None


class _OthersContext(msgspec.Struct, gc=False):
    device: Any = None
    externalIds: Any = None


class _Others(msgspec.Struct, gc=False):
    """The fields that routing reads of an event without the common identifiers."""

    context: _OthersContext | None = None


class _FullContext(msgspec.Struct, frozen=True, gc=False):
    location: Any = None
    traits: dict[str, Any] | None = {}
    device: Any = None
    externalIds: Any = None


class _OfContext(msgspec.Struct, gc=False):
    context: dict[str, Any] | None = None


class _Full(msgspec.Struct, gc=False):
    """The fields that processing reads; an object written as null is None."""

    type: str
    event: Any = None
    # Any type: routing has accepted the event, and an invalid value here must not reject it.
    messageId: Any = None
    userId: Any = None
    anonymousId: Any = None
    previousId: Any = None
    groupId: Any = None
    name: Any = None
    category: Any = None
    traits: dict[str, Any] | None = {}
    context: _FullContext | None = _FullContext()
    properties: dict[str, Any] | None = {}


_envelope = msgspec.json.Decoder(_Envelope)
_others_of = msgspec.json.Decoder(_Others)
_full = msgspec.json.Decoder(_Full)
_of_context = msgspec.json.Decoder(_OfContext)


def route(
    value: bytes | None,
    *,
    now_ms: int,
    default_time_ms: int | None,
    limits: IdentityLimits = DEFAULT,
    repairs: Counter[str] | None = None,
) -> Routed:
    """Return the profile and the time (``times.event_time``) of an event.

    An event more than ``limits.max_ahead_ms`` ahead of its own ``receivedAt``, or of the wall clock
    ``now_ms``, is clamped to it. An event without a time gets ``default_time_ms``. The profile is the
    first of the event's identifiers by ``limits.rules``. ``repairs`` counts the times that cannot be read.

    >>> route(b'{"type":"track","event":"A","userId":"u1","timestamp":"1970-01-02"}', now_ms=10**12,
    ...       default_time_ms=None)
    Routed(profile_id='user_id:u1', time_ms=86400000, clamped=False)

    Raises RejectedEvent.
    """
    if not value:
        raise RejectedEvent("empty", "the record has no value")
    if len(value) > limits.max_bytes:
        raise RejectedEvent("too_large", f"{len(value)} bytes, {limits.max_bytes} are allowed")
    envelope = _read(_envelope, value, None)
    if value.count(b"[") + value.count(b"{") > MAX_DEPTH:
        _refuse_deep(value)
    _name(envelope)
    profile_id = _profile_id(envelope, value, limits)
    time_ms, clamped = event_time(envelope, default_ms=default_time_ms, limits=limits, repairs=repairs)
    if time_ms > now_ms + limits.max_ahead_ms:
        return Routed(profile_id, now_ms, clamped=True)
    return Routed(profile_id, time_ms, clamped)


def decode(
    value: bytes,
    *,
    time_ms: int,
    default_id: str,
    limits: IdentityLimits = DEFAULT,
    repairs: Counter[str] | None = None,
    context_keys: Collection[str] | None = (),
) -> Event:
    """Decode an event that ``route`` has accepted; without a messageId it gets ``default_id``.

    ``repairs`` counts its repaired and omitted parts, except times, by the kinds of ``repairs.REPAIRS``.
    ``context_keys`` are the parts of its context that the event keeps; None: all. Reading them takes a second
    pass over the record.

    Raises RejectedEvent.
    """
    full = _read(_full, value, repairs)
    name, kind = _name(full)
    if repairs is not None:
        _count_odd(full, repairs)
    message_id, identifier, context = _message_id(full.messageId), limits.identifier, full.context
    said = email_of(full, limits)
    email = limits.email(said)
    return Event(
        name,
        time_ms,
        message_id or default_id,
        _properties(full, kind),
        _traits(full, kind),
        identifier(full.userId),
        identifier(full.anonymousId),
        email,
        named=message_id is not None,
        location=_location(context),
        previous_id=identifier(full.previousId) if kind == "alias" else None,
        others=() if context is None else others_of(context.device, context.externalIds, limits),
        email_removed=email is None and said is not msgspec.UNSET,
        context=None if context_keys is not None and not context_keys else _context(value, context_keys),
    )


def _context(value: bytes, keys: Collection[str] | None) -> dict[str, Any] | None:
    """Return these parts of the context; None if the event has none of them."""
    found = _read(_of_context, value, None).context or {}
    kept = found if keys is None else {key: value for key, value in found.items() if key in keys}
    return kept or None


_TYPES = frozenset(("track", "identify", "page", "screen", "group", "alias"))


def _name(event: Any) -> tuple[str, str]:
    """Return the name that ``did`` matches, and the type of the call. Raises RejectedEvent."""
    kind = event.type
    if kind not in _TYPES:
        kind = kind.strip().lower()
        if kind not in _TYPES:
            raise RejectedEvent("unknown_type", f"type is {event.type[:40]!r}")
    if kind != "track":
        return kind, kind
    name = event.event
    if name.__class__ is not str and name is not None:
        raise RejectedEvent("wrong_type", f"the name of an event is a text, not {str(name)[:40]}")
    if not name:
        raise RejectedEvent("no_name", "a track call names no event")
    return name, kind


def _read(decoder: msgspec.json.Decoder[Any], value: bytes, repairs: Counter[str] | None) -> Any:
    try:
        return decoder.decode(value)
    except RecursionError:
        raise RejectedEvent("too_deep", "nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError):  # the first is a ValidationError, too
        event = reread(value, repairs)
    try:
        return msgspec.convert(event, decoder.type)
    except msgspec.ValidationError as error:
        raise RejectedEvent("wrong_type", str(error)) from None


def _count_odd(full: _Full, repairs: Counter[str]) -> None:
    context = full.context
    if full.properties is None:
        repairs["properties"] += 1
    if full.traits is None:
        repairs["traits"] += 1
    if context is None:
        repairs["context"] += 1
    else:
        if context.traits is None:
            repairs["context_traits"] += 1
        if (context.device is not None or context.externalIds is not None) and _has_odd_others(context):
            repairs["identifier"] += 1
            return
    user_id, anonymous_id, previous_id = full.userId, full.anonymousId, full.previousId
    if user_id.__class__ in _PLAIN and anonymous_id.__class__ in _PLAIN and previous_id.__class__ in _PLAIN:
        return  # almost always
    if any(map(_is_odd, (user_id, anonymous_id, previous_id))):
        repairs["identifier"] += 1


def _has_odd_others(context: _FullContext) -> bool:
    device, external = context.device, context.externalIds
    entries = external if isinstance(external, list) else [external]
    written = [each.get("id") if isinstance(each, dict) else each for each in (device, *entries)]
    return any(map(_is_odd, written))


_PLAIN = frozenset((str, int, type(None)))


def _is_odd(raw: Any) -> bool:
    return raw.__class__ is not str and raw is not None and number_text(raw) is None


def _refuse_deep(value: bytes) -> None:
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", value)):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise RejectedEvent("too_deep", f"nested deeper than {MAX_DEPTH}")


_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"')
_BRACKETS = re.compile(rb"[\[\]{}]")


def _profile_id(envelope: _Envelope, value: bytes, limits: IdentityLimits) -> str:
    user_id = limits.identifier(envelope.userId)
    if user_id is not None:
        return f"{USER}:{user_id}"
    email, anonymous_id = email_of(envelope, limits), envelope.anonymousId
    written = (("email", limits.email(email)), ("anonymous_id", limits.identifier(anonymous_id)))
    found = [f"{kind}:{value}" for kind, value in written if value is not None]
    if any(name in value for name in _OTHERS):
        others = _read(_others_of, value, None).context
        found += () if others is None else others_of(others.device, others.externalIds, limits)
    ordered = limits.rules.ordered(found)
    if ordered:
        return ordered[0]
    if any(_is_odd(raw) for raw in (envelope.userId, anonymous_id)):
        raise RejectedEvent("wrong_type", "an identifier is a text or a whole number")
    if envelope.userId or anonymous_id or email:
        raise RejectedEvent("blocked_identifier", "every identifier is a placeholder value")
    raise RejectedEvent("no_identifier", "neither userId nor anonymousId nor an email")


_OTHERS = (b'"externalIds"', b'"device"')


def _message_id(raw: Any) -> str | None:
    if raw.__class__ is not str:
        raw = number_text(raw) if raw else None
    return raw or None


def _properties(full: _Full, kind: str) -> dict[str, Any]:
    """Return the properties with a page's name and category, and the traits of identify and group."""
    properties = full.properties or {}
    if kind == "track":
        return properties
    if kind in ("identify", "group"):
        properties = {**(full.traits or {}), **properties}
    extras: Iterable[tuple[str, Any]] = (
        ("name", full.name),
        ("category", full.category),
        ("groupId", full.groupId),
        ("previousId", full.previousId),
    )
    for key, value in extras:
        if value is not None:
            properties.setdefault(key, value)
    return properties


def _location(context: _FullContext | None) -> tuple[float, float] | None:
    """Return the valid latitude and longitude of context.location, in degrees, or None."""
    written = None if context is None else context.location
    if not isinstance(written, dict):
        return None
    lat: Any = written.get("latitude")
    lon: Any = written.get("longitude")
    if kind(lat) != "number" or kind(lon) != "number":
        return None
    return (float(lat), float(lon)) if -90 <= lat <= 90 and -180 <= lon <= 180 else None


def _traits(full: _Full, kind: str) -> dict[str, Any] | None:
    """Return the traits to merge: context.traits, and the call's own traits unless it is a group call."""
    merged = full.context.traits if full.context is not None else None
    if full.traits and describes_profile(kind):
        merged = {**(merged or {}), **full.traits}
    return merged or None
