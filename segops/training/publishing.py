"""Models of the trainer in the library: those in force, and the publication of a new one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from segops.config import Settings
from segops.core.errors import UserError
from segops.core.scans import Limits
from segops.core.scoring.models import Model
from segops.core.training.report import TrainingReport
from segops.operations import models
from segops.operations.models import next_version
from segops.operations.plans import Wait
from segops.schemas.models import read_model

log = logging.getLogger(__name__)

#: How long workers may take to say how many memberships a model moves.
_ANSWERS_S: Final = 600.0


async def models_in_force(settings: Settings) -> Mapping[str, Model]:
    """Return the published models by name; none while their topic is missing."""
    try:
        found = await models.listed(settings)
    except UserError as error:
        log.warning("the models in force are unknown: %s", error)
        return {}
    return {each.published.model.name: each.published.model for each in found}


async def publish_report(settings: Settings, limits: Limits | None, report: TrainingReport) -> None:
    """Publish the model of a report with the segments that read it; ``limits`` None: whatever it moves.

    A model that moves more than the limits allow is not published; the log says so, and the trainer goes on.
    """
    model = read_model(report.model, report.name)
    try:
        found = await models.publish(
            settings, next_version(model, report.name), limits=limits, wait=Wait(_ANSWERS_S)
        )
    except UserError as error:
        log.error("%s is not published: %s", report.name, error)
        return
    log.info("%s: version %d is in force", report.name, found.published.model.version)
