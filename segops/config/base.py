"""The base of a settings section: fields, and the environment variables they are read from."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "SEGOPS_"


def setting(name: str, default: object, description: str, **limits: Any) -> Any:
    """Declare a field read from ``SEGOPS_<name>``; ``description`` is its documentation."""
    return Field(
        default, validation_alias=PREFIX + name, description=description, validate_default=True, **limits
    )


class SettingsSection(BaseSettings):
    """A frozen group of settings; unknown fields are rejected."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, env_ignore_empty=True, hide_input_in_errors=True
    )


def variable_of(part: type[BaseSettings], field: str) -> str:
    """Return the environment variable of a field.

    >>> from segops.config.engine import EngineSettings
    >>> variable_of(EngineSettings, "grace_ms")
    'SEGOPS_GRACE'
    """
    known = part.model_fields.get(field)
    return str(known.validation_alias) if known else field
