"""Plan an edit of the definitions, and publish one within limits on how much of a segment it may move.

A plan is a scan: the workers judge every profile by the definitions after the edit. It is recorded as the
latest plan, so that exactly this edit can be published later. One that needs history is recorded first: the
workers collect the history while the plan is open, and the scan waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
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
from segops.operations.columns import publish_columns
from segops.operations.definitions import Beside, DefinitionChange, commit, in_use, needing_history
from segops.operations.plan_changes import change_of, planned_change, state_of
from segops.operations.scans import Progress, scan
from segops.schemas.planned import PlannedEdit, encode_planned
from segops.schemas.published_plans import PlanFigures, figures_of
from segops.schemas.scan_views import FOLLOWS, Edited
from segops.schemas.scans import (
    MAX_REQUEST_BYTES,
    PlanRequest,
    ScanBehind,
    Scanned,
    ScanTimeout,
    Watch,
    records_of,
)
from segops.wall_clock import wall_ms

_PAUSE_S: Final = 0.5
#: How often to look whether the plan whose history is collected is still open.
_LOOK_S: Final = 2.0
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
    ``after``: the definitions after it; ``draft``: the plan whose history the scan waited for, if any.
    """

    changes: list[DefinitionChange]
    base: str
    new: frozenset[str]
    after: list[Definition]
    scanned: Scanned
    draft: PlannedEdit | None = None

    @property
    def plan(self) -> Plan:
        """The plan over all partitions."""
        found: Plan = self.scanned.result
        return found


class Wait(NamedTuple):
    """How long to wait for the answers of all partitions, in seconds, and where to report the progress."""

    seconds: float
    progress: Callable[[Progress], None] = lambda _: None


class Detail(NamedTuple):
    """What a plan tells beside numbers: ``samples`` profiles of each kind, and the flapping of a watch."""

    samples: int = 0
    watch: Watch | None = None


_PLAIN: Final = Detail()


async def effect_of(settings: Settings, decide: Decide, wait: Wait, detail: Detail = _PLAIN) -> Effect:
    """Return the effect of an edit on the running system, without publishing it.

    Definitions that were published just before are waited for. Raises what ``decide`` and ``scan`` raise,
    ScanBehind if the workers do not adopt those in time, and UnknownEffect.
    """
    until_s = asyncio.get_running_loop().time() + wait.seconds
    while True:
        try:
            left_s = until_s - asyncio.get_running_loop().time()
            return await _effect(settings, decide, Wait(left_s, wait.progress), detail)
        except ScanBehind:
            if asyncio.get_running_loop().time() + _PAUSE_S > until_s:
                raise
        await asyncio.sleep(_PAUSE_S)


async def _effect(settings: Settings, decide: Decide, wait: Wait, detail: Detail) -> Effect:
    log = await read(settings)
    changes = decide(log)
    before, after = _bound(log, log.live), _bound(log, _after(log, changes))
    draft = _draft_of(log, changes)
    question = _question(before, after, detail, "" if draft is None else draft.id)
    scanned = _NOTHING_SCANNED
    if question.definitions or question.removed:
        await require_worker(settings)
        await publish_columns(settings, log, after.values())
        asked = scan(settings, question, wait_s=wait.seconds, progress=wait.progress)
        scanned = await (asked if draft is None else _while_open(settings, draft, asked))
    new = frozenset(after.keys() - before.keys())
    return Effect(changes, state_of(log), new, [*after.values()], scanned, draft)


async def _while_open(settings: Settings, draft: PlannedEdit, asked: Coroutine[Any, Any, Scanned]) -> Scanned:
    """Return the result of a scan. Raises what the scan raises, and UserError once its plan has ended."""
    scanning = asyncio.ensure_future(asked)
    try:
        while not scanning.done():
            await asyncio.wait((scanning,), timeout=_LOOK_S)
            if not scanning.done():
                changes_of(await read(settings), draft.id)
        return await scanning
    except ScanTimeout as error:
        goes_on = f"the workers go on collecting history for the plan {draft.id}: repeat this command"
        raise ScanTimeout(f"{error}; {goes_on}") from error
    finally:
        scanning.cancel()
        await asyncio.gather(scanning, return_exceptions=True)


def _draft_of(log: DefinitionLog, changes: Sequence[DefinitionChange]) -> PlannedEdit | None:
    """Return the open plan for which history is collected, if it makes exactly these changes."""
    planned = log.planned
    if planned is None or not (planned.history and planned.is_open(wall_ms())):
        return None
    same = planned.records == _records(changes) and planned.base == state_of(log)
    return planned if same else None


def _records(changes: Iterable[DefinitionChange]) -> dict[bytes, bytes]:
    return {each.key.encode(): each.record for each in changes if each.record is not None}


def _after(log: DefinitionLog, changes: Sequence[DefinitionChange]) -> dict[str, Definition]:
    """Return the definitions as they are once the changes are published."""
    return log.after(_records(changes)).live


def _bound(log: DefinitionLog, definitions: Mapping[str, Definition]) -> dict[str, Definition]:
    """Return definitions as workers use them: without broken references, with static lists bound to them."""
    return {each.key: each for each in log.bound(in_use(definitions).values())}


def _question(
    before: dict[str, Definition], after: dict[str, Definition], detail: Detail, draft: str
) -> PlanRequest:
    found = records_of(_changed(before, after))
    if (size := found.size) > _MAX_BYTES:
        sizes = f"{size:,} bytes{found.sizes()}, more than {_MAX_BYTES:,}"
        raise UnknownEffect(f"the changed definitions have {sizes}")
    removed = tuple(sorted(before.keys() - after.keys()))
    base = version_of(before.values())
    return PlanRequest(base, found.records, removed, detail.samples, draft, detail.watch, found.models)


def _changed(before: dict[str, Definition], after: dict[str, Definition]) -> list[Definition]:
    return [each for key, each in after.items() if key not in before or _differ(before[key], each)]


def _differ(one: Definition, other: Definition) -> bool:
    return version_of([one]) != version_of([other])


async def require_worker(settings: Settings) -> None:
    """Raise UnknownEffect if no worker runs."""
    if not (await group.describe(settings)).members:
        name = settings.worker.app_id
        raise UnknownEffect(f"no worker of {name} is running, and the workers compute the effect")


# -- recorded plans --------------------------------------------------------------------------------------


class Recorded(NamedTuple):
    """A plan that was recorded, and the id of the open one whose place it took, if any."""

    planned: PlannedEdit
    replaced: str | None


def edited_in(effect: Effect) -> dict[str, Edited]:
    """Return what happens to the definition of each segment."""
    found = {each.key: Edited(FOLLOWS, each.version) for each in effect.after}
    changes = (each for each in effect.changes if each.action != "unchanged")
    return found | {each.key: Edited(each.action, each.version) for each in changes}


async def plan(
    settings: Settings, decide: Decide, wait: Wait, *, samples: int = 0
) -> tuple[Effect, Recorded | None]:
    """Return the effect of an edit, and its plan, recorded in place of an earlier one.

    An edit that changes nothing is not recorded (None), and leaves an earlier plan as it is. One that needs
    history is recorded before its effect is known, so that the workers collect the history; if it is planned
    again, it goes on. Raises what ``effect_of`` and ``record`` raise, and UserError if it ends meanwhile.
    """
    draft = await begin(settings, decide)
    effect = await effect_of(settings, decide, wait, Detail(samples))
    if draft is None and not _records(effect.changes):
        return effect, None
    figures = figures_of(effect.scanned, edited_in(effect))
    if draft is None:
        return effect, await record(settings, effect.changes, effect.base, figures=figures)
    await _complete(settings, draft.planned.id, figures)
    return effect, draft


async def _complete(settings: Settings, plan_id: str, figures: PlanFigures) -> None:
    """Publish the figures of an open plan. Raises UserError if it has ended."""

    def decide(log: DefinitionLog) -> tuple[list[DefinitionChange], PlannedEdit | None]:
        changes_of(log, plan_id)
        return [], log.planned

    await commit(settings, decide, figures=figures)


async def begin(settings: Settings, decide: Decide) -> Recorded | None:
    """Return the plan of an edit that needs history: the open one of this edit, or a new one; else None."""
    log = await read(settings)
    changes = decide(log)
    if (known := _draft_of(log, changes)) is not None:
        return Recorded(known, None)
    before, after = in_use(log.live), in_use(_after(log, changes))
    edited = {each.key for each in _changed(before, after)}
    if not needing_history(edited, before, after):
        return None
    _question(before, after, _PLAIN, "")
    await require_worker(settings)
    return await record(settings, changes, state_of(log), history=True)


async def record(
    settings: Settings,
    edit: Iterable[DefinitionChange],
    base: str,
    *,
    history: bool = False,
    figures: PlanFigures | None = None,
) -> Recorded:
    """Record the plan of an edit of the definitions with the hash ``base``, in place of an earlier one.

    ``figures``: None if they are not known yet. Raises UserError if others were published since, and for an
    edit that is too large.
    """
    changes = tuple(map(planned_change, edit))
    planned = PlannedEdit(uuid4().hex[:12], wall_ms(), base, changes, history=history)
    former: list[PlannedEdit] = []

    def decide(log: DefinitionLog) -> tuple[list[DefinitionChange], PlannedEdit]:
        _check_base(log, base)
        former.extend([log.planned] if log.planned is not None and log.planned.is_open(wall_ms()) else [])
        return [], planned

    try:
        encode_planned(planned)
    except ValueError as error:
        raise UserError(f"{error}: plan fewer segments at once") from error
    await commit(settings, decide, figures=figures)
    return Recorded(planned, former[0].id if former else None)


async def discard(settings: Settings, plan_id: str | None = None) -> PlannedEdit:
    """End the latest plan and return it. Raises UserError if it has ended, or is not ``plan_id``."""
    found: list[PlannedEdit] = []

    def decide(log: DefinitionLog) -> tuple[list[DefinitionChange], PlannedEdit]:
        if log.planned is None or not log.planned.is_open(wall_ms()):
            raise UserError("there is no plan to discard")
        if plan_id not in (None, log.planned.id):
            raise UserError(f"nothing was discarded: the latest plan is {log.planned.id}, not {plan_id}")
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
    if planned.state not in ("open", "superseded"):
        raise UserError(f"the plan {plan_id} was {planned.state}")
    if wall_ms() >= planned.expires_ms:
        raise UserError(f"the plan {plan_id} expired at {format_instant(planned.expires_ms)}: plan again")
    if planned.state == "superseded" or state_of(log) != planned.base:
        raise UserError(f"the plan {plan_id} is outdated: the definitions were changed since; plan again")
    return [change_of(each) for each in planned.changes]


# -- publication within limits -----------------------------------------------------------------------------


async def publish(
    settings: Settings,
    decide: Decide,
    *,
    limits: Limits | None,
    wait: Wait,
    plan_id: str = "",
    beside: Beside = lambda _: {},
    shown: Callable[[Effect], None] = lambda _: None,
) -> list[DefinitionChange]:
    """Publish an edit, or nothing if it would move more than the limits allow; return its changes.

    The effect is computed just before, and given to ``shown``. It is not if ``limits`` is None, or if there
    can be no members yet: nothing is published, or no worker has ever committed a position. ``plan_id``: the
    plan that ends with it; ``beside``: what belongs to the edit on other topics. Raises TooMuch, UserError if
    other definitions are published meanwhile, and what ``effect_of`` and ``commit`` raise.
    """
    base, has_history = None, False
    if limits is not None and await may_move(settings):
        effect = await _checked(settings, decide, limits, wait, shown)
        base, has_history = effect.base, effect.draft is not None

    def decided(log: DefinitionLog) -> tuple[list[DefinitionChange], PlannedEdit | None]:
        changes = decide(log)
        if base is not None:
            _check_base(log, base)
        ends = log.planned is not None and log.planned.id == plan_id
        return changes, log.planned.ended("applied") if log.planned is not None and ends else None

    published = await commit(settings, decided, beside=beside)
    return [msgspec.structs.replace(each, waits=each.waits and not has_history) for each in published]


async def _checked(
    settings: Settings, decide: Decide, limits: Limits, wait: Wait, shown: Callable[[Effect], None]
) -> Effect:
    """Return the effect of an edit. Raises TooMuch, and if it is unknown."""
    try:
        effect = await effect_of(settings, decide, wait)
    except (UnknownEffect, ScanTimeout, ScanBehind) as error:
        kind = UserError if isinstance(error, UserError) else SegopsError
        raise kind(f"nothing was published: {error}; --yes publishes without knowing the effect") from error
    shown(effect)
    moved = beyond(effect.plan, limits, effect.new)
    if moved:
        raise TooMuch(moved, limits)
    return effect


def _check_base(log: DefinitionLog, base: str) -> None:
    if state_of(log) != base:
        raise UserError("other definitions were published meanwhile; nothing was written. Retry.")


async def may_move(settings: Settings) -> bool:
    """Return whether there can be members: something is published, and a worker runs or has run."""
    if not (await read(settings)).live:
        return False
    if (await group.describe(settings)).members:
        return True
    return settings.topics.profile_events in await read_topics(settings)
