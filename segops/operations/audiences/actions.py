"""The actions on audiences: each checks, and writes state, definition and audit in one transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final
from uuid import uuid4

import msgspec

from segops.config import Settings
from segops.core.audiences.approval import differences, editions_of, meaning_of
from segops.core.audiences.audit import entry_of
from segops.core.audiences.compiling import definition_of, measuring_of
from segops.core.audiences.model import (
    Act,
    Audience,
    AudienceRecord,
    Moves,
    Rate,
    ReachPlan,
    Release,
    State,
)
from segops.core.audiences.states import APPROVED, Action, after
from segops.core.errors import UserError
from segops.core.scans import with_references
from segops.core.segments import Definition
from segops.kafka.resources import Change
from segops.operations.audiences.actors import BREAKER, check_may, client
from segops.operations.audiences.reach import measure_published, moves_since_approval, raw_records
from segops.operations.audiences.store import Decision, Known, commit, read_known
from segops.operations.definitions import DefinitionChange, in_use, plan, retirement
from segops.operations.plans import Wait
from segops.wall_clock import wall_ms


class StaleEdit(UserError):
    """An audience was edited after the person saw it; ``record``: as it is published now."""

    def __init__(self, record: AudienceRecord) -> None:
        super().__init__(
            f"nothing was written: {_actor_of(record)} edited the audience {record.audience.key} meanwhile"
        )
        self.record = record


class PlanVoid(UserError):
    """The plan cannot be submitted or approved any more; ``reasons`` say why. Plan again."""

    def __init__(self, key: str, reasons: Sequence[str]) -> None:
        found = "; ".join(reasons)
        super().__init__(
            f"the plan of the audience {key} is void: {found}. Run `segops audiences plan {key}`"
        )
        self.reasons = tuple(reasons)


# -- edits -------------------------------------------------------------------------------------------------


async def apply(
    settings: Settings, audiences: Sequence[Audience], act: Act, *, seen: Mapping[str, str] | None = None
) -> list[Change[AudienceRecord]]:
    """Publish audiences with their definitions, all or none; return what changes of each.

    What was edited is a draft afterwards. ``seen``: the ``edition`` of each audience that the actor saw, ""
    for one that was not published. Raises StaleEdit if another was published since, and DefinitionError for
    a reference to an unknown segment and for the key of a retired audience.
    """

    def decide(known: Known) -> list[Decision]:
        for each in audiences:
            former = known.records.get(each.key)
            if former is not None:
                if seen is not None and seen.get(each.key, "") != edition(former.audience):
                    raise StaleEdit(former)
                check_may(settings, act, "apply", former)
        return _edits(known, audiences, settings, act)

    return _applied(audiences, await commit(settings, act, decide))


async def preview(settings: Settings, audiences: Sequence[Audience]) -> list[Change[AudienceRecord]]:
    """Return what ``apply`` would change. Raises DefinitionError as it does."""
    now_ms = wall_ms()
    known = await read_known(settings, now_ms=now_ms)
    act = Act("", "person", False, "", now_ms)
    return _applied(audiences, _edits(known, audiences, settings, act))


def edition(audience: Audience) -> str:
    """Return a hash of an audience as it is written: who edits it says by it which one they saw."""
    return hashlib.sha256(msgspec.json.encode(audience.written, order="deterministic")).hexdigest()[:16]


def _applied(audiences: Sequence[Audience], found: Sequence[Decision]) -> list[Change[AudienceRecord]]:
    edited: dict[str, Change[AudienceRecord]] = {
        each.record.audience.key: Change(each.record.audience.key, each.effect) for each in found
    }
    return [edited.get(each.key, Change(each.key, "unchanged")) for each in audiences]


def _edits(known: Known, audiences: Sequence[Audience], settings: Settings, act: Act) -> list[Decision]:
    compiled = [_compiled(known, each, settings.audiences.consents) for each in audiences]
    planned = plan(known.log, [each for own in compiled for each in own], prune=False)
    changes = {each.key: each for each in planned}
    later = known.log.after({key.encode(): each.record for key, each in changes.items() if each.record})
    editions = [editions_of(each, in_use(later.live)) for each in audiences]
    found = (
        _edit(known, each, [changes[definition.key] for definition in own], act)
        for each, own in zip(audiences, compiled, strict=True)
    )
    return [each._replace(editions=of) for each, of in zip(found, editions, strict=True) if each is not None]


def _compiled(known: Known, audience: Audience, consent: Sequence[str]) -> list[Definition]:
    """Return the definition of an audience, and what measures its lift once it has been approved."""
    former = known.records.get(audience.key)
    was_active = former is not None and former.activated_ms is not None
    return [definition_of(audience, consent), *(measuring_of(audience, consent) if was_active else ())]


def _edit(known: Known, audience: Audience, changes: Sequence[DefinitionChange], act: Act) -> Decision | None:
    """Return what publishing an audience does; None if nothing changes.

    ``changes``: of its definition, then of those that measure its lift.
    """
    former = known.records.get(audience.key)
    ai, change = act.origin == "ai", changes[0]
    if former is None:
        record = AudienceRecord(audience, "draft", act.at_ms, authors=(act.actor,), by_ai=ai)
        return Decision("apply", None, record, "added", changes)
    if former.audience.written == audience.written and all(each.action == "unchanged" for each in changes):
        return None
    measured_ms = _measured_ms(former, changes[1:], act.at_ms)
    if meaning_of(former.audience) == meaning_of(audience) and change.action in ("unchanged", "described"):
        record = msgspec.structs.replace(former, audience=audience, measured_ms=measured_ms)
        return Decision("apply", former, record, "described", changes)
    state, goes_on = after(audience.key, former.state, "apply"), former.state not in APPROVED
    authors = {*(former.authors if goes_on else ()), act.actor}
    record = _moved(former, state, act, audience=audience, authors=tuple(sorted(authors)), submitted=None)
    by_ai = ai or (goes_on and former.by_ai)
    record = msgspec.structs.replace(record, by_ai=by_ai, measured_ms=measured_ms)
    return Decision("apply", former, record, "changed", changes)


def _measured_ms(record: AudienceRecord, changes: Iterable[DefinitionChange], now_ms: int) -> int | None:
    """Return since when the lift of an audience is measured, given the changes of what measures it."""
    same = all(each.action in ("unchanged", "described") for each in changes)
    return record.measured_ms if same else now_ms


# -- approval ----------------------------------------------------------------------------------------------


async def plan_reach(settings: Settings, key: str, act: Act, wait: Wait) -> ReachPlan:
    """Measure the reach of a published audience, and record it as the plan to submit and to approve.

    Raises what ``scan`` raises, and UserError if the audience or what it depends on is edited meanwhile.
    """
    known = await _begun(settings, key, "plan", act)
    record = known.record(key)
    reach = await measure_published(settings, record.audience, _used(known, record), wait)
    moves: Moves | None = await moves_since_approval(settings, record, wait)
    made = _now(act)
    approved = None if record.approval is None else entry_of(record.approval).reach
    found = ReachPlan(uuid4().hex[:12], made, known.editions(record), reach, approved, moves)

    def decide(now: Known) -> list[Decision]:
        _check_same(now, record, found.editions)
        changed = msgspec.structs.replace(record, plan=found)
        return [Decision("plan", record, changed, editions=found.editions, seen=found, reach=reach.members)]

    await commit(settings, made, decide)
    return found


async def submit(settings: Settings, key: str, act: Act) -> ReachPlan:
    """Ask for the approval of an audience with its latest plan; return that. Raises PlanVoid."""
    plans: list[ReachPlan] = []

    def change(known: Known, record: AudienceRecord, act: Act) -> Decision:
        found = _valid_plan(known, record)
        plans.append(found)
        changed = _moved(record, "waiting", act, submitted=act)
        return Decision(
            "submit", record, changed, editions=found.editions, seen=found, reach=found.reach.members
        )

    await _acted(settings, key, "submit", act, change)
    return plans[-1]


def _valid_plan(known: Known, record: AudienceRecord) -> ReachPlan:
    key, found = record.audience.key, record.plan
    if found is None:
        raise PlanVoid(key, ["there is none"])
    reasons = differences(found.editions, known.editions(record))
    if known.now_ms >= found.expires_ms:
        reasons.append(f"{found.id} is older than 24 h")
    if reasons:
        raise PlanVoid(key, reasons)
    return found


async def approve(settings: Settings, key: str, plan_id: str, act: Act, wait: Wait) -> AudienceRecord:
    """Approve an audience with the plan that the approver saw; return it, active.

    The reach is measured again. Raises NotAllowed, PlanVoid, IllegalAction, and what ``scan`` raises.
    """
    known = await _begun(settings, key, "approve", act)
    record = known.record(key)
    _check_seen(known, record, plan_id)
    reach = await measure_published(settings, record.audience, _used(known, record), wait)

    def change(now: Known, latest: AudienceRecord, act: Act) -> Decision:
        found = _check_seen(now, latest, plan_id)
        if found.reach.moved(reach):
            moved = f"the reach moved by more than 5 %: from {found.reach.members:,} to {reach.members:,}"
            raise PlanVoid(latest.audience.key, [moved])
        approved = raw_records(_used(now, latest))
        first_ms = act.at_ms if latest.activated_ms is None else latest.activated_ms
        measuring = measuring_of(latest.audience, settings.audiences.consents)
        changes = plan(now.log, measuring, prune=False)[: len(measuring)]
        changed = _moved(
            latest,
            "active",
            act,
            approved=approved,
            authors=(),
            by_ai=False,
            activated_ms=first_ms,
            released=None,
            measured_ms=_measured_ms(latest, changes, act.at_ms),
        )
        decision = Decision("approve", latest, changed, changes=changes)
        return decision._replace(editions=found.editions, seen=found, reach=reach.members)

    return await _acted(settings, key, "approve", _now(act), change)


def _check_seen(known: Known, record: AudienceRecord, plan_id: str) -> ReachPlan:
    found = _valid_plan(known, record)
    if found.id != plan_id:
        raise UserError(f"unknown plan {plan_id!r}: the latest one of {record.audience.key} is {found.id}")
    return found


# -- the other actions -------------------------------------------------------------------------------------


#: Action -> the state that it leads to.
_STATES: Final[Mapping[Action, State]] = {
    "reject": "draft",
    "hold": "held",
    "release": "active",
    "pause": "paused",
    "resume": "active",
    "retire": "retired",
}


async def act_on(
    settings: Settings,
    key: str,
    action: Action,
    act: Act,
    note: str = "",
    *,
    rate: Rate | None = None,
    discard: bool = False,
) -> AudienceRecord:
    """Reject, hold, release, pause, resume or retire an audience; return it.

    ``retire`` ends its definition, too. ``rate`` and ``discard`` say what a release does with the changes
    since the hold. Raises IllegalAction and NotAllowed.
    """

    def change(known: Known, record: AudienceRecord, act: Act) -> Decision:
        changed = _moved(record, _STATES[action], act, note=note)
        if action in ("hold", "release"):
            released = Release(act.at_ms, rate, discard) if action == "release" else None
            changed = msgspec.structs.replace(changed, released=released)
        seen, editions = record.plan, known.editions(record)
        edits = _retirements(known, record.audience) if action == "retire" else ()
        return Decision(action, record, changed, changes=edits, editions=editions, seen=seen, note=note)

    return await _acted(settings, key, action, act, change)


def _retirements(known: Known, audience: Audience) -> list[DefinitionChange]:
    keys = (*audience.measuring_keys, audience.definition_key)
    return [retirement(known.log.live[key]) for key in keys if key in known.log.live]


def _moved(record: AudienceRecord, state: State, act: Act, **changed: object) -> AudienceRecord:
    return msgspec.structs.replace(record, state=state, since_ms=act.at_ms, **{"note": "", **changed})


async def trip(settings: Settings, key: str, why: str) -> bool:
    """Hold an audience for the breaker; return False if it is not active any more.

    Raises UserError if another publisher commits first, and NotAllowed without the key of a signed audit.
    """
    act = Act(BREAKER, "breaker", False, client(), wall_ms())

    def decide(known: Known) -> list[Decision]:
        record = known.records.get(key)
        if record is None or known.status(record).state != "active":
            return []
        check_may(settings, act, "hold", record)
        held, editions = _moved(record, "held", act, note=why, released=None), known.editions(record)
        return [Decision("hold", record, held, editions=editions, seen=record.plan, note=why)]

    return bool(await commit(settings, act, decide))


async def _acted(
    settings: Settings,
    key: str,
    action: Action,
    act: Act,
    change: Callable[[Known, AudienceRecord, Act], Decision],
) -> AudienceRecord:
    def decide(known: Known) -> list[Decision]:
        record = known.record(key)
        _check(settings, known, record, action, act)
        return [change(known, record, act)]

    (decision,) = await commit(settings, act, decide)
    return decision.record


def _now(act: Act) -> Act:
    """Return an act as of now: a measurement takes time."""
    return msgspec.structs.replace(act, at_ms=wall_ms())


def _check(settings: Settings, known: Known, record: AudienceRecord, action: Action, act: Act) -> None:
    """Raise IllegalAction or NotAllowed unless the actor may do this now."""
    status = known.status(record)
    after(record.audience.key, status.state, action, status.why)
    check_may(settings, act, action, record)


async def _begun(settings: Settings, key: str, action: Action, act: Act) -> Known:
    """Return what is published, after the checks that need no measurement."""
    known = await read_known(settings, now_ms=act.at_ms)
    _check(settings, known, known.record(key), action, act)
    return known


def _used(known: Known, record: AudienceRecord) -> list[Definition]:
    """Return the definition of an audience, and all that it refers to."""
    found = with_references([record.audience.definition_key], known.definitions)
    if not found:
        raise UserError(f"the audience {record.audience.key} has no definition in force: apply it again")
    return found


def _check_same(known: Known, record: AudienceRecord, editions: Mapping[str, str]) -> None:
    latest = known.record(record.audience.key)
    edited = differences(editions, known.editions(latest))
    if edited or latest.version != record.version:
        reason = "; ".join(edited) or f"it was changed by {_actor_of(latest)}"
        raise UserError(f"nothing was written: meanwhile, {reason}. Retry.")


def _actor_of(record: AudienceRecord) -> str:
    return "another" if record.latest is None else entry_of(record.latest).by.actor
