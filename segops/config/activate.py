"""Settings of the process that delivers audiences."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import NoDecode

from segops.config.base import SettingsSection, setting
from segops.config.types import MAX_PORT


def _hosts(text: object) -> object:
    return [each.strip() for each in text.split(",") if each.strip()] if isinstance(text, str) else text


class ActivateSettings(SettingsSection):
    """`segops activate`."""

    web_port: int = setting(
        "ACTIVATE_WEB_PORT",
        6075,
        "Port of the HTTP server of `segops activate`, on SEGOPS_WEB_HOST.",
        ge=0,
        le=MAX_PORT,
    )
    webhook_allow: Annotated[frozenset[str], NoDecode, BeforeValidator(_hosts)] = setting(
        "WEBHOOK_ALLOW",
        "",
        "Hosts of webhooks that may be in a private network, separated by commas; all others must be public.",
    )
