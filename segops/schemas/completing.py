"""Definitions with models in place of those that they carry, or beside these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from segops.core.rules.blocks import names_of_models
from segops.core.scoring.models import Model
from segops.core.segments import Definition
from segops.schemas.segments import definition_from_record, definition_to_record


def completed(definition: Definition, models: Mapping[str, Model]) -> Definition:
    """Return a definition with those of some models that its rule reads, in place of the ones it carries."""
    if names_of_models(definition.when).isdisjoint(models):
        return definition
    found = definition_from_record(definition_to_record(definition), models=models)
    return definition if found is None else msgspec.structs.replace(found, source=definition.source)


def lacking(definition: Definition) -> set[str]:
    """Return the names of the models that a rule reads and that its definition does not carry."""
    return names_of_models(definition.when) - (definition.models or {}).keys()


def filled(definitions: Iterable[Definition], models: Mapping[str, Model]) -> list[Definition]:
    """Return definitions, each with those of some models that its rule reads and that it does not carry."""
    return [
        completed(each, {name: found for name, found in models.items() if name in lacking(each)})
        for each in definitions
    ]
