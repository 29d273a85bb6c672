"""Settings of the read API: where it listens, who may read, and what it takes on."""

from __future__ import annotations

from pathlib import Path

from pydantic import ByteSize, SecretStr

from segops.config.base import SettingsSection, setting
from segops.config.types import MAX_PORT, Host, PositiveDurationMs


class ServeSettings(SettingsSection):
    """`segops serve`."""

    host: Host = setting("SERVE_HOST", "127.0.0.1", "Address that the read API listens on.")
    port: int = setting("SERVE_PORT", 6082, "Port of the read API.", ge=0, le=MAX_PORT)
    web_port: int = setting(
        "SERVE_WEB_PORT",
        6083,
        "Port of the read API's health and metrics pages, on SEGOPS_WEB_HOST.",
        ge=0,
        le=MAX_PORT,
    )
    keys: SecretStr | None = setting(
        "SERVE_KEYS",
        None,
        "Public read keys as site=key pairs separated by commas; SEGOPS_SERVE_SITES has the sites' origins.",
    )
    keys_file: Path | None = setting(
        "SERVE_KEYS_FILE", None, "File of further public read keys, a site=key pair per line."
    )
    sites_file: Path | None = setting(
        "SERVE_SITES", None, "YAML file of the sites: their origins, types of identifiers and rates."
    )
    secret_keys: SecretStr | None = setting(
        "SERVE_SECRET_KEYS", None, "Secret keys of servers, as server=key pairs separated by commas."
    )
    secret_keys_file: Path | None = setting(
        "SERVE_SECRET_KEYS_FILE", None, "File of further secret keys, a server=key pair per line."
    )
    rate: float = setting(
        "SERVE_RATE",
        2_000,
        "Requests per second that a process answers for each key; beyond it, they get 429.",
        gt=0,
    )
    max_age_ms: PositiveDurationMs = setting(
        "SERVE_MAX_AGE",
        "1m",
        "How old the memberships may be while Kafka is away; beyond it, requests get 503.",
    )
    read_timeout_ms: PositiveDurationMs = setting(
        "SERVE_READ_TIMEOUT",
        "15s",
        "Timeout of the read API for receiving a request, sending a response, and an idle connection.",
    )
    connections: int = setting(
        "SERVE_CONNECTIONS",
        10_000,
        "Maximum number of connections to the read API; a further one closes the oldest.",
        ge=1,
        le=100_000,
    )
    cache_bytes: ByteSize = setting(
        "SERVE_CACHE_BYTES",
        "64MiB",
        "Memory for memberships that were read lately; all of them are in files.",
        ge=1 << 20,
    )
