"""The tracking-plans topic: compacted, one partition, a record per source."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping
from contextlib import aclosing
from typing import Any, Literal

import msgspec
from aiokafka import TopicPartition

from segops.config import Settings
from segops.core.errors import UserError
from segops.kafka import reading
from segops.kafka.publication import publisher
from segops.kafka.topics import single_partition
from segops.tracking.model import TrackingPlan
from segops.tracking.parsing import decode, encode
from segops.wall_clock import wall_ms

log = logging.getLogger(__name__)

Action = Literal["added", "changed", "unchanged", "removed"]


class PlanChange(msgspec.Struct, frozen=True):
    """What publishing changes of the plan of one source; ``plan`` is None if it is removed."""

    source: str
    action: Action
    plan: TrackingPlan | None = None


class PlanLog:
    """The plans after the records read so far, by source. An unreadable record leaves the former plan."""

    def __init__(self, on_bad: Callable[[str], None] = log.error) -> None:
        self.plans: dict[str, TrackingPlan] = {}
        self._on_bad = on_bad

    def apply_all(self, records: Iterable[Any]) -> bool:
        """Apply records; return whether they changed anything."""
        return any([self._apply(record) for record in records])

    def _apply(self, record: Any) -> bool:
        try:
            source = record.key.decode()
            former = self.plans.get(source)
            if record.value is None:
                return self.plans.pop(source, None) is not None
            plan = decode(record.value)
            if plan.source != source:
                raise ValueError(f"the value is of the source {plan.source!r}")
        except Exception as error:  # no record in the topic may stop a collector
            self._on_bad(f"skipping tracking plan record {record.offset} (key {record.key!r}): {error}")
            return False
        self.plans[source] = plan
        return plan != former


async def read(settings: Settings) -> dict[str, TrackingPlan]:
    """Return the published plans by source. Raises UserError if their topic is missing."""
    found = PlanLog()
    found.apply_all(await reading.read_all(settings.kafka, await _partition(settings)))
    return found.plans


async def follow(settings: Settings) -> AsyncGenerator[dict[str, TrackingPlan], None]:
    """Yield the published plans, and again after every change. Runs until closed. Raises like ``read``."""
    found = PlanLog()
    partition = await _partition(settings)
    async with aclosing(reading.follow(settings.kafka, partition, found.apply_all)) as changes:
        async for _ in changes:
            yield dict(found.plans)


async def publish(
    settings: Settings, plans: Iterable[TrackingPlan], *, prune: bool = False, dry_run: bool = False
) -> list[PlanChange]:
    """Publish plans, all or none, and return the changes. ``prune`` removes all others.

    Raises UserError if the topic is missing or another publisher commits first.
    """
    listed, now_ms = list(plans), wall_ms()

    def decide(known: Mapping[str, TrackingPlan]) -> list[PlanChange]:
        changes = [change_of(known.get(plan.source), plan, now_ms=now_ms) for plan in listed]
        removed = sorted(known.keys() - {plan.source for plan in listed}) if prune else []
        return changes + [PlanChange(source, "removed") for source in removed]

    return await _commit(settings, decide, dry_run=dry_run)


async def remove(settings: Settings, sources: Collection[str]) -> list[PlanChange]:
    """Remove the plans of these sources. Raises UserError if one has none; and like ``publish``."""

    def decide(known: Mapping[str, TrackingPlan]) -> list[PlanChange]:
        missing = sorted(set(sources) - known.keys())
        if missing:
            published = ", ".join(sorted(known)) or "none"
            raise UserError(f"no tracking plan is published for {', '.join(missing)}; published: {published}")
        return [PlanChange(source, "removed") for source in sorted(set(sources))]

    return await _commit(settings, decide)


def change_of(former: TrackingPlan | None, plan: TrackingPlan, *, now_ms: int) -> PlanChange:
    """Return what publishing a plan changes."""
    if former is not None and former.written == plan.written:
        return PlanChange(plan.source, "unchanged", former)
    action: Action = "added" if former is None else "changed"
    return PlanChange(plan.source, action, msgspec.structs.replace(plan, at_ms=now_ms))


async def _commit(
    settings: Settings,
    decide: Callable[[Mapping[str, TrackingPlan]], list[PlanChange]],
    *,
    dry_run: bool = False,
) -> list[PlanChange]:
    if dry_run:
        return decide(await read(settings))
    await _partition(settings)
    async with publisher(settings.kafka, settings.topics.tracking_plans) as publish_all:
        changes = decide(await read(settings))
        written = [each for each in changes if each.action != "unchanged"]
        await publish_all(
            [(each.source.encode(), None if each.plan is None else encode(each.plan)) for each in written]
        )
    return changes


async def _partition(settings: Settings) -> TopicPartition:
    return await single_partition(settings.kafka, settings.topics.tracking_plans)
