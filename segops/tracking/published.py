"""The tracking-plans topic: a record per source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Final

import msgspec

from segops.config import Settings
from segops.kafka.resources import Action, Change, Kind, ResourceTopic, removed
from segops.tracking.model import TrackingPlan
from segops.tracking.parsing import decode, encode
from segops.wall_clock import wall_ms

PLAN: Final = Kind("tracking plan", attrgetter("source"), encode, decode)


def topic_of(settings: Settings) -> ResourceTopic[TrackingPlan]:
    """Return the topic of the published plans, by source."""
    return ResourceTopic(PLAN, settings.kafka, settings.topics.tracking_plans)


async def publish(
    settings: Settings, plans: Iterable[TrackingPlan], *, prune: bool = False, dry_run: bool = False
) -> list[Change[TrackingPlan]]:
    """Publish plans, all or none, and return the changes. ``prune`` removes all others.

    Raises UserError if the topic is missing or another publisher commits first.
    """
    listed, now_ms = list(plans), wall_ms()

    def decide(known: Mapping[str, TrackingPlan]) -> list[Change[TrackingPlan]]:
        changes = [change_of(known.get(plan.source), plan, now_ms=now_ms) for plan in listed]
        return changes + (removed(known, {plan.source for plan in listed}) if prune else [])

    return await topic_of(settings).publish(decide, dry_run=dry_run)


def change_of(former: TrackingPlan | None, plan: TrackingPlan, *, now_ms: int) -> Change[TrackingPlan]:
    """Return what publishing a plan changes."""
    if former is not None and former.written == plan.written:
        return Change(plan.source, "unchanged", former)
    action: Action = "added" if former is None else "changed"
    return Change(plan.source, action, msgspec.structs.replace(plan, at_ms=now_ms))
