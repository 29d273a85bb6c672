"""Settings of the server for assistants: where it listens, who may call, and what it answers."""

from __future__ import annotations

from pathlib import Path

from pydantic import ByteSize, SecretStr

from segops.config.base import SettingsSection, setting
from segops.config.types import MAX_PORT, Host, PositiveDurationMs


class McpSettings(SettingsSection):
    """`segops mcp`."""

    host: Host = setting("MCP_HOST", "127.0.0.1", "Address that the server for assistants listens on.")
    port: int = setting("MCP_PORT", 6088, "Port of the server for assistants.", ge=0, le=MAX_PORT)
    web_port: int = setting(
        "MCP_WEB_PORT",
        6089,
        "Port of that server's health and metrics pages, on SEGOPS_WEB_HOST.",
        ge=0,
        le=MAX_PORT,
    )
    tokens: SecretStr | None = setting(
        "MCP_TOKENS", None, "Tokens of assistants, as assistant=token pairs separated by commas."
    )
    tokens_file: Path | None = setting(
        "MCP_TOKENS_FILE", None, "File of further tokens of assistants, an assistant=token pair per line."
    )
    personal_data: bool = setting(
        "MCP_PERSONAL_DATA",
        False,
        "Whether assistants may read personal data: the members of segments, and what a person did.",
    )
    catalogue: Path | None = setting(
        "MCP_CATALOGUE",
        None,
        "YAML file of the catalogue by which assistants propose rules from sentences.",
    )
    answer_bytes: ByteSize = setting(
        "MCP_ANSWER_BYTES", "64KiB", "The most bytes of an answer to an assistant.", ge=1 << 10, le=1 << 22
    )
    timeout_ms: PositiveDurationMs = setting(
        "MCP_TIMEOUT", "2m", "How long an assistant's call may take, scans of all profiles included."
    )
