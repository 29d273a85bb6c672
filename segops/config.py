"""Settings: small frozen values, one class per part, read once from ``SEGOPS_*`` variables.

This is the only module that reads the environment. Durations are written ``500ms``, ``1s``, ``5m``
and become whole milliseconds; sizes are written ``67108864`` or ``64MiB`` and become bytes.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from segops.config_types import (
    Addresses,
    DurationMs,
    KafkaName,
    Limits,
    PositiveDurationMs,
    Priority,
    SaslMechanism,
    SecurityProtocol,
    duration_ms,
)
from segops.core.errors import UserError
from segops.core.identifiers import DEFAULT_LIMIT, OTHERS, PRIORITY, Rules

PREFIX = "SEGOPS_"


def _setting(name: str, default: object, description: str, **limits: Any) -> Any:
    """A field read from ``SEGOPS_<name>``; ``description`` is its documentation."""
    return Field(
        default, validation_alias=PREFIX + name, description=description, validate_default=True, **limits
    )


class _Part(BaseSettings):
    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, env_ignore_empty=True, hide_input_in_errors=True
    )


class KafkaSettings(_Part):
    """How to reach the brokers."""

    bootstrap_servers: Addresses = _setting(
        "KAFKA_BOOTSTRAP_SERVERS",
        "localhost:9092",
        "Addresses of the Kafka brokers, host:port, separated by commas.",
    )
    security_protocol: SecurityProtocol = _setting(
        "KAFKA_SECURITY_PROTOCOL",
        "PLAINTEXT",
        "How to talk to the brokers: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.",
    )
    sasl_mechanism: SaslMechanism = _setting(
        "KAFKA_SASL_MECHANISM", "PLAIN", "How to log in: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."
    )
    sasl_username: str | None = _setting("KAFKA_SASL_USERNAME", None, "User name for SASL.")
    sasl_password: SecretStr | None = _setting("KAFKA_SASL_PASSWORD", None, "Password for SASL.")
    ssl_cafile: Path | None = _setting(
        "KAFKA_SSL_CAFILE", None, "File of the authorities to trust; the system's when empty."
    )
    ssl_certfile: Path | None = _setting(
        "KAFKA_SSL_CERTFILE", None, "The client's certificate, where the brokers ask for one."
    )
    ssl_keyfile: Path | None = _setting("KAFKA_SSL_KEYFILE", None, "The key of the client's certificate.")
    request_timeout_ms: PositiveDurationMs = _setting(
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


class TopicSettings(_Part):
    """The topics: names, and what they are created with."""

    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,100}$")] = _setting(
        "TOPIC_PREFIX", "segops.", "What every topic's name begins with."
    )
    partitions: int = _setting(
        "PARTITIONS",
        8,
        "Partitions of every co-partitioned topic; fixed once there is data.",
        ge=1,
        le=10_000,
    )
    replication: int = _setting("REPLICATION", 1, "Copies of each topic; 3 in production.", ge=1, le=9)
    retention_ms: PositiveDurationMs = _setting(
        "RETENTION", "7d", "How long events, membership changes and dead letters are kept."
    )

    @property
    def events(self) -> str:
        """Raw input."""
        return f"{self.prefix}events"

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
    def dead_letters(self) -> str:
        """Input that was refused, with the reason."""
        return f"{self.prefix}dead-letters"


class EngineSettings(_Part):
    """What time is, and how much of an event is accepted."""

    clock: Literal["wall", "event"] = _setting(
        "CLOCK", "wall", "What moves time: wall (live) or event (history, demo, tests)."
    )
    grace_ms: DurationMs = _setting(
        "GRACE", "1s", "How far the wall clock of a partition stays behind, for events in flight."
    )
    idle_source_ms: DurationMs = _setting(
        "IDLE_SOURCE",
        "10s",
        "After how long without records a source at its end no longer holds the event clock back; 0: never.",
    )
    max_event_ahead_ms: DurationMs = _setting(
        "MAX_EVENT_AHEAD", "5m", "How far ahead of the wall clock an event may be before it is clamped to it."
    )
    max_event_bytes: ByteSize = _setting(
        "MAX_EVENT_BYTES", 32_768, "Largest event accepted; larger ones become dead letters.", ge=256
    )


class IdentitySettings(_Part):
    """Which identifiers are one person's."""

    priority: Priority = _setting(
        "IDENTIFIERS",
        ",".join(PRIORITY),
        "Types of identifiers that count, the first that an event has names its profile; *: all others.",
    )
    limits: Limits = _setting(
        "IDENTIFIER_LIMITS",
        "user_id=1,*=5",
        "How many identifiers of a type a profile joins unasked; *: of any other type.",
    )
    blocked: str = _setting(
        "BLOCKED_IDENTIFIERS",
        "-1,null,anonymous,undefined,none,nan",
        "Values that name nobody, in any case; zeros and hyphens alone never do.",
    )

    @property
    def rules(self) -> Rules:
        """As the core has them."""
        limits = {
            kind: int(limit) for kind, _, limit in (one.partition("=") for one in self.limits.split(","))
        }
        default = limits.pop(OTHERS, DEFAULT_LIMIT)
        return Rules(tuple(self.priority.split(",")), tuple(limits.items()), default)


class CheckpointSettings(_Part):
    """When work becomes durable."""

    interval_ms: Annotated[int, BeforeValidator(duration_ms), Field(ge=10, le=60_000)] | None = _setting(
        "CHECKPOINT_INTERVAL", None, "Time between two checkpoints, 10ms to 1m; 1s, or 250ms if exactly_once."
    )
    max_records: int = _setting(
        "CHECKPOINT_MAX_RECORDS", 20_000, "Records after which a checkpoint is taken early.", ge=1
    )


class StateSettings(_Part):
    """Where profiles are kept, and how much memory that takes."""

    data_dir: Path = _setting("DATA_DIR", "segops-data", "Folder of the profile store, on a local disk.")
    cache_profiles: int = _setting(
        "CACHE_PROFILES", 50_000, "Decoded profiles that a worker keeps in memory at most.", ge=100
    )
    block_cache_bytes: ByteSize = _setting(
        "BLOCK_CACHE_BYTES", "128MiB", "Read cache of the store, shared by a worker's partitions.", ge=1 << 20
    )
    max_state_bytes: ByteSize = _setting(
        "MAX_STATE_BYTES",
        "512KiB",
        "Largest stored profile; an event that would make it larger becomes a dead letter.",
        ge=4_096,
    )
    standby_replicas: int = _setting(
        "STANDBY_REPLICAS",
        0,
        "Further workers that keep a current copy of each partition's store; the same for all workers.",
        ge=0,
        le=3,
    )
    write_buffer_bytes: ByteSize = _setting(
        "WRITE_BUFFER_BYTES", "128MiB", "Write buffers, shared by a worker's partitions.", ge=1 << 20
    )


class WorkerSettings(_Part):
    """One worker process."""

    app_id: KafkaName = _setting("APP_ID", "segops", "Name of the application: its group and changelog.")
    instance_id: KafkaName | None = _setting(
        "INSTANCE_ID",
        None,
        "This worker's fixed name in the group, so that a restart takes its partitions back.",
    )
    web_host: str = _setting("WEB_HOST", "127.0.0.1", "Address that the worker's HTTP server listens on.")
    web_port: int = _setting(
        "WEB_PORT", 6066, "Port of the worker's HTTP server; each has its own.", ge=0, le=65_535
    )
    advertised_host: str | None = _setting(
        "ADVERTISED_HOST", None, "Name or address by which others reach the worker's HTTP server."
    )
    web_token: SecretStr | None = _setting(
        "WEB_TOKEN",
        None,
        "What readers of profiles must tell; none: they are read on loopback addresses only.",
    )
    session_timeout_ms: Annotated[int, BeforeValidator(duration_ms), Field(ge=6_000, le=1_800_000)] = (
        _setting(
            "SESSION_TIMEOUT",
            "45s",
            "After how long without a sign of life a worker's partitions go to others, 6s to 30m.",
        )
    )
    on_lost_records: Literal["stop", "continue"] = _setting(
        "ON_LOST_RECORDS",
        "stop",
        "When records were deleted before they were read: stop, or continue behind them.",
    )
    stall_timeout_ms: DurationMs = _setting(
        "STALL_TIMEOUT", "1m", "How long a process may stand still before it is ended; 0: for ever."
    )
    progress_timeout_ms: DurationMs = _setting(
        "PROGRESS_TIMEOUT",
        "10m",
        "How long records may wait without any of their partition being read before the process is ended; "
        "0: for ever.",
    )
    processing_guarantee: Literal["at_least_once", "exactly_once"] = _setting(
        "PROCESSING_GUARANTEE",
        "at_least_once",
        "What a crash may repeat: at_least_once (repeats, with the same ids) or exactly_once (nothing).",
    )

    crash_at: Annotated[str, Field(pattern=r"^(cp([1-8]|10)|stall)(:[1-9][0-9]*)?$")] | None = _setting(
        "CRASH_AT",
        None,
        "For tests of recovery: die at this point (cp1 to cp8, cp10), or stall, as name:n for the n-th time.",
    )

    @property
    def changelog(self) -> str:
        """The topic that the profile store is rebuilt from (compacted)."""
        return f"{self.app_id}-profiles-changelog"


class Settings(BaseModel):
    """All of them."""

    model_config = ConfigDict(frozen=True)

    kafka: KafkaSettings
    topics: TopicSettings
    engine: EngineSettings
    identity: IdentitySettings
    checkpoint: CheckpointSettings
    state: StateSettings
    worker: WorkerSettings

    @property
    def checkpoint_interval_ms(self) -> int:
        """As set, or by the guarantee: with exactly_once nothing is seen before a checkpoint."""
        return self.checkpoint.interval_ms or (250 if self.exactly_once else 1_000)

    @property
    def exactly_once(self) -> bool:
        """Whether work is made durable in transactions."""
        return self.worker.processing_guarantee == "exactly_once"


_PARTS: dict[str, type[_Part]] = {
    "kafka": KafkaSettings,
    "topics": TopicSettings,
    "engine": EngineSettings,
    "identity": IdentitySettings,
    "checkpoint": CheckpointSettings,
    "state": StateSettings,
    "worker": WorkerSettings,
}


def load(**overrides: Mapping[str, object]) -> Settings:
    """The settings: ``overrides`` by part and field, else the environment, else the defaults.

    >>> load(engine={"clock": "event", "grace_ms": "0"}).engine.grace_ms
    0

    Raises UserError with every wrong variable and the reason; values are never shown.
    """
    problems: list[str] = []
    parts: dict[str, _Part] = {}
    for name, part in _PARTS.items():
        try:
            parts[name] = part(**overrides.get(name, {}))
        except ValidationError as error:
            problems += _reasons(part, error)
    if problems:
        raise UserError("\n".join(problems))
    return Settings.model_validate(parts)


def _reasons(part: type[_Part], error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_input=False, include_url=False):
        reason = problem["msg"].removeprefix("Value error, ")
        where = str(problem["loc"][0]) if problem["loc"] else ""
        yield f"{variable_of(part, where)}: {reason}" if where else reason


def variable_of(part: type[BaseSettings], field: str) -> str:
    """The environment variable of a field.

    >>> variable_of(EngineSettings, "grace_ms")
    'SEGOPS_GRACE'
    """
    known = part.model_fields.get(field)
    return str(known.validation_alias) if known else field


def variables() -> Iterator[tuple[str, object, str]]:
    """Every variable with its default and its description, for documentation."""
    for part in _PARTS.values():
        for field in part.model_fields.values():
            yield str(field.validation_alias), field.default, field.description or ""


def unknown_variables() -> Iterator[str]:
    """A line for each ``SEGOPS_`` variable that is none of ours, with the nearest that is.

    They are no error: an orchestrator may add its own (a Kubernetes service called "segops" does).
    """
    known = [name for name, _, _ in variables()]
    for name in sorted(os.environ):  # noqa: TID251 - this is the module that may
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            yield f"{name} is no setting" + (f"; did you mean {near[0]}?" if near else "")
