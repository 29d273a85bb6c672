"""Settings of the collector: where it listens, who may send, and what it takes on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ByteSize, SecretStr

from segops.config.base import SettingsSection, setting
from segops.config.types import MAX_PORT, Host, PositiveDurationMs

_URL = re.compile(r"https?://[^\s/?#@\\\"<>]+")


def _url(text: str) -> str:
    text = text.rstrip("/")
    if _URL.fullmatch(text) is None:
        raise ValueError("expected http://host:port or https://host, without a path")
    return text


class CollectSettings(SettingsSection):
    """The collector of events over HTTP."""

    host: Host = setting("COLLECT_HOST", "127.0.0.1", "Address that the collector listens on for events.")
    port: int = setting("COLLECT_PORT", 6080, "Port of the collector.", ge=0, le=MAX_PORT)
    web_port: int = setting(
        "COLLECT_WEB_PORT",
        6081,
        "Port of the collector's health and metrics pages, on SEGOPS_WEB_HOST.",
        ge=0,
        le=MAX_PORT,
    )
    keys: SecretStr | None = setting(
        "COLLECT_KEYS",
        None,
        "Write keys as source=key pairs separated by commas; a source may have several.",
    )
    keys_file: Path | None = setting(
        "COLLECT_KEYS_FILE", None, "File of further write keys, a source=key pair per line."
    )
    sources_file: Path | None = setting(
        "COLLECT_SOURCES", None, "YAML file of the sources' origins, rates and handling of addresses."
    )
    rate: float = setting(
        "COLLECT_RATE", 10_000, "Events per second that a source may send; beyond it, requests get 429.", gt=0
    )
    ip: Literal["keep", "drop"] = setting(
        "COLLECT_IP", "keep", "Whether events keep the sender's IP address: keep or drop."
    )
    proxies: int = setting(
        "COLLECT_PROXIES",
        0,
        "Number of proxies in front of the collector whose X-Forwarded-For and -Proto count.",
        ge=0,
        le=10,
    )
    url: Annotated[str, AfterValidator(_url)] | None = setting(
        "COLLECT_URL", None, "Public URL of the collector, for browsers; by default as they requested it."
    )
    violation_payloads: bool = setting(
        "COLLECT_VIOLATION_PAYLOADS",
        False,
        "Whether published violations of tracking plans include an example event, with its personal data.",
    )
    timeout_ms: PositiveDurationMs = setting(
        "COLLECT_TIMEOUT",
        "5s",
        "How long a request waits for Kafka to acknowledge its events before it gets 503.",
    )
    read_timeout_ms: PositiveDurationMs = setting(
        "COLLECT_READ_TIMEOUT",
        "15s",
        "Timeout for receiving a request, for sending a response, and for an idle connection.",
    )
    connections: int = setting(
        "COLLECT_CONNECTIONS",
        10_000,
        "Maximum number of connections of senders; a further one closes the oldest.",
        ge=1,
        le=100_000,
    )
    buffer_bytes: ByteSize = setting(
        "COLLECT_BUFFER_BYTES",
        "64MiB",
        "Bodies being received, and events that Kafka has not acknowledged; beyond it, requests get 429.",
        ge=1 << 20,
    )
