"""Settings of checkpoints, of the profile store and of a worker process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, ByteSize, Field

from segops.config.base import SettingsSection, setting
from segops.config.types import MAX_PORT, DurationMs, Host, KafkaName, PositiveDurationMs, Token, duration_ms


class CheckpointSettings(SettingsSection):
    """When processed records become durable."""

    interval_ms: Annotated[int, BeforeValidator(duration_ms), Field(ge=10, le=60_000)] | None = setting(
        "CHECKPOINT_INTERVAL",
        None,
        "Time between checkpoints, 10ms to 1m; by default 1s, or 250ms with exactly_once. "
        "With at_least_once, a busy worker pauses for twice as long as the last one took.",
    )
    max_records: int = setting(
        "CHECKPOINT_MAX_RECORDS", 500_000, "Records after which a checkpoint is taken early.", ge=1
    )
    figures_interval_ms: DurationMs = setting(
        "FIGURES_INTERVAL", "1s", "Least time between two publications of a partition's segment sizes."
    )


class StateSettings(SettingsSection):
    """Where profiles are stored, and how much memory the store uses."""

    data_dir: Path = setting("DATA_DIR", "segops-data", "Folder of the profile store, on a local disk.")
    cache_profiles: int = setting(
        "CACHE_PROFILES", 50_000, "Maximum number of decoded profiles that a worker keeps in memory.", ge=100
    )
    cache_bytes: ByteSize = setting(
        "CACHE_BYTES",
        "128MiB",
        "Memory, about, of the profiles in a worker's kernel; CACHE_PROFILES bounds those in Python. "
        "Twice as much of changed ones brings a checkpoint forward, three times as much makes events wait.",
        ge=1 << 20,
    )
    block_cache_bytes: ByteSize = setting(
        "BLOCK_CACHE_BYTES", "64MiB", "Read cache of the store, shared by a worker's partitions.", ge=1 << 20
    )
    max_state_bytes: ByteSize = setting(
        "MAX_STATE_BYTES",
        "512KiB",
        "Largest stored profile; an event that would exceed it becomes a dead letter.",
        ge=4_096,
    )
    max_quarantined: int = setting(
        "MAX_QUARANTINED",
        1_000,
        "Unreadable profiles that a partition may quarantine before the worker stops instead.",
        ge=0,
    )
    standby_replicas: int = setting(
        "STANDBY_REPLICAS",
        0,
        "Other workers that keep a current copy of each partition's store; must be equal on all workers.",
        ge=0,
        le=3,
    )
    write_buffer_bytes: ByteSize = setting(
        "WRITE_BUFFER_BYTES", "64MiB", "Write buffers, shared by a worker's partitions.", ge=1 << 20
    )


class WorkerSettings(SettingsSection):
    """One worker process."""

    app_id: KafkaName = setting(
        "APP_ID", "segops", "Name of the application: its consumer group and changelog."
    )
    instance_id: KafkaName | None = setting(
        "INSTANCE_ID",
        None,
        "Static member name in the group, so that a restarted worker gets its partitions back.",
    )
    web_host: Host = setting("WEB_HOST", "127.0.0.1", "Address that the worker's HTTP server listens on.")
    web_port: int = setting(
        "WEB_PORT", 6066, "Port of the worker's HTTP server; each worker needs its own.", ge=0, le=MAX_PORT
    )
    advertised_host: Host | None = setting(
        "ADVERTISED_HOST", None, "Host name or address at which others reach the worker's HTTP server."
    )
    web_token: Token | None = setting(
        "WEB_TOKEN",
        None,
        "Bearer token that reading profiles requires; without one, only loopback addresses serve profiles.",
    )
    web_timeout_ms: PositiveDurationMs = setting(
        "WEB_TIMEOUT",
        "30s",
        "Timeout for receiving an HTTP request, for sending a response, and for an idle connection.",
    )
    web_connections: int = setting(
        "WEB_CONNECTIONS",
        100,
        "Maximum number of HTTP connections; a further one closes the oldest.",
        ge=1,
        le=10_000,
    )
    leave_on_stop: bool = setting(
        "LEAVE_ON_STOP",
        False,
        "Whether a worker leaves the group when it stops, so that others get its partitions at once.",
    )
    session_timeout_ms: Annotated[int, BeforeValidator(duration_ms), Field(ge=6_000, le=1_800_000)] = setting(
        "SESSION_TIMEOUT",
        "45s",
        "Consumer-group session timeout, 6s to 30m.",
    )
    on_lost_records: Literal["stop", "continue"] = setting(
        "ON_LOST_RECORDS",
        "stop",
        "What to do when records were deleted before they were read: stop, or continue after them.",
    )
    stall_timeout_ms: DurationMs = setting(
        "STALL_TIMEOUT", "1m", "How long a process may be unresponsive before it is killed; 0: no limit."
    )
    progress_timeout_ms: DurationMs = setting(
        "PROGRESS_TIMEOUT",
        "10m",
        "How long a partition with unread records may make no progress before the process exits, "
        "and how long a worker may wait to join its group before /healthz fails; 0: no limit.",
    )
    processing_guarantee: Literal["at_least_once", "exactly_once"] = setting(
        "PROCESSING_GUARANTEE",
        "at_least_once",
        "What a crash may repeat: at_least_once (changes, with the same ids) or exactly_once (nothing).",
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "LOG_LEVEL", "info", "Minimum log level: debug, info, warning or error."
    )
    crash_at: Annotated[str, Field(pattern=r"^[a-z_]+(:[1-9][0-9]*)?$")] | None = setting(
        "CRASH_AT",
        None,
        "For recovery tests: die at this failpoint, or hang at stall; name:n is the n-th time.",
    )

    @property
    def changelog(self) -> str:
        """The name of the changelog topic of the profile store (compacted)."""
        return f"{self.app_id}-profiles-changelog"
