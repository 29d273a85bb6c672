"""The topic of plans: written in the transactions of publishers, read by ``segops plan --list``."""

from __future__ import annotations

import logging

import msgspec

from segops.config import Settings
from segops.kafka import reading
from segops.kafka.publication import Records
from segops.kafka.topics import existing, single_partition
from segops.schemas.planned import PlannedEdit
from segops.schemas.published_plans import (
    PlanFigures,
    PublishedPlan,
    decode_plan,
    encode_plan,
    updated_plans,
)
from segops.wall_clock import wall_ms

logger = logging.getLogger(__name__)


async def read_plans(settings: Settings) -> dict[str, PublishedPlan]:
    """Return the plans by id, as the topic has them. Raises UserError if the topic is missing."""
    found: dict[str, PublishedPlan] = {}
    part = await single_partition(settings.kafka, settings.topics.plans)
    for record in await reading.read_all(settings.kafka, part):
        try:
            plan_id = record.key.decode()
            found.pop(plan_id, None)
            if record.value is not None:
                found[plan_id] = decode_plan(record.value)
        except (AttributeError, UnicodeDecodeError, msgspec.MsgspecError) as error:
            logger.warning("skipping record %d of %s: %s", record.offset, part.topic, error)
    return found


async def latest_plans(settings: Settings) -> list[PublishedPlan]:
    """Return the plans as they are now, the latest first. Raises UserError if the topic is missing."""
    now_ms = wall_ms()
    plans = (await read_plans(settings)).values()
    return sorted((each.as_of(now_ms) for each in plans), key=lambda each: (-each.made_ms, each.id))


async def plan_records(
    settings: Settings, former: PlannedEdit | None, planned: PlannedEdit | None, figures: PlanFigures | None
) -> Records:
    """Return what to write when the latest plan changes from ``former`` to ``planned``.

    To be called by the publisher whose transaction writes it: no other one can then write before it.
    ``figures``: those of ``planned``. A missing topic is an error for an open plan only: a plan can end
    without it.
    """
    if planned is None:
        return []
    if planned.state != "open" and settings.topics.plans not in await existing(settings.kafka):
        return []
    known = await read_plans(settings)
    updated = updated_plans(known, former, planned, figures, now_ms=wall_ms())
    return [(plan_id.encode(), encode_plan(plan)) for plan_id, plan in updated.items()]
