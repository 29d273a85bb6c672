"""The reach of an audience, measured over all profiles, and the difference to what was approved."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from segops.config import Settings
from segops.core.audiences.compiling import reach_of
from segops.core.audiences.model import Audience, AudienceRecord, Moves, Reach
from segops.core.errors import DefinitionError
from segops.core.segments import Definition
from segops.operations.definitions import plan
from segops.operations.plans import UnknownEffect, Wait, effect_of, require_worker
from segops.operations.rollout import wait_until_in_force
from segops.operations.scans import scan
from segops.schemas.scans import estimate_request
from segops.schemas.segments import definition_from_record, definition_to_record

#: The most bytes of definitions that are kept with an approval, so that every broker takes the record.
_MAX_APPROVED_BYTES: Final = 200_000


async def measure(
    settings: Settings,
    audience: Audience,
    definition: Definition,
    wait: Wait,
    *,
    beside: Sequence[Definition] = (),
) -> Reach:
    """Return the funnel of an audience with this definition, over all profiles of the running system.

    ``beside``: drafts of segments that it refers to. Raises what ``scan`` raises.
    """
    drafts = [definition, *beside]
    question = estimate_request(definition.key, drafts, funnel=True)
    scanned = await scan(settings, question, wait_s=wait.seconds, progress=wait.progress)
    return reach_of(
        audience,
        definition,
        settings.audiences.consents,
        scanned.result,
        between_ms=(scanned.from_ms, scanned.to_ms),
        unreadable=scanned.unreadable,
    )


async def measure_published(
    settings: Settings, audience: Audience, used: Sequence[Definition], wait: Wait
) -> Reach:
    """Return the funnel of a published audience, once all that it depends on is in force.

    A segment that was edited may wait for history: until then its members are those by its former rule.
    ``used``: the audience's definition, and all that it refers to. Raises what ``measure`` raises,
    UnknownEffect without a worker, and NotInForce.
    """
    await require_worker(settings)
    versions = {each.key: each.version for each in used}
    await wait_until_in_force(settings, versions, timeout_s=wait.seconds)
    return await measure(settings, audience, used[0], wait)


async def moves_by(settings: Settings, key: str, edited: Sequence[Definition], wait: Wait) -> Moves | None:
    """Return how many enter and leave the segment ``key`` when these definitions are published.

    None if that is unknown: one is retired, or the history that it needs is not there.
    """
    try:
        effect = await effect_of(settings, partial(plan, definitions=edited, prune=False), wait)
    except (DefinitionError, UnknownEffect):
        return None
    found = effect.plan.segments.get(key)
    if found is None:
        return Moves(0, 0)
    return None if found.waits else Moves(found.entering, found.leaving)


async def moves_since_approval(settings: Settings, record: AudienceRecord, wait: Wait) -> Moves | None:
    """Return how many entered and left since the latest approval by edits alone; None if that is unknown.

    The workers judge every profile by the definitions that were approved, as if these were published again.
    """
    try:
        approved = [definition_from_record(bytes(each)) for each in record.approved.values()]
    except DefinitionError:  # such as for a column of a look-up table that is gone
        return None
    edited = [each for each in approved if each is not None]
    if not edited:
        return None
    back = await moves_by(settings, record.audience.definition_key, edited, wait)
    return None if back is None else Moves(back.leaving, back.entering)


def raw_records(definitions: Sequence[Definition]) -> dict[str, msgspec.Raw]:
    """Return definitions as an approval keeps them, by key; none if they are too large for a record."""
    found = {each.key: msgspec.Raw(definition_to_record(each)) for each in definitions}
    return found if sum(len(bytes(each)) for each in found.values()) <= _MAX_APPROVED_BYTES else {}
