"""Settings of the studio's model: which service, how much of it a day, and where it is recorded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, model_validator

from segops.config.base import SettingsSection, setting, variable_of
from segops.config.types import PositiveDurationMs, Token

_PATH = r"(/[A-Za-z0-9._~/-]{0,200})?"
_HTTPS = re.compile(rf"https://[A-Za-z0-9.-]{{1,253}}(:\d{{1,5}})?{_PATH}")
_LOOPBACK = re.compile(rf"http://(127\.0\.0\.1|\[::1\]|localhost)(:\d{{1,5}})?{_PATH}")


def _url(text: str) -> str:
    if _HTTPS.fullmatch(text) is None and _LOOPBACK.fullmatch(text) is None:
        raise ValueError("expected https://host without credentials or query, or http:// on loopback")
    return text.rstrip("/")


class StudioSettings(SettingsSection):
    """The model that `segops studio propose --model` asks. Its key is read from a variable or from a file."""

    url: Annotated[str, AfterValidator(_url)] | None = setting(
        "STUDIO_MODEL_URL",
        None,
        "Address of the service that runs the model, without /v1: https, or http on loopback.",
    )
    api: Literal["openai", "anthropic"] = setting(
        "STUDIO_MODEL_API",
        "openai",
        "The service's interface: openai (/v1/chat/completions) or anthropic (/v1/messages).",
    )
    model: str | None = setting("STUDIO_MODEL", None, "Name of the model.", min_length=1, max_length=200)
    api_key: Token | None = setting("STUDIO_MODEL_API_KEY", None, "Key for the service.")
    api_key_file: Path | None = setting(
        "STUDIO_MODEL_API_KEY_FILE", None, "File that holds the key, instead of SEGOPS_STUDIO_MODEL_API_KEY."
    )
    timeout_ms: PositiveDurationMs = setting(
        "STUDIO_MODEL_TIMEOUT", "30s", "How long one answer of the model may take."
    )
    answer_tokens: int = setting(
        "STUDIO_MODEL_ANSWER_TOKENS", 4_000, "The most tokens of one answer.", ge=100, le=100_000
    )
    requests_a_day: int = setting(
        "STUDIO_MODEL_REQUESTS_A_DAY", 500, "The most requests on one day (UTC).", ge=0
    )
    tokens_a_day: int = setting(
        "STUDIO_MODEL_TOKENS_A_DAY",
        5_000_000,
        "The most tokens, of prompts and answers, on one day (UTC).",
        ge=0,
    )
    audit_dir: Path = setting(
        "STUDIO_MODEL_AUDIT_DIR",
        "segops-data/studio",
        "Folder of the audit: each prompt and answer, in one file a day. The day's budget is counted there.",
    )

    @model_validator(mode="after")
    def _one_key(self) -> StudioSettings:
        if self.api_key is not None and self.api_key_file is not None:
            names = [variable_of(type(self), field) for field in ("api_key", "api_key_file")]
            raise ValueError(f"expected one of {' and '.join(names)}, got both")
        return self
