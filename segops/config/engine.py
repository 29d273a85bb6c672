"""Settings of time, of accepted events and of identity."""

from __future__ import annotations

from typing import Literal

from pydantic import ByteSize

from segops.config.base import SettingsSection, setting
from segops.config.types import DurationMs, EmailSources, Limits, Priority
from segops.core.identifiers import DEFAULT_LIMIT, OTHERS, PRIORITY, Rules


class EngineSettings(SettingsSection):
    """Where time comes from, and which events are accepted."""

    clock: Literal["wall", "event"] = setting(
        "CLOCK", "wall", "Time source: wall (live) or event (history, demo, tests)."
    )
    grace_ms: DurationMs = setting(
        "GRACE", "1s", "Delay of a partition's clock behind the wall clock, for events in flight."
    )
    idle_source_ms: DurationMs = setting(
        "IDLE_SOURCE",
        "10s",
        "Time without records after which a source at its end stops holding back the event clock; 0: never.",
    )
    max_event_ahead_ms: DurationMs = setting(
        "MAX_EVENT_AHEAD",
        "5m",
        "How far ahead of the wall clock, or of its receivedAt, an event may be before it is clamped.",
    )
    min_skew_ms: DurationMs = setting(
        "MIN_SKEW",
        "10s",
        "Smallest gap between receivedAt and sentAt that corrects a sender's clock; less counts as transit.",
    )
    max_event_bytes: ByteSize = setting(
        "MAX_EVENT_BYTES",
        36_864,
        "Largest event accepted; larger ones become dead letters. By default 32 KiB, and 4 for a collector.",
        ge=256,
    )
    kernel: Literal["auto", "off", "require"] = setting(
        "KERNEL",
        "auto",
        "Whether the kernel applies events: auto (where it is built), off (pure Python) or require.",
    )
    backfill_share: float = setting(
        "BACKFILL_SHARE",
        0.3,
        "Part of a worker's time for reading and folding history, and for evaluating profiles by new "
        "definitions, while live records wait; less while these are late.",
        gt=0,
        le=1,
    )


class IdentitySettings(SettingsSection):
    """Which identifiers are linked to one profile."""

    priority: Priority = setting(
        "IDENTIFIERS",
        ",".join(PRIORITY),
        "Identifier types by priority; the first one that an event has names its profile; *: all others.",
    )
    limits: Limits = setting(
        "IDENTIFIER_LIMITS",
        "user_id=1,*=5",
        "How many identifiers of a type a profile links automatically; *: of any other type.",
    )
    blocked: str = setting(
        "BLOCKED_IDENTIFIERS",
        "-1,null,anonymous,undefined,none,nan",
        "Values that identify no one, case-insensitive; zeros and hyphens alone are always blocked.",
    )

    email_sources: EmailSources = setting(
        "EMAIL_SOURCES",
        "traits,context.traits",
        "Where an event's e-mail address is read from: traits, context.traits, properties.",
    )

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources of e-mail addresses, in order of precedence."""
        return tuple(self.email_sources.split(","))

    @property
    def rules(self) -> Rules:
        """The identity rules in the core's form."""
        limits = {
            kind: int(limit) for kind, _, limit in (one.partition("=") for one in self.limits.split(","))
        }
        default = limits.pop(OTHERS, DEFAULT_LIMIT)
        return Rules(tuple(self.priority.split(",")), tuple(limits.items()), default)
