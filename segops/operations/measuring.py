"""How large templates would be in a running system: a plan of all of them, discarded at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Final, NamedTuple

from segops.config import Settings
from segops.core.errors import RejectedEvent, UserError
from segops.core.segments import Definition
from segops.core.survey import Survey
from segops.kafka.definitions import read
from segops.kafka.topics import partition_counts
from segops.operations import plans
from segops.operations.definitions import plan
from segops.operations.logs import PastLog
from segops.operations.plans import Wait
from segops.schemas.events import decode
from segops.schemas.identifying import limits_of
from segops.schemas.planned import PlannedEdit
from segops.schemas.records import origin_of
from segops.schemas.ticks import TYPE_HEADER
from segops.wall_clock import wall_ms

#: What the keys of measured segments begin with; they are never published.
PREFIX: Final = "template-"
#: The most records of each partition that are looked at for names and traits.
NEWEST: Final = 10_000


class Measured(NamedTuple):
    """The number of profiles, and by key of a segment its members and what it reads that no event had.

    ``events``: how many events were looked at, the newest ones. ``since_ms``: by key, from when on the events
    that a segment counts are complete, if not from the beginning.
    """

    profiles: int
    members: Mapping[str, int]
    since_ms: Mapping[str, int]
    unseen: Mapping[str, Sequence[str]]
    events: int


async def measure(settings: Settings, definitions: Sequence[Definition], wait: Wait) -> Measured:
    """Count the members that segments would have, without publishing them. Their keys begin with ``PREFIX``.

    The workers count past events first, as for a plan; the plan is discarded at the end. If it takes longer
    than ``wait``, a repeated call goes on with it. Raises UserError while a plan of a person is open, which
    this one would replace, and what ``plans.plan`` raises.
    """
    planned = (await read(settings)).planned
    if planned is not None and planned.is_open(wall_ms()) and not _is_measuring(planned):
        raise UserError(
            f"measuring would take the place of the plan {planned.id}: apply it, or discard it first "
            "(segops plan --discard)"
        )
    edit = partial(plan, definitions=definitions, prune=False)
    effect, recorded = await plans.plan(settings, edit, wait)
    if recorded is not None:
        await _discard(settings, recorded.planned.id)
    unseen, events = await _unseen(settings, definitions)
    found = {each.key: effect.plan.segments[each.key] for each in definitions}
    return Measured(
        effect.scanned.profiles,
        {key: each.then for key, each in found.items()},
        {key: each.complete_since_ms for key, each in found.items() if each.complete_since_ms},
        unseen,
        events,
    )


def _is_measuring(planned: PlannedEdit) -> bool:
    return all(each.key.startswith(PREFIX) for each in planned.changes)


async def _discard(settings: Settings, plan_id: str) -> None:
    """End a plan unless another one has taken its place."""
    planned = (await read(settings)).planned
    if planned is not None and planned.id == plan_id and planned.is_open(wall_ms()):
        await plans.discard(settings)


async def _unseen(settings: Settings, definitions: Sequence[Definition]) -> tuple[dict[str, list[str]], int]:
    """Return what each segment reads that none of the newest events had, and the number of these."""
    surveys = {each.key: Survey([each]) for each in definitions}
    topic, limits, events = settings.topics.profile_events, limits_of(settings), 0
    count = (await partition_counts(settings.kafka, [topic]))[topic]
    log = await PastLog.open(settings, topic, range(count), newest=NEWEST)
    async with aclosing(log.read()) as records:
        async for record in records:
            if TYPE_HEADER in dict(record.headers):
                continue
            try:
                source, time_ms = origin_of(record.headers)
                event = decode(
                    record.value or b"",
                    time_ms=time_ms,
                    default_id=source.decode(),
                    limits=limits,
                    context_keys=None,
                )
            except (RejectedEvent, ValueError):
                continue
            events += 1
            for survey in surveys.values():
                survey.observe(event)
    return {key: [*each.names_never_met(), *each.paths_never_met()] for key, each in surveys.items()}, events
