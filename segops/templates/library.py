"""The templates that this package holds: one YAML file each, named by its key."""

from __future__ import annotations

from difflib import get_close_matches
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from segops.core.errors import UserError
from segops.schemas.written import read_yaml

Kind = Literal["duration", "count", "amount", "currency", "text"]
_SUFFIX = ".yaml"


class Parameter(BaseModel):
    """A value that a template leaves open. Without a ``default``, what it stands in is left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    default: str | int | float | None = None
    meaning: str = Field(min_length=1)


class Template(BaseModel):
    """A template: ``purpose`` in a marketer's words; ``when`` is a rule in which ``$name`` is a parameter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    purpose: str = Field(min_length=1)
    name: str = Field(min_length=1)
    description: str = Field(min_length=1)
    parameters: dict[str, Parameter] = {}
    when: dict[str, Any]


def load_templates() -> dict[str, Template]:
    """Return all templates by key, in alphabetical order."""
    folder = files(__package__) / "data"
    found = {entry.name.removesuffix(_SUFFIX): entry for entry in folder.iterdir() if entry.is_file()}
    return {
        key: Template(key=key, **read_yaml(entry.read_text("utf-8"))) for key, entry in sorted(found.items())
    }


def load_template(key: str) -> Template:
    """Return a template. Raises UserError if there is none with this key."""
    templates = load_templates()
    if key not in templates:
        near = get_close_matches(key, templates, 1)
        hint = f"; did you mean {near[0]}?" if near else "; `segops templates` lists them"
        raise UserError(f"unknown template {key!r}{hint}")
    return templates[key]
