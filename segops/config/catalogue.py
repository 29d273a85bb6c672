"""Settings of the catalogue: the process that counts, and what it shows."""

from __future__ import annotations

from segops.config.base import SettingsSection, setting
from segops.config.types import MAX_PORT, PositiveDurationMs


class CatalogueSettings(SettingsSection):
    """`segops catalogue run`."""

    profiles: int = setting(
        "CATALOGUE_PROFILES",
        10,
        "On at least how many profiles a value of a property was seen before the catalogue shows it.",
        ge=2,
        le=40,
    )
    interval_ms: PositiveDurationMs = setting(
        "CATALOGUE_INTERVAL", "10s", "How often `segops catalogue run` publishes what it counted."
    )
    web_port: int = setting(
        "CATALOGUE_WEB_PORT",
        6074,
        "Port of the HTTP server of `segops catalogue run`, on SEGOPS_WEB_HOST.",
        ge=0,
        le=MAX_PORT,
    )
