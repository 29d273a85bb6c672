"""Plan an edit of the definitions, and publish one within limits on how much of a segment it may move.

A plan is a scan: the workers judge every profile by the definitions after the edit. It is recorded as the
latest plan, so that exactly this edit can be published later.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple
from uuid import uuid4

import msgspec

from segops.config import Settings
from segops.core.errors import SegopsError, UserError
from segops.core.scans import Limits, Plan, beyond
from segops.core.segments import Definition, version_of
from segops.core.values import format_instant
from segops.kafka.coordinator import read_topics
from segops.kafka.definitions import DefinitionLog, read
from segops.operations import group
from segops.operations.definitions import DefinitionChange, commit, in_use
from segops.operations.scans import Progress, scan
from segops.schemas.planned import PlannedChange, PlannedEdit, encode_planned
from segops.schemas.scans import MAX_REQUEST_BYTES, PlanRequest, ScanBehind, Scanned, ScanTimeout
from segops.schemas.segments import definition_to_record
from segops.wall_clock import wall_ms

_PAUSE_S: Final = 0.5
#: The most bytes of changed definitions, with room for the rest of the request.
_MAX_BYTES: Final = MAX_REQUEST_BYTES - 50_000
_NOTHING_SCANNED: Final = Scanned(0, 0, 0, 0, Plan({}))
#: Decides what an edit changes, given the published definitions. May be called again.
Decide = Callable[[DefinitionLog], list[DefinitionChange]]


class UnknownEffect(UserError):
    """The effect of an edit cannot be computed: no worker runs, or the edit is too large for one request."""


class TooMuch(UserError):
    """An edit moves more than the limits allow; ``segments``: by how much each."""

    def __init__(self, segments: dict[str, str], limits: Limits) -> None:
        lines = "".join(f"\n  {key}: {moved}" for key, moved in segments.items())
        allowed = f"{limits.changes:,} changes or {100 * limits.share:g} % of a segment"
        super().__init__(f"nothing was published: it would move more than {allowed}{lines}\n{_REPEAT}")
        self.segments = segments


_REPEAT: Final = "raise --max-changes or --max-share, or repeat with --yes"


class Effect(NamedTuple):
    """What an edit does: its changes, and the scan with the plan.

    ``base``: a hash of all published definitions that it edits; ``new``: the segments that it adds;
    ``after``: the definitions after it.
    """

    changes: list[DefinitionChange]
    base: str
    new: frozenset[str]
    after: list[Definition]
    scanned: Scanned

    @property
    def plan(self) -> Plan:
        """The plan over all partitions."""
        found: Plan = self.scanned.result
        return found


class Wait(NamedTuple):
    """How long to wait for the answers of all partitions, in seconds, and where to report the progress."""

    seconds: float
    progress: Callable[[Progress], None] = lambda _: None


async def effect_of(settings: Settings, decide: Decide, wait: Wait, *, samples: int = 0) -> Effect:
    """Return the effect of an edit on the running system, without publishing it.

    Definitions that were published just before are waited for. Raises what ``decide`` and ``scan`` raise,
    ScanBehind if the workers do not adopt those in time, and UnknownEffect.
    """
    until_s = asyncio.get_running_loop().time() + wait.seconds
    while True:
        try:
            left_s = until_s - asyncio.get_running_loop().time()
            return await _effect(settings, decide, Wait(left_s, wait.progress), samples)
        except ScanBehind:
            if asyncio.get_running_loop().time() + _PAUSE_S > until_s:
                raise
        await asyncio.sleep(_PAUSE_S)


async def _effect(settings: Settings, decide: Decide, wait: Wait, samples: int) -> Effect:
    log = await read(settings)
    changes = decide(log)
    before, after = in_use(log.live), in_use(_after(log, changes).live)
    question = _question(before, after, samples)
    scanned = _NOTHING_SCANNED
    if question.definitions or question.removed:
        await _require_worker(settings)
        scanned = await scan(settings, question, wait_s=wait.seconds, progress=wait.progress)
    return Effect(
        changes, _state_of(log), frozenset(after.keys() - before.keys()), [*after.values()], scanned
    )


def _after(log: DefinitionLog, changes: Sequence[DefinitionChange]) -> DefinitionLog:
    """Return the log as it is once the changes are published."""
    found = DefinitionLog()
    found.live, found.retired = dict(log.live), dict(log.retired)
    for change in changes:
        if change.record is not None:
            found.apply(change.key.encode(), change.record)
    return found


def _question(before: dict[str, Definition], after: dict[str, Definition], samples: int) -> PlanRequest:
    changed = [each for key, each in after.items() if key not in before or _differ(before[key], each)]
    records = tuple(msgspec.Raw(definition_to_record(each)) for each in changed)
    if (size := sum(map(len, records))) > _MAX_BYTES:
        raise UnknownEffect(f"the changed definitions have {size:,} bytes, more than {_MAX_BYTES:,}")
    removed = tuple(sorted(before.keys() - after.keys()))
    return PlanRequest(version_of(before.values()), records, removed, samples)


def _state_of(log: DefinitionLog) -> str:
    """Return a hash of all definitions and retired keys of a log."""
    live = [(key, definition_to_record(each).decode()) for key, each in sorted(log.live.items())]
    return hashlib.sha256(msgspec.json.encode((live, sorted(log.retired)))).hexdigest()


def _differ(one: Definition, other: Definition) -> bool:
    return version_of([one]) != version_of([other])


async def _require_worker(settings: Settings) -> None:
    if not (await group.describe(settings)).members:
        name = settings.worker.app_id
        raise UnknownEffect(f"no worker of {name} is running, and the workers compute the effect")


# -- recorded plans --------------------------------------------------------------------------------------


class Recorded(NamedTuple):
    """A plan that was recorded, and the id of the open one whose place it took, if any."""

    planned: PlannedEdit
    replaced: str | None


async def record(settings: Settings, effect: Effect) -> Recorded:
    """Record the plan of an edit, in place of an earlier one.

    Raises UserError if other definitions were published since its effect was computed, and for an edit that
    is too large.
    """
    changes = tuple(map(_planned, effect.changes))
    planned = PlannedEdit(uuid4().hex[:12], wall_ms(), effect.base, changes)
    former: list[PlannedEdit] = []

    def decide(log: DefinitionLog) -> tuple[list[DefinitionChange], PlannedEdit]:
        _check_base(log, effect.base)
        former.extend([log.planned] if log.planned is not None and log.planned.is_open(wall_ms()) else [])
        return [], planned

    try:
        encode_planned(planned)
    except ValueError as error:
        raise UserError(f"{error}: plan fewer segments at once") from error
    await commit(settings, decide)
    return Recorded(planned, former[0].id if former else None)


async def discard(settings: Settings) -> PlannedEdit:
    """End the latest plan and return it. Raises UserError if it has ended."""
    found: list[PlannedEdit] = []

    def decide(log: DefinitionLog) -> tuple[list[DefinitionChange], PlannedEdit]:
        if log.planned is None or not log.planned.is_open(wall_ms()):
            raise UserError("there is no plan to discard")
        found.append(log.planned)
        return [], log.planned.ended("discarded")

    await commit(settings, decide)
    return found[-1]


def changes_of(log: DefinitionLog, plan_id: str) -> list[DefinitionChange]:
    """Return the changes of the plan with this id.

    Raises UserError if it is unknown, replaced, applied, discarded or expired, or if other definitions were
    published since it was made.
    """
    planned = log.planned
    if planned is None:
        raise UserError(f"unknown plan {plan_id!r}: there is none")
    if planned.id != plan_id:
        made = format_instant(planned.made_ms)
        raise UserError(f"unknown plan {plan_id!r}: the latest one is {planned.id}, made at {made}")
    if planned.state != "open":
        raise UserError(f"the plan {plan_id} was {planned.state}")
    if wall_ms() >= planned.expires_ms:
        raise UserError(f"the plan {plan_id} expired at {format_instant(planned.expires_ms)}: plan again")
    if _state_of(log) != planned.base:
        raise UserError(f"the plan {plan_id} is outdated: the definitions were changed since; plan again")
    return [_change(each) for each in planned.changes]


def _planned(change: DefinitionChange) -> PlannedChange:
    raw = msgspec.Raw(change.record or b"null")
    return PlannedChange(change.key, change.action, change.version, raw, change.reason, change.waits)


def _change(planned: PlannedChange) -> DefinitionChange:
    record = None if (value := bytes(planned.record)) == b"null" else value
    action: Any = planned.action
    return DefinitionChange(planned.key, action, planned.version, record, planned.reason, planned.waits)


# -- publication within limits -----------------------------------------------------------------------------


async def publish(
    settings: Settings, decide: Decide, *, limits: Limits | None, wait: Wait, plan_id: str = ""
) -> list[DefinitionChange]:
    """Publish an edit, or nothing if it would move more than the limits allow; return its changes.

    The effect is computed just before. It is not if ``limits`` is None, or if there can be no members yet:
    nothing is published, or no worker has ever committed a position. ``plan_id``: the plan that ends with
    it. Raises TooMuch, UserError if other definitions are published meanwhile, and what ``effect_of`` and
    ``commit`` raise.
    """
    base = None
    if limits is not None and await _may_move(settings):
        base = await _checked(settings, decide, limits, wait)

    def decided(log: DefinitionLog) -> tuple[list[DefinitionChange], PlannedEdit | None]:
        changes = decide(log)
        if base is not None:
            _check_base(log, base)
        ends = log.planned is not None and log.planned.id == plan_id
        return changes, log.planned.ended("applied") if log.planned is not None and ends else None

    return await commit(settings, decided)


async def _checked(settings: Settings, decide: Decide, limits: Limits, wait: Wait) -> str:
    """Check that an edit is within the limits; return the hash of the definitions that it edits."""
    try:
        effect = await effect_of(settings, decide, wait)
    except (UnknownEffect, ScanTimeout, ScanBehind) as error:
        kind = UserError if isinstance(error, UserError) else SegopsError
        raise kind(f"nothing was published: {error}; --yes publishes without knowing the effect") from error
    moved = beyond(effect.plan, limits, effect.new)
    if moved:
        raise TooMuch(moved, limits)
    return effect.base


def _check_base(log: DefinitionLog, base: str) -> None:
    if _state_of(log) != base:
        raise UserError("other definitions were published meanwhile; nothing was written. Retry.")


async def _may_move(settings: Settings) -> bool:
    """Return whether there can be members: something is published, and a worker runs or has run."""
    if not (await read(settings)).live:
        return False
    if (await group.describe(settings)).members:
        return True
    return settings.topics.profile_events in await read_topics(settings)
