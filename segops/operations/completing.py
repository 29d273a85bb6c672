"""Complete definitions with the models whose scores their rules read, before they are published."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

import msgspec

from segops.core.errors import DefinitionError
from segops.core.scoring.models import Model
from segops.core.segments import Definition
from segops.kafka.definitions import DefinitionLog
from segops.schemas.completing import filled, lacking
from segops.schemas.published_models import ModelLog, carried_models

logger = logging.getLogger(__name__)
_UNREADABLE: Final = (DefinitionError, msgspec.MsgspecError, ValueError)


def complete(definitions: Iterable[Definition], log: DefinitionLog) -> list[Definition]:
    """Return definitions, each with the models in force that its rule reads and that it does not carry."""
    listed = list(definitions)
    return filled(listed, models_in_force(log)) if any(map(lacking, listed)) else listed


def models_in_force(log: DefinitionLog) -> dict[str, Model]:
    """Return the models in force, by name.

    They are those of the library; where that was not read, holds a model that cannot be read, or is behind,
    those that published definitions carry.
    """
    found = carried_models(log.live.values())
    library = ModelLog() if log.models is None else log.models
    for name in library.names():
        try:
            model = library.in_force(name).model
        except _UNREADABLE as error:
            logger.error("ignoring the model %s in the library: %s", name, error)
            continue
        if name not in found or model.version > found[name].version:
            found[name] = model
    return found
