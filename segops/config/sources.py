"""Settings of sources: the schema registry, and the process that copies their records."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, SecretStr, model_validator

from segops.config.base import SettingsSection, setting
from segops.config.types import MAX_PORT, PositiveDurationMs

_URL = re.compile(r"https?://[^\s/@?#]+(/[^\s?#]*)?")


def _url(text: str) -> str:
    if _URL.fullmatch(text) is None:
        raise ValueError("expected http://host:port or https://host/path, without credentials")
    return text.rstrip("/")


class SourceSettings(SettingsSection):
    """The schema registry, and `segops sources run`."""

    registry_url: Annotated[str, AfterValidator(_url)] | None = setting(
        "SCHEMA_REGISTRY_URL", None, "Address of the schema registry of Avro and Protobuf topics."
    )
    registry_username: str | None = setting(
        "SCHEMA_REGISTRY_USERNAME", None, "User name or API key at the schema registry."
    )
    registry_password: SecretStr | None = setting(
        "SCHEMA_REGISTRY_PASSWORD", None, "Password or API secret at the schema registry."
    )
    registry_token: SecretStr | None = setting(
        "SCHEMA_REGISTRY_TOKEN", None, "Bearer token at the schema registry, instead of a user name."
    )
    registry_cafile: Path | None = setting(
        "SCHEMA_REGISTRY_CAFILE",
        None,
        "File of certificate authorities trusted for the schema registry; the system's when empty.",
    )
    registry_timeout_ms: PositiveDurationMs = setting(
        "SCHEMA_REGISTRY_TIMEOUT", "10s", "Timeout of a request to the schema registry."
    )
    web_port: int = setting(
        "SOURCES_WEB_PORT",
        6072,
        "Port of the HTTP server of `segops sources run`, on SEGOPS_WEB_HOST.",
        ge=0,
        le=MAX_PORT,
    )

    @model_validator(mode="after")
    def _one_login(self) -> SourceSettings:
        if (self.registry_username is None) != (self.registry_password is None):
            raise ValueError(
                "SEGOPS_SCHEMA_REGISTRY_USERNAME and SEGOPS_SCHEMA_REGISTRY_PASSWORD need each other"
            )
        if self.registry_token is not None and self.registry_username is not None:
            raise ValueError(
                "expected SEGOPS_SCHEMA_REGISTRY_TOKEN or SEGOPS_SCHEMA_REGISTRY_USERNAME, not both"
            )
        return self
