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
        "Addresses of the Kafka brokers, host:port, separated by commas.",
    )
    security_protocol: SecurityProtocol = setting(
        "KAFKA_SECURITY_PROTOCOL",
        "PLAINTEXT",
        "How to talk to the brokers: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.",
    )
    sasl_mechanism: SaslMechanism = setting(
        "KAFKA_SASL_MECHANISM", "PLAIN", "How to log in: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."
    )
    sasl_username: str | None = setting("KAFKA_SASL_USERNAME", None, "User name for SASL.")
    sasl_password: SecretStr | None = setting("KAFKA_SASL_PASSWORD", None, "Password for SASL.")
    ssl_cafile: Path | None = setting(
        "KAFKA_SSL_CAFILE", None, "File of the authorities to trust; the system's when empty."
    )
    ssl_certfile: Path | None = setting(
        "KAFKA_SSL_CERTFILE", None, "The client's certificate, where the brokers ask for one."
    )
    ssl_keyfile: Path | None = setting("KAFKA_SSL_KEYFILE", None, "The key of the client's certificate.")
    request_timeout_ms: PositiveDurationMs = setting(
        "KAFKA_REQUEST_TIMEOUT", "30s", "How long a request to a broker may take."
    )

    @model_validator(mode="after")
    def _complete_login(self) -> KafkaSettings:
        if self.security_protocol.startswith("SASL_"):
            for field in ("sasl_username", "sasl_password"):
                if getattr(self, field) is None:
                    raise ValueError(
                        f"{variable_of(type(self), field)} is needed by {self.security_protocol}"
                    )
        return self

    @property
    def chosen(self) -> bool:
        """Whether somebody named a broker, rather than leaving the default."""
        return "bootstrap_servers" in self.model_fields_set


class TopicSettings(SettingsSection):
    """The topics: names, and what they are created with."""

    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,100}$")] = setting(
        "TOPIC_PREFIX", "segops.", "What every topic's name begins with."
    )
    partitions: int = setting(
        "PARTITIONS",
        8,
        "Partitions of every co-partitioned topic; fixed once there is data.",
        ge=1,
        le=10_000,
    )
    replication: int = setting("REPLICATION", 1, "Copies of each topic; 3 in production.", ge=1, le=9)
    retention_ms: PositiveDurationMs = setting(
        "RETENTION", "7d", "How long events, membership changes and dead letters are kept."
    )

    @property
    def events(self) -> str:
        """Raw input."""
        return f"{self.prefix}events"

    @property
    def control(self) -> str:
        """Requests to erase, and to undo a merge."""
        return f"{self.prefix}control"

    @property
    def profile_events(self) -> str:
        """Events with their profile found, and ticks."""
        return f"{self.prefix}profile-events"

    @property
    def segments(self) -> str:
        """The definitions (compacted, one partition)."""
        return f"{self.prefix}segments"

    @property
    def membership_changes(self) -> str:
        """Every change, once."""
        return f"{self.prefix}membership.changes"

    @property
    def membership_state(self) -> str:
        """The latest change per profile and segment (compacted)."""
        return f"{self.prefix}membership.state"

    @property
    def receipts(self) -> str:
        """What was erased (compacted, kept)."""
        return f"{self.prefix}receipts"

    @property
    def quarantine(self) -> str:
        """Stored profiles that cannot be read (compacted, kept)."""
        return f"{self.prefix}quarantine"

    @property
    def dead_letters(self) -> str:
        """Input that was refused, with the reason."""
        return f"{self.prefix}dead-letters"
