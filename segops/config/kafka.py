"""Settings of the Kafka connection and of the topics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, model_validator

from segops.config.base import SettingsSection, setting, variable_of
from segops.config.types import Addresses, PositiveDurationMs, SaslMechanism, SecurityProtocol


class KafkaSettings(SettingsSection):
    """How to reach the brokers."""

    bootstrap_servers: Addresses = setting(
        "KAFKA_BOOTSTRAP_SERVERS",
        "localhost:9092",
        "Kafka brokers as host:port, separated by commas.",
    )
    security_protocol: SecurityProtocol = setting(
        "KAFKA_SECURITY_PROTOCOL",
        "PLAINTEXT",
        "Protocol of the broker connections: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.",
    )
    sasl_mechanism: SaslMechanism = setting(
        "KAFKA_SASL_MECHANISM", "PLAIN", "SASL mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."
    )
    sasl_username: str | None = setting("KAFKA_SASL_USERNAME", None, "User name for SASL.")
    sasl_password: SecretStr | None = setting("KAFKA_SASL_PASSWORD", None, "Password for SASL.")
    ssl_cafile: Path | None = setting(
        "KAFKA_SSL_CAFILE", None, "File of trusted certificate authorities; the system's when empty."
    )
    ssl_certfile: Path | None = setting(
        "KAFKA_SSL_CERTFILE", None, "Client certificate, when the brokers require one."
    )
    ssl_keyfile: Path | None = setting("KAFKA_SSL_KEYFILE", None, "Key of the client certificate.")
    request_timeout_ms: PositiveDurationMs = setting(
        "KAFKA_REQUEST_TIMEOUT", "30s", "Timeout of a request to a broker."
    )

    @model_validator(mode="after")
    def _complete_login(self) -> KafkaSettings:
        if self.security_protocol.startswith("SASL_"):
            for field in ("sasl_username", "sasl_password"):
                if getattr(self, field) is None:
                    raise ValueError(
                        f"{variable_of(type(self), field)} is required by {self.security_protocol}"
                    )
        return self

    @property
    def chosen(self) -> bool:
        """Whether a broker was configured explicitly."""
        return "bootstrap_servers" in self.model_fields_set


class TopicSettings(SettingsSection):
    """Topic names, and the settings that topics are created with."""

    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,100}$")] = setting(
        "TOPIC_PREFIX", "segops.", "Prefix of every topic name."
    )
    partitions: int = setting(
        "PARTITIONS",
        8,
        "Partitions of every co-partitioned topic; cannot be changed once there is data.",
        ge=1,
        le=10_000,
    )
    replication: int = setting("REPLICATION", 1, "Replicas of each topic; 3 in production.", ge=1, le=9)
    retention_ms: PositiveDurationMs = setting(
        "RETENTION", "7d", "Retention of events, membership changes, former alerts and dead letters."
    )
    history_ms: PositiveDurationMs = setting(
        "HISTORY_RETENTION",
        "14d",
        "Retention of profile events, and how far back new segments read them.",
    )

    trends_retention_ms: PositiveDurationMs = setting(
        "TRENDS_RETENTION", "30d", "Retention of the minutes of segments: their sizes, entries and exits."
    )

    @property
    def events(self) -> str:
        """Raw input events."""
        return f"{self.prefix}events"

    @property
    def control(self) -> str:
        """Requests to erase a profile, to undo a merge and to scan all profiles."""
        return f"{self.prefix}control"

    @property
    def profile_events(self) -> str:
        """Events keyed by profile, and ticks."""
        return f"{self.prefix}profile-events"

    @property
    def segments(self) -> str:
        """Segment definitions (compacted, one partition)."""
        return f"{self.prefix}segments"

    @property
    def plans(self) -> str:
        """The latest plans, and how they ended (compacted, one partition)."""
        return f"{self.prefix}plans"

    @property
    def models(self) -> str:
        """Every version of each scoring model (compacted, one partition)."""
        return f"{self.prefix}models"

    @property
    def audiences(self) -> str:
        """Audiences: their descriptions, states and approvals (compacted, one partition)."""
        return f"{self.prefix}audiences"

    @property
    def audit(self) -> str:
        """Who did what to audiences (never compacted or deleted, one partition)."""
        return f"{self.prefix}audit"

    @property
    def access_audit(self) -> str:
        """What people did and read in the console (one partition)."""
        return f"{self.prefix}access-audit"

    @property
    def targets(self) -> str:
        """What audiences want each destination to know, by address (compacted)."""
        return f"{self.prefix}targets"

    @property
    def routes(self) -> str:
        """At which addresses each profile is a target (compacted)."""
        return f"{self.prefix}routes"

    @property
    def told(self) -> str:
        """What each destination was told (compacted)."""
        return f"{self.prefix}told"

    @property
    def destinations(self) -> str:
        """Destinations: services and servers that receive audiences (compacted, one partition)."""
        return f"{self.prefix}destinations"

    @property
    def budgets(self) -> str:
        """What may be sent to destinations under limits: reservations (one partition)."""
        return f"{self.prefix}budgets"

    @property
    def sources(self) -> str:
        """Topics that are mapped to events (compacted, one partition)."""
        return f"{self.prefix}sources"

    @property
    def tracking_plans(self) -> str:
        """Tracking plans of the collector's sources (compacted, one partition)."""
        return f"{self.prefix}tracking-plans"

    @property
    def violations(self) -> str:
        """Violations of tracking plans, counted by kind (one partition)."""
        return f"{self.prefix}violations"

    @property
    def catalogue(self) -> str:
        """Events, properties and traits that occur (compacted, one partition)."""
        return f"{self.prefix}catalogue"

    @property
    def membership_changes(self) -> str:
        """Every membership change."""
        return f"{self.prefix}membership.changes"

    @property
    def membership_state(self) -> str:
        """The latest membership change per profile and segment (compacted)."""
        return f"{self.prefix}membership.state"

    def output_memberships(self, form: str) -> str:
        """Name the latest membership changes per profile and segment in a format (compacted)."""
        return f"{self.prefix}output.{form}.memberships"

    def output_changes(self, form: str) -> str:
        """Name every membership change in a format."""
        return f"{self.prefix}output.{form}.changes"

    @property
    def indicators(self) -> str:
        """The latest value per profile and indicator (compacted)."""
        return f"{self.prefix}indicators"

    @property
    def sizes(self) -> str:
        """The sizes of the segments, and the population, per partition (compacted)."""
        return f"{self.prefix}sizes"

    @property
    def trends(self) -> str:
        """The sizes, entries and exits of each minute (compacted, with a retention of its own)."""
        return f"{self.prefix}trends"

    @property
    def alerts(self) -> str:
        """Alerts of segments that fire or have recovered (compacted, one partition)."""
        return f"{self.prefix}alerts"

    @property
    def receipts(self) -> str:
        """Receipts of erasures (compacted, without retention)."""
        return f"{self.prefix}receipts"

    @property
    def quarantine(self) -> str:
        """Profiles that cannot be read (compacted, without retention)."""
        return f"{self.prefix}quarantine"

    @property
    def scans(self) -> str:
        """Answers to scans (compacted, for a day)."""
        return f"{self.prefix}scans"

    @property
    def pulls(self) -> str:
        """How far each pull from another service has come (compacted, one partition)."""
        return f"{self.prefix}pulls"

    @property
    def dead_letters(self) -> str:
        """Rejected input, with the reason."""
        return f"{self.prefix}dead-letters"
