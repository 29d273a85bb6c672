"""The rules for valid events and identifiers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET

from segops.config import Settings
from segops.core.identifiers import Rules

#: An event of 32 KiB, the limit of Segment's and RudderStack's SDKs, and 4 KiB for what a collector adds.
MAX_BYTES = 36_864
MAX_AHEAD_MS = 300_000
MIN_SKEW_MS = 10_000
#: Values that identify no one, in any letter case; values of only zeros and hyphens do not, either.
BLOCKED = ("-1", "null", "anonymous", "undefined", "none", "nan")
#: The number of entries of ``context.externalIds`` that are read.
MAX_EXTERNAL_IDS = 20


class IdentityLimits(msgspec.Struct, frozen=True):
    """Limits of valid events and identifiers. ``blocked`` is in lower case."""

    max_bytes: int = MAX_BYTES
    max_ahead_ms: int = MAX_AHEAD_MS
    blocked: frozenset[str] = frozenset(BLOCKED)
    rules: Rules = Rules()
    min_skew_ms: int = MIN_SKEW_MS
    #: The parts of an event whose e-mail identifies, in order of precedence.
    email_sources: tuple[str, ...] = ("traits", "context.traits")

    def identifier(self, raw: Any) -> str | None:
        """Return an identifier as a string, or None for a blocked or invalid value."""
        text = raw if raw.__class__ is str else number_text(raw)
        if text is None:
            return None
        text = text.strip()
        return text if text.strip("0-") and text.lower() not in self.blocked else None

    def email(self, raw: object) -> str | None:
        """Return an e-mail address in lower case, or None for a blocked or invalid value.

        >>> IdentityLimits().email(" Ada@Example.com "), IdentityLimits().email(7)
        ('ada@example.com', None)
        """
        return self.identifier(raw.lower()) if isinstance(raw, str) else None


DEFAULT = IdentityLimits()

#: Above this, different integers may be equal floats, and two identifiers could collide.
_LARGEST_WHOLE = float(1 << 53)


def number_text(raw: Any) -> str | None:
    """Return an integer, or a float with an integer value, as a string; None for anything else.

    >>> number_text(12345), number_text(12345.0), number_text(0.5), number_text(1e20), number_text(True)
    ('12345', '12345', None, None, None)
    """
    if raw.__class__ is float and abs(raw) < _LARGEST_WHOLE and raw.is_integer():
        return str(int(raw))
    return str(raw) if raw.__class__ is int else None


def limits_of(settings: Settings) -> IdentityLimits:
    """Return the limits in the settings."""
    engine, identity = settings.engine, settings.identity
    blocked = frozenset(each.strip().lower() for each in identity.blocked.split(","))
    return IdentityLimits(
        engine.max_event_bytes,
        engine.max_event_ahead_ms,
        blocked,
        identity.rules,
        min_skew_ms=engine.min_skew_ms,
        email_sources=identity.sources,
    )


def describes_profile(kind: str) -> bool:
    """Return whether traits of this type of call describe the person; those of ``group`` do not."""
    return kind.strip().lower() != "group"


def email_of(event: Any, limits: IdentityLimits) -> object:
    """Return the raw e-mail of an event; UNSET without one.

    The first source with the key decides, even if its value is null or invalid: traits override those of the
    context. ``event`` has ``type``, ``traits``, ``context`` and ``properties``.
    """
    for source in limits.email_sources:
        part = _PARTS[source](event)
        email = part.get("email", UNSET) if part.__class__ is dict else getattr(part, "email", UNSET)
        if email is not UNSET:
            return email
    return UNSET


_PARTS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "traits": lambda event: event.traits if event.traits and describes_profile(event.type) else None,
    "context.traits": lambda event: None if event.context is None else event.context.traits,
    "properties": lambda event: event.properties,
}


_TYPE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def others_of(device: Any, external: Any, limits: IdentityLimits) -> tuple[str, ...]:
    """Return the valid identifiers in ``context.device`` and ``context.externalIds``.

    External ids must be of the collection ``users`` or of none: others are accounts, which people share.
    """
    if device is None and external is None:
        return ()
    device = device.get("id") if isinstance(device, dict) else None
    pairs: list[tuple[Any, Any]] = [("device_id", device)]
    if isinstance(external, list):
        known = (each for each in external[:MAX_EXTERNAL_IDS] if isinstance(each, dict) and _of_users(each))
        pairs += ((each.get("type"), each.get("id")) for each in known)
    named = ((kind, limits.identifier(raw)) for kind, raw in pairs if isinstance(kind, str))
    found = ((kind, value) for kind, value in named if value is not None and _TYPE.fullmatch(kind))
    return tuple(f"{kind}:{value.lower() if kind == 'email' else value}" for kind, value in found)


def _of_users(entry: dict[str, Any]) -> bool:
    collection = entry.get("collection")
    if collection.__class__ is str:
        return collection.strip().lower() in ("", "users")
    return collection is None
