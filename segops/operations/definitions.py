"""Publication of segment definitions: apply, pause, resume and retire.

Of two concurrent publishers the first fails (``segops.kafka.publication``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Literal

import msgspec

from segops.config import Settings
from segops.core.audiences.model import PREFIX
from segops.core.backfill import waiting
from segops.core.errors import DefinitionError, Issue, UserError
from segops.core.features import Feature
from segops.core.rules.execution import features_of
from segops.core.scans import with_references
from segops.core.segments import Definition, SegmentSet, check_references, references, version_after
from segops.kafka.definitions import DefinitionLog, left_out, read, require_topic
from segops.kafka.publication import Records, publisher
from segops.operations.columns import column_records
from segops.operations.completing import complete
from segops.operations.plan_log import plan_records
from segops.operations.room import require_room
from segops.schemas.planned import PLAN_KEY, PlannedEdit, encode_planned
from segops.schemas.published_plans import PlanFigures
from segops.schemas.segment_input import MAX_VERSION
from segops.schemas.segments import definition_to_record
from segops.wall_clock import wall_ms

Action = Literal["added", "changed", "described", "unchanged", "paused", "resumed", "retired", "left out"]


class DefinitionChange(msgspec.Struct, frozen=True):
    """The effect of publishing on one segment; ``version`` is the active one afterwards.

    ``left out`` is a published segment of another publisher with a broken reference; ``reason`` names it.
    ``waits``: workers with the former definitions evaluate by the new one when they have counted past events.
    """

    key: str
    action: Action
    version: int
    record: bytes | None = None
    reason: str = ""
    waits: bool = False


#: The records of other topics that belong to an edit of the definitions that are published, by topic.
Beside = Callable[[DefinitionLog], Mapping[str, Records]]
#: The changes to publish, and the record of a plan to write with them, if any.
_Decided = tuple[list[DefinitionChange], PlannedEdit | None]


def plan(
    log: DefinitionLog, definitions: Iterable[Definition], *, prune: bool, retire: Collection[str] = ()
) -> list[DefinitionChange]:
    """Return what publishing would change, without publishing.

    A change of the rule's meaning increments the version; a change of only the name, the description, the
    alerts or ``expose`` is ``described``, with the same version. A paused segment stays paused. ``prune``
    retires all segments that are not in ``definitions``, ``retire`` the given keys; those of audiences stay.
    A published segment with a broken reference is ``left out`` and blocks nothing. A rule that reads a score
    gets the models in force that it does not carry.

    Raises DefinitionError for retired keys and for references that would be broken afterwards; UserError for
    a key to retire that is not published, is also in ``definitions``, belongs to an audience, or is referred
    to by another segment.
    """
    listed = complete(definitions, log)
    new = {each.key: each for each in listed}
    reused = [each for each in listed if each.key in log.retired]
    if reused:
        raise DefinitionError([_reused_key(each, log.retired[each.key]) for each in reused])
    retired = sorted(_unlisted(log, new) if prune else _to_retire(retire, log, new))
    others = {key: each for key, each in log.live.items() if key not in new and key not in retired}
    known = left_out(log.live).keys() - new.keys()
    _check_unused(retired, [*listed, *(each for key, each in others.items() if key not in known)])
    broken = {key: why for key, why in sorted(left_out({**others, **new}).items()) if key in known}
    check_references([*listed, *(each for key, each in others.items() if key not in broken)])
    changes = [_change(log.live.get(each.key), each) for each in listed]
    changes += [retirement(log.live[key]) for key in retired]
    edited = {each.key for each in changes if each.action in ("added", "changed")}
    waits = _waiting(edited, log.live, others | new)
    changes = [msgspec.structs.replace(each, waits=each.key in waits) for each in changes]
    return changes + [
        DefinitionChange(key, "left out", others[key].version, reason=why) for key, why in broken.items()
    ]


def _waiting(
    edited: Collection[str], former: Mapping[str, Definition], later: Mapping[str, Definition]
) -> Collection[str]:
    """Return the segments that need history when some are edited; none at the first publication."""
    known = in_use(former)
    return needing_history(edited, known, in_use(later)) if edited and known else ()


def needing_history(
    edited: Iterable[str], known: Mapping[str, Definition], used: Mapping[str, Definition]
) -> Collection[str]:
    """Return the segments of ``used`` that need history when its ``edited`` ones replace those ``known``."""
    held: dict[int, Feature] = {}
    for feature in (feature for each in known.values() for feature in features_of(each.when)):
        key = feature.id
        held[key] = feature.or_wider(held.get(key, feature))
    return waiting(SegmentSet(with_references(_users_of(edited, used), used)), held)


def _users_of(keys: Iterable[str], definitions: Mapping[str, Definition]) -> set[str]:
    """Return some segments and all that refer to them, directly or not."""
    users = dependants(definitions.values())
    found, left = set(keys), list(keys)
    while left:
        more = set(users.get(left.pop(), ())) - found
        found |= more
        left += more
    return found & definitions.keys()


def in_use(definitions: Mapping[str, Definition]) -> dict[str, Definition]:
    """Return the definitions that workers use: those without a broken reference."""
    broken = left_out(definitions)
    return {key: each for key, each in definitions.items() if key not in broken}


def _unlisted(log: DefinitionLog, new: Collection[str]) -> set[str]:
    return {key for key in log.live if key not in new and not key.startswith(PREFIX)}


def _to_retire(retire: Collection[str], log: DefinitionLog, new: Collection[str]) -> set[str]:
    for key in retire:
        if key in new:
            raise UserError(f"cannot retire {key!r}: it is among the segments to publish")
    _check_published(retire, log, "retire")
    return set(retire)


def _check_published(keys: Iterable[str], log: DefinitionLog, verb: str) -> None:
    for key in keys:
        if key.startswith(PREFIX):
            own = key.removeprefix(PREFIX)
            raise UserError(f"cannot {verb} {key!r}: it is an audience; use `segops audiences {verb} {own}`")
        if key in log.retired:
            raise UserError(f"cannot {verb} {key!r}: it was retired at version {log.retired[key]}")
        if key not in log.live:
            raise UserError(f"cannot {verb} {key!r}: no such segment is published")


def _check_unused(retired: Collection[str], remaining: Iterable[Definition]) -> None:
    users = dependants(remaining)
    for key in retired:
        if key in users:
            raise UserError(f"cannot retire {key!r}: used by {', '.join(users[key])} (in_segment)")


def dependants(definitions: Iterable[Definition]) -> dict[str, list[str]]:
    """Map each segment that others refer to, to the keys of those, in order.

    >>> from segops.core.rules.model import InSegment, KnownFor
    >>> dependants([Definition("old", "Old", KnownFor(1)), Definition("b", "B", InSegment("old"))])
    {'old': ['b']}
    """
    found: dict[str, set[str]] = {}
    for definition in definitions:
        for key in references(definition.when):
            found.setdefault(key, set()).add(definition.key)
    return {key: sorted(users) for key, users in found.items()}


def _reused_key(definition: Definition, version: int) -> Issue:
    reason = f"{definition.key!r} was retired at version {version}; a retired key cannot be reused"
    return Issue(definition.source or definition.key, "key", reason)


def _change(former: Definition | None, definition: Definition) -> DefinitionChange:
    if former is None:
        return DefinitionChange(definition.key, "added", 1, _record(definition, 1))
    version = version_after(former, definition)
    if version != former.version:
        if version > MAX_VERSION:
            reason = f"{definition.key!r} has reached the highest version: retire it and use another key"
            raise DefinitionError([Issue(definition.source or definition.key, "version", reason)])
        record = _record(definition, version, paused=former.paused)
        return DefinitionChange(definition.key, "changed", version, record)
    if _about(former) != _about(definition):
        record = _record(definition, version, paused=former.paused)
        return DefinitionChange(definition.key, "described", version, record)
    return DefinitionChange(definition.key, "unchanged", version)


def _about(definition: Definition) -> object:
    """Return what a definition says beside its meaning."""
    found = definition.name, definition.description, definition.alerts, definition.expose
    return *found, definition.models  # another version of a model may have the same parameters


def _record(definition: Definition, version: int, *, paused: bool = False) -> bytes:
    return definition_to_record(msgspec.structs.replace(definition, version=version, paused=paused))


def plan_pause(log: DefinitionLog, keys: Iterable[str], *, paused: bool) -> list[DefinitionChange]:
    """Return what pausing, or resuming, the segments would change, without publishing.

    Raises UserError for a key that is not published, and for an indicator.
    """
    listed, verb = list(dict.fromkeys(keys)), "pause" if paused else "resume"
    _check_published(listed, log, verb)
    for key in listed:
        if log.live[key].is_indicator:
            raise UserError(f"cannot {verb} {key!r}: an indicator has no memberships; retire it instead")
    return [_pause(log.live[key], paused=paused) for key in listed]


def _pause(definition: Definition, *, paused: bool) -> DefinitionChange:
    if definition.paused is paused:
        return DefinitionChange(definition.key, "unchanged", definition.version)
    record = _record(definition, definition.version, paused=paused)
    return DefinitionChange(definition.key, "paused" if paused else "resumed", definition.version, record)


def retirement(former: Definition) -> DefinitionChange:
    """Return the change that retires a published definition, to which no other one refers."""
    record = msgspec.json.encode({"key": former.key, "version": former.version, "retired": True})
    return DefinitionChange(former.key, "retired", former.version, record)


async def publish(
    settings: Settings,
    definitions: Iterable[Definition],
    *,
    prune: bool = False,
    retire: Collection[str] = (),
    dry_run: bool = False,
) -> list[DefinitionChange]:
    """Publish ``definitions`` atomically and return the changes.

    Raises, without writing anything, DefinitionError for a retired key or a broken reference, and UserError
    when no broker is reachable or another publisher commits first.
    """
    if dry_run:
        return plan(await read(settings), definitions, prune=prune, retire=retire)
    decide = partial(plan, definitions=definitions, prune=prune, retire=retire)
    return await commit(settings, lambda log: (decide(log), None))


async def pause(settings: Settings, keys: Collection[str], *, paused: bool) -> list[DefinitionChange]:
    """Freeze the memberships of segments, or let them follow the rules again; return the changes.

    Raises UserError like ``publish``, and for a key that is not published.
    """
    return await commit(settings, lambda log: (plan_pause(log, keys, paused=paused), None))


async def retire(settings: Settings, keys: Collection[str]) -> list[DefinitionChange]:
    """Retire segments; return the changes.

    Raises UserError like ``publish``, and for a key that is not published or that another segment refers to.
    """
    return await commit(settings, lambda log: (plan(log, (), prune=False, retire=keys), None))


async def commit(
    settings: Settings,
    decide: Callable[[DefinitionLog], _Decided],
    *,
    figures: PlanFigures | None = None,
    beside: Beside = lambda _: {},
) -> list[DefinitionChange]:
    """Publish, in one transaction, what ``decide`` derives from the current definitions.

    An open plan ends with it: applied, if it was of exactly these changes, else superseded. The topic of
    plans says so, in the same transaction; ``figures``: those of the open plan that ``decide`` returns.
    Raises UserError when no broker is reachable or another publisher commits first.
    """
    await require_topic(settings)
    async with publisher(settings.kafka, settings.topics.segments) as publish_all:
        log = await read(settings)
        changes, planned = decide(log)
        records, plans = await records_of(settings, log, changes, planned=planned, figures=figures)
        await publish_all(records, {**plans, **beside(log)})
    return changes


async def records_of(
    settings: Settings,
    log: DefinitionLog,
    changes: Iterable[DefinitionChange],
    *,
    planned: PlannedEdit | None = None,
    figures: PlanFigures | None = None,
) -> tuple[Records, Mapping[str, Records]]:
    """Return what publishing changes writes to the segments topic, and to the topic of plans beside it.

    ``planned``: the plan that takes the place of the latest one; without it, an open plan ends. To be called
    by the publisher whose transaction writes it. Raises UserError for definitions that are too large.
    """
    records = [(change.key.encode(), change.record) for change in changes if change.record is not None]
    require_room(log, dict(records))
    planned = planned or _ended(log.planned, dict(records))
    plans = await plan_records(settings, log.planned, planned, figures)
    before, after = column_records(log, records, planned or log.planned, wall_ms())
    if planned is not None and planned is not log.planned:
        records.append((PLAN_KEY, encode_planned(planned)))
    return [*before, *records, *after], {settings.topics.plans: plans}


def _ended(planned: PlannedEdit | None, published: Mapping[bytes, bytes]) -> PlannedEdit | None:
    """Return what is left of a plan after a publication; None if it goes on, or had ended before."""
    if planned is None or planned.state != "open" or not published:
        return None
    return planned.ended("applied" if planned.records == published else "superseded")
