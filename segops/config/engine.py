"""Settings of time, of accepted events, and of identity."""

from __future__ import annotations

from typing import Literal

from pydantic import ByteSize

from segops.config.base import SettingsSection, setting
from segops.config.types import DurationMs, EmailSources, Limits, Priority
from segops.core.identifiers import DEFAULT_LIMIT, OTHERS, PRIORITY, Rules


class EngineSettings(SettingsSection):
    """What time is, and how much of an event is accepted."""

    clock: Literal["wall", "event"] = setting(
        "CLOCK", "wall", "What moves time: wall (live) or event (history, demo, tests)."
    )
    grace_ms: DurationMs = setting(
        "GRACE", "1s", "How far the wall clock of a partition stays behind, for events in flight."
    )
    idle_source_ms: DurationMs = setting(
        "IDLE_SOURCE",
        "10s",
        "After how long without records a source at its end no longer holds the event clock back; 0: never.",
    )
    max_event_ahead_ms: DurationMs = setting(
        "MAX_EVENT_AHEAD",
        "5m",
        "How far ahead of the wall clock, or of its own receivedAt, an event may be before it is clamped.",
    )
    min_skew_ms: DurationMs = setting(
        "MIN_SKEW",
        "10s",
        "How far receivedAt and sentAt must be apart for a sender's clock to be corrected; less is transit.",
    )
    max_event_bytes: ByteSize = setting(
        "MAX_EVENT_BYTES", 32_768, "Largest event accepted; larger ones become dead letters.", ge=256
    )


class IdentitySettings(SettingsSection):
    """Which identifiers are one person's."""

    priority: Priority = setting(
        "IDENTIFIERS",
        ",".join(PRIORITY),
        "Types of identifiers that count, the first that an event has names its profile; *: all others.",
    )
    limits: Limits = setting(
        "IDENTIFIER_LIMITS",
        "user_id=1,*=5",
        "How many identifiers of a type a profile joins unasked; *: of any other type.",
    )
    blocked: str = setting(
        "BLOCKED_IDENTIFIERS",
        "-1,null,anonymous,undefined,none,nan",
        "Values that name nobody, in any case; zeros and hyphens alone never do.",
    )

    email_sources: EmailSources = setting(
        "EMAIL_SOURCES",
        "traits,context.traits",
        "Where the e-mail of an event's person is looked for: traits, context.traits, properties.",
    )

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources of e-mail, in the order in which they are looked at."""
        return tuple(self.email_sources.split(","))

    @property
    def rules(self) -> Rules:
        """As the core has them."""
        limits = {
            kind: int(limit) for kind, _, limit in (one.partition("=") for one in self.limits.split(","))
        }
        default = limits.pop(OTHERS, DEFAULT_LIMIT)
        return Rules(tuple(self.priority.split(",")), tuple(limits.items()), default)
