"""Settings of the pull from Klaviyo: the key, what is pulled and how fast."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, model_validator

from segops.config.base import SettingsSection, setting, variable_of
from segops.config.types import MAX_PORT, PositiveDurationMs, Token

_HTTPS = re.compile(r"https://[A-Za-z0-9.-]{1,253}(:\d{1,5})?")
_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|\[::1\]|localhost)(:\d{1,5})?")


def _url(text: str) -> str:
    if _HTTPS.fullmatch(text) is None and _LOOPBACK.fullmatch(text) is None:
        raise ValueError("expected https://host without a path or credentials, or http:// on loopback")
    return text


class KlaviyoSettings(SettingsSection):
    """The Klaviyo account to pull from. Its key is read from a variable or from a file."""

    api_key: Token | None = setting(
        "KLAVIYO_API_KEY", None, "Private API key of the Klaviyo account, with read access only."
    )
    api_key_file: Path | None = setting(
        "KLAVIYO_API_KEY_FILE",
        None,
        "File that holds the private API key, instead of SEGOPS_KLAVIYO_API_KEY.",
    )
    url: Annotated[str, AfterValidator(_url)] = setting(
        "KLAVIYO_URL",
        "https://a.klaviyo.com",
        "Address of Klaviyo's API: https, or http on loopback for tests.",
    )
    history_ms: PositiveDurationMs = setting(
        "KLAVIYO_HISTORY", "400d", "How far back events are pulled by the first run."
    )
    overlap_ms: PositiveDurationMs = setting(
        "KLAVIYO_OVERLAP", "1h", "How late Klaviyo may list an event or profile for it to be still pulled."
    )
    interval_ms: PositiveDurationMs = setting(
        "KLAVIYO_INTERVAL", "1m", "Time between two polls of `segops pull klaviyo --follow`."
    )
    connections: int = setting(
        "KLAVIYO_CONNECTIONS", 8, "Pages requested at the same time, of profiles and of events.", ge=1, le=64
    )
    web_port: int = setting(
        "KLAVIYO_WEB_PORT",
        6073,
        "Port of the HTTP server of `segops pull klaviyo --follow`, on SEGOPS_WEB_HOST.",
        ge=0,
        le=MAX_PORT,
    )

    @model_validator(mode="after")
    def _one_key(self) -> KlaviyoSettings:
        if self.api_key is not None and self.api_key_file is not None:
            names = [variable_of(type(self), field) for field in ("api_key", "api_key_file")]
            raise ValueError(f"expected one of {' and '.join(names)}, got both")
        return self
