"""Complete definitions with the models whose scores their rules read, before they are published."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from segops.core.errors import DefinitionError
from segops.core.rules.blocks import names_of_models
from segops.core.scoring.models import Model
from segops.core.segments import Definition
from segops.kafka.definitions import DefinitionLog
from segops.schemas.published_models import ModelLog, carried_models
from segops.schemas.segments import definition_from_record, definition_to_record

logger = logging.getLogger(__name__)
_UNREADABLE: Final = (DefinitionError, msgspec.MsgspecError, ValueError)


def complete(definitions: Iterable[Definition], log: DefinitionLog) -> list[Definition]:
    """Return definitions, each with the models in force that its rule reads and that it does not carry."""
    listed, models = list(definitions), None
    for at, each in enumerate(listed):
        lacking = names_of_models(each.when) - (each.models or {}).keys()
        if lacking:
            models = models_in_force(log) if models is None else models
            listed[at] = completed(each, {name: found for name, found in models.items() if name in lacking})
    return listed


def completed(definition: Definition, models: Mapping[str, Model]) -> Definition:
    """Return a definition with those of some models that its rule reads, in place of the ones it carries."""
    if names_of_models(definition.when).isdisjoint(models):
        return definition
    found = definition_from_record(definition_to_record(definition), models=models)
    return definition if found is None else msgspec.structs.replace(found, source=definition.source)


def models_in_force(log: DefinitionLog) -> dict[str, Model]:
    """Return the models in force, by name.

    They are those of the library; where that was not read, or holds a model that cannot be read, those that
    published definitions carry.
    """
    found = carried_models(log.live.values())
    library = ModelLog() if log.models is None else log.models
    for name in library.names():
        try:
            found[name] = library.in_force(name).model
        except _UNREADABLE as error:
            logger.error("ignoring the model %s in the library: %s", name, error)
    return found
