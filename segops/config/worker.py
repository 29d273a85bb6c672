"""Settings of checkpoints, of the profile store, and of a worker process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, ByteSize, Field

from segops.config.base import SettingsSection, setting
from segops.config.types import MAX_PORT, DurationMs, Host, KafkaName, PositiveDurationMs, Token, duration_ms


class CheckpointSettings(SettingsSection):
    """When work becomes durable."""

    interval_ms: Annotated[int, BeforeValidator(duration_ms), Field(ge=10, le=60_000)] | None = setting(
        "CHECKPOINT_INTERVAL", None, "Time between two checkpoints, 10ms to 1m; 1s, or 250ms if exactly_once."
    )
    max_records: int = setting(
        "CHECKPOINT_MAX_RECORDS", 20_000, "Records after which a checkpoint is taken early.", ge=1
    )


class StateSettings(SettingsSection):
    """Where profiles are kept, and how much memory that takes."""

    data_dir: Path = setting("DATA_DIR", "segops-data", "Folder of the profile store, on a local disk.")
    cache_profiles: int = setting(
        "CACHE_PROFILES", 50_000, "Decoded profiles that a worker keeps in memory at most.", ge=100
    )
    block_cache_bytes: ByteSize = setting(
        "BLOCK_CACHE_BYTES", "128MiB", "Read cache of the store, shared by a worker's partitions.", ge=1 << 20
    )
    max_state_bytes: ByteSize = setting(
        "MAX_STATE_BYTES",
        "512KiB",
        "Largest stored profile; an event that would make it larger becomes a dead letter.",
        ge=4_096,
    )
    max_quarantined: int = setting(
        "MAX_QUARANTINED",
        1_000,
        "Profiles of a partition set aside, because they cannot be read, before the worker stops instead.",
        ge=0,
    )
    standby_replicas: int = setting(
        "STANDBY_REPLICAS",
        0,
        "Further workers that keep a current copy of each partition's store; the same for all workers.",
        ge=0,
        le=3,
    )
    write_buffer_bytes: ByteSize = setting(
        "WRITE_BUFFER_BYTES", "128MiB", "Write buffers, shared by a worker's partitions.", ge=1 << 20
    )


class WorkerSettings(SettingsSection):
    """One worker process."""

    app_id: KafkaName = setting("APP_ID", "segops", "Name of the application: its group and changelog.")
    instance_id: KafkaName | None = setting(
        "INSTANCE_ID",
        None,
        "This worker's fixed name in the group, so that a restart takes its partitions back.",
    )
    web_host: Host = setting("WEB_HOST", "127.0.0.1", "Address that the worker's HTTP server listens on.")
    web_port: int = setting(
        "WEB_PORT", 6066, "Port of the worker's HTTP server; each has its own.", ge=0, le=MAX_PORT
    )
    advertised_host: Host | None = setting(
        "ADVERTISED_HOST", None, "Name or address by which others reach the worker's HTTP server."
    )
    web_token: Token | None = setting(
        "WEB_TOKEN",
        None,
        "What readers of profiles must tell; none: they are read on loopback addresses only.",
    )
    web_timeout_ms: PositiveDurationMs = setting(
        "WEB_TIMEOUT",
        "30s",
        "How long an HTTP request may take to arrive, an answer to be taken, a connection to be idle.",
    )
    web_connections: int = setting(
        "WEB_CONNECTIONS", 100, "HTTP connections at a time; a further one ends the oldest.", ge=1, le=10_000
    )
    leave_on_stop: bool = setting(
        "LEAVE_ON_STOP",
        False,
        "Whether a worker that is told to stop gives its partitions back at once: it stops for good.",
    )
    session_timeout_ms: Annotated[int, BeforeValidator(duration_ms), Field(ge=6_000, le=1_800_000)] = setting(
        "SESSION_TIMEOUT",
        "45s",
        "After how long without a sign of life a worker's partitions go to others, 6s to 30m.",
    )
    on_lost_records: Literal["stop", "continue"] = setting(
        "ON_LOST_RECORDS",
        "stop",
        "When records were deleted before they were read: stop, or continue behind them.",
    )
    stall_timeout_ms: DurationMs = setting(
        "STALL_TIMEOUT", "1m", "How long a process may stand still before it is ended; 0: for ever."
    )
    progress_timeout_ms: DurationMs = setting(
        "PROGRESS_TIMEOUT",
        "10m",
        "How long records may wait without any of their partition being read before the process is ended, "
        "and how long a group may keep a worker out before /healthz fails; 0: for ever.",
    )
    processing_guarantee: Literal["at_least_once", "exactly_once"] = setting(
        "PROCESSING_GUARANTEE",
        "at_least_once",
        "What a crash may repeat: at_least_once (repeats, with the same ids) or exactly_once (nothing).",
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "LOG_LEVEL", "info", "The least that is logged: debug, info, warning or error."
    )
    crash_at: Annotated[str, Field(pattern=r"^[a-z_]+(:[1-9][0-9]*)?$")] | None = setting(
        "CRASH_AT",
        None,
        "For tests of recovery: die at this failpoint, or stand still at stall, as name:n for the n-th time.",
    )

    @property
    def changelog(self) -> str:
        """The topic that the profile store is rebuilt from (compacted)."""
        return f"{self.app_id}-profiles-changelog"
