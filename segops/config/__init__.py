"""Settings: frozen values, one class per section, read once from ``SEGOPS_*`` variables.

Only this package reads the environment. Durations are written ``500ms``, ``1s``, ``5m`` and become whole
milliseconds; sizes are written ``67108864`` or ``64MiB`` and become bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from segops.config.activate import ActivateSettings
from segops.config.archive import ArchiveSettings
from segops.config.audiences import AudienceSettings
from segops.config.base import PREFIX, SettingsSection, variable_of
from segops.config.catalogue import CatalogueSettings
from segops.config.collect import CollectSettings
from segops.config.console import ConsoleSettings
from segops.config.engine import EngineSettings, IdentitySettings
from segops.config.kafka import KafkaSettings, TopicSettings
from segops.config.klaviyo import KlaviyoSettings
from segops.config.mcp import McpSettings
from segops.config.output import OWN_FORMAT, OutputSettings
from segops.config.serve import ServeSettings
from segops.config.shopify import ShopifySettings
from segops.config.sources import SourceSettings
from segops.config.studio import StudioSettings
from segops.config.train import TrainSettings
from segops.config.unknown import Unknown, unknown
from segops.config.worker import CheckpointSettings, StateSettings, WorkerSettings
from segops.core.errors import UserError
from segops.core.values import MAX_MS, format_duration

__all__ = [
    "OWN_FORMAT",
    "PREFIX",
    "ActivateSettings",
    "ArchiveSettings",
    "AudienceSettings",
    "CatalogueSettings",
    "CheckpointSettings",
    "CollectSettings",
    "ConsoleSettings",
    "EngineSettings",
    "IdentitySettings",
    "KafkaSettings",
    "KlaviyoSettings",
    "McpSettings",
    "OutputSettings",
    "ServeSettings",
    "Settings",
    "ShopifySettings",
    "SourceSettings",
    "StateSettings",
    "StudioSettings",
    "TopicSettings",
    "TrainSettings",
    "Unknown",
    "WorkerSettings",
    "as_variables",
    "debugging",
    "in_force",
    "load",
    "secret_variable",
    "unknown_variables",
    "variable_of",
    "variables",
]


class Settings(BaseModel):
    """All sections. ``accept_topics`` is an operator's decision: a start option, no environment variable."""

    model_config = ConfigDict(frozen=True)

    kafka: KafkaSettings
    topics: TopicSettings
    engine: EngineSettings
    identity: IdentitySettings
    checkpoint: CheckpointSettings
    state: StateSettings
    worker: WorkerSettings
    archive: ArchiveSettings
    collect: CollectSettings
    sources: SourceSettings
    klaviyo: KlaviyoSettings
    catalogue: CatalogueSettings
    shopify: ShopifySettings
    audiences: AudienceSettings
    activate: ActivateSettings
    serve: ServeSettings
    mcp: McpSettings
    output: OutputSettings
    console: ConsoleSettings
    studio: StudioSettings
    train: TrainSettings
    accept_topics: bool = False

    @property
    def history_ms(self) -> int:
        """How far back new segments read: as far as the archive goes; without one, as the topic retains."""
        return self.topics.history_ms if self.archive.url is None else MAX_MS

    @property
    def checkpoint_interval_ms(self) -> int:
        """The interval, shorter by default with exactly_once, where checkpoints make changes visible."""
        return self.checkpoint.interval_ms or (250 if self.exactly_once else 1_000)

    @property
    def exactly_once(self) -> bool:
        """Whether checkpoints are Kafka transactions."""
        return self.worker.processing_guarantee == "exactly_once"


_PARTS: dict[str, type[SettingsSection]] = {
    "kafka": KafkaSettings,
    "topics": TopicSettings,
    "engine": EngineSettings,
    "identity": IdentitySettings,
    "checkpoint": CheckpointSettings,
    "state": StateSettings,
    "worker": WorkerSettings,
    "archive": ArchiveSettings,
    "collect": CollectSettings,
    "sources": SourceSettings,
    "klaviyo": KlaviyoSettings,
    "catalogue": CatalogueSettings,
    "activate": ActivateSettings,
    "shopify": ShopifySettings,
    "audiences": AudienceSettings,
    "serve": ServeSettings,
    "mcp": McpSettings,
    "output": OutputSettings,
    "console": ConsoleSettings,
    "studio": StudioSettings,
    "train": TrainSettings,
}


def load(**overrides: Mapping[str, object]) -> Settings:
    """Load the settings: ``overrides`` by section and field, else the environment, else the defaults.

    >>> load(engine={"clock": "event", "grace_ms": "0"}).engine.grace_ms
    0

    Raises UserError with every invalid variable and the reason; values are never shown.
    """
    problems: list[str] = []
    parts: dict[str, SettingsSection] = {}
    for name, part in _PARTS.items():
        try:
            parts[name] = part(**overrides.get(name, {}))
        except ValidationError as error:
            problems += _reasons(part, error)
    if problems:
        raise UserError("\n".join(problems))
    return Settings.model_validate(parts)


def as_variables(overrides: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    """Return the overrides of ``load`` as environment variables, for another process.

    >>> as_variables({"engine": {"grace_ms": "0"}})
    {'SEGOPS_GRACE': '0'}
    """
    return {
        variable_of(_PARTS[part], field): str(value)
        for part, fields in overrides.items()
        for field, value in fields.items()
    }


def _reasons(part: type[SettingsSection], error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_input=False, include_url=False):
        reason = problem["msg"].removeprefix("Value error, ")
        where = str(problem["loc"][0]) if problem["loc"] else ""
        yield f"{variable_of(part, where)}: {reason}" if where else reason


def variables() -> Iterator[tuple[str, object, str]]:
    """Yield every variable with its default and its description, for the documentation."""
    for part in _PARTS.values():
        for field in part.model_fields.values():
            yield str(field.validation_alias), field.default, field.description or ""


def in_force(settings: Settings) -> Iterator[tuple[str, str, bool, str]]:
    """Yield every variable with its value, whether that is the default, and its description; hide secrets."""
    for name, part in _PARTS.items():
        section: SettingsSection = getattr(settings, name)
        for field, info in part.model_fields.items():
            shown = _shown(field, getattr(section, field))
            yield (
                str(info.validation_alias),
                shown,
                field not in section.model_fields_set,
                info.description or "",
            )


def _shown(field: str, value: object) -> str:
    if isinstance(value, SecretStr):
        return "(secret)"
    if field.endswith("_ms") and isinstance(value, int):
        return format_duration(value)
    return "" if value is None else str(value)


def unknown_variables() -> list[Unknown]:
    """Return the unknown ``SEGOPS_`` variables, except those of Kubernetes and of the tests."""
    return unknown(os.environ, {name for name, _, _ in variables()})  # noqa: TID251 - this is the module that may


def secret_variable(name: str) -> str | None:
    """Return the value of a variable that a published resource names as the place of a secret."""
    return os.environ.get(name)  # noqa: TID251 - this is the module that may


def debugging() -> bool:
    """Return whether SEGOPS_LOG_LEVEL is ``debug``, even when other settings are invalid."""
    return os.environ.get(f"{PREFIX}LOG_LEVEL") == "debug"  # noqa: TID251 - this is the module that may
