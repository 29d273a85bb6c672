"""Settings: small frozen values, one class per part, read once from ``SEGOPS_*`` variables.

This package is the only reader of the environment. Durations are written ``500ms``, ``1s``, ``5m``
and become whole milliseconds; sizes are written ``67108864`` or ``64MiB`` and become bytes.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ConfigDict, ValidationError

from segops.config.base import PREFIX, Part, variable_of
from segops.config.engine import EngineSettings, IdentitySettings
from segops.config.kafka import KafkaSettings, TopicSettings
from segops.config.worker import CheckpointSettings, StateSettings, WorkerSettings
from segops.core.errors import UserError

__all__ = [
    "PREFIX",
    "CheckpointSettings",
    "EngineSettings",
    "IdentitySettings",
    "KafkaSettings",
    "Settings",
    "StateSettings",
    "TopicSettings",
    "WorkerSettings",
    "load",
    "unknown_variables",
    "variable_of",
    "variables",
]


class Settings(BaseModel):
    """All of them."""

    model_config = ConfigDict(frozen=True)

    kafka: KafkaSettings
    topics: TopicSettings
    engine: EngineSettings
    identity: IdentitySettings
    checkpoint: CheckpointSettings
    state: StateSettings
    worker: WorkerSettings

    @property
    def checkpoint_interval_ms(self) -> int:
        """As set, or by the guarantee: with exactly_once nothing is seen before a checkpoint."""
        return self.checkpoint.interval_ms or (250 if self.exactly_once else 1_000)

    @property
    def exactly_once(self) -> bool:
        """Whether work is made durable in transactions."""
        return self.worker.processing_guarantee == "exactly_once"


_PARTS: dict[str, type[Part]] = {
    "kafka": KafkaSettings,
    "topics": TopicSettings,
    "engine": EngineSettings,
    "identity": IdentitySettings,
    "checkpoint": CheckpointSettings,
    "state": StateSettings,
    "worker": WorkerSettings,
}


def load(**overrides: Mapping[str, object]) -> Settings:
    """The settings: ``overrides`` by part and field, else the environment, else the defaults.

    >>> load(engine={"clock": "event", "grace_ms": "0"}).engine.grace_ms
    0

    Raises UserError with every wrong variable and the reason; values are never shown.
    """
    problems: list[str] = []
    parts: dict[str, Part] = {}
    for name, part in _PARTS.items():
        try:
            parts[name] = part(**overrides.get(name, {}))
        except ValidationError as error:
            problems += _reasons(part, error)
    if problems:
        raise UserError("\n".join(problems))
    return Settings.model_validate(parts)


def _reasons(part: type[Part], error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_input=False, include_url=False):
        reason = problem["msg"].removeprefix("Value error, ")
        where = str(problem["loc"][0]) if problem["loc"] else ""
        yield f"{variable_of(part, where)}: {reason}" if where else reason


def variables() -> Iterator[tuple[str, object, str]]:
    """Every variable with its default and its description, for documentation."""
    for part in _PARTS.values():
        for field in part.model_fields.values():
            yield str(field.validation_alias), field.default, field.description or ""


def unknown_variables() -> Iterator[str]:
    """A line for each ``SEGOPS_`` variable that is none of ours, with the nearest that is.

    They are no error: an orchestrator may add its own (a Kubernetes service called "segops" does).
    """
    known = [name for name, _, _ in variables()]
    for name in sorted(os.environ):  # noqa: TID251 - this is the module that may
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            yield f"{name} is no setting" + (f"; did you mean {near[0]}?" if near else "")
