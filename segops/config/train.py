"""Settings of the trainer."""

from __future__ import annotations

from pathlib import Path

from segops.config.base import SettingsSection, setting
from segops.config.types import MAX_PORT, PositiveDurationMs, Zone


class TrainSettings(SettingsSection):
    """`segops train`."""

    folder: Path = setting(
        "TRAIN_FOLDER",
        "segops-training",
        "Folder of the snapshot of `segops train`, and of the models that it makes.",
    )
    profiles: int = setting(
        "TRAIN_PROFILES",
        100_000,
        "How many profiles `segops train` follows; of more, it follows a sample.",
        ge=100,
    )
    decisions: int = setting(
        "TRAIN_DECISIONS",
        100_000,
        "How many decisions `segops train` keeps for a model; of more, it keeps a sample.",
        ge=1_000,
    )
    history_ms: PositiveDurationMs = setting(
        "TRAIN_HISTORY",
        "90d",
        "How long `segops train` keeps a decision whose outcome is known, by the event clock.",
    )
    zone: Zone = setting(
        "TRAIN_ZONE",
        "UTC",
        "Time zone of the days and hours in the default features of `segops train`.",
    )
    interval_ms: PositiveDurationMs = setting(
        "TRAIN_INTERVAL", "24h", "How often `segops train` makes models of what it has seen."
    )
    snapshot_interval_ms: PositiveDurationMs = setting(
        "TRAIN_SNAPSHOT_INTERVAL",
        "5m",
        "How often `segops train` writes its snapshot, from which it goes on after a stop.",
    )
    web_port: int = setting(
        "TRAIN_WEB_PORT",
        6077,
        "Port of the HTTP server of `segops train`, on SEGOPS_WEB_HOST.",
        ge=0,
        le=MAX_PORT,
    )
