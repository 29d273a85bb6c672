"""The live lift of audiences, from the published membership changes, the audit and the sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from segops.analytics.reader import reading_sizes
from segops.config import Settings
from segops.core.audiences.arms import ARMS, Arms, Counting, Span, active_spans, reasons_of
from segops.core.audiences.compiling import goal_window_ms
from segops.core.audiences.lift import Arm, Lift, lift_of
from segops.core.audiences.model import AudienceRecord, State
from segops.core.errors import UserError
from segops.core.rules.parsing import Context
from segops.kafka.topics import partition_counts
from segops.operations.audiences.store import Known, read_known
from segops.operations.audiences.views import read_audit
from segops.operations.history import decoded_change
from segops.operations.logs import PastLog
from segops.wall_clock import wall_ms


class ArmView(msgspec.Struct, frozen=True):
    """An arm, see ``Arm``. ``entries``: left out, open and matured; ``rate``: None without matured ones."""

    arm: str
    entries: int
    left_out: int
    open: int
    matured: int
    converted: int
    rate: float | None


class LiftView(msgspec.Struct, frozen=True):
    """The lift of an audience. Times are milliseconds.

    ``since_ms``: entries from then on count; None if the audience was never approved since its goal and
    hold-out are there. ``as_of_ms``: changes until then are known; None while a worker reads the history that
    the goal needs, or has not published sizes. ``void``: why nothing is delivered at present although the
    audience was approved.
    """

    key: str
    state: State
    void: tuple[str, ...]
    goal: Any
    window_ms: int
    since_ms: int | None
    as_of_ms: int | None
    arms: tuple[ArmView, ...]
    lift: Lift


async def lifts(settings: Settings, key: str | None = None) -> list[LiftView]:
    """Return the lift of an audience, or of all that have a goal and a hold-out, by key.

    Raises UserError for an unknown audience, for one without a goal or a hold-out, and if a topic is missing.
    """
    known = await read_known(settings, now_ms=wall_ms())
    records = [each for _, each in sorted(known.records.items()) if _is_measured(each)]
    if key is not None:
        records = [known.record(key)]
        _require_measured(records[0])
    if not records:
        return []
    clocks = await _clocks(settings, known, records)
    arms = {each.audience.key: Arms(each.audience) for each in records}
    complete_ms = await _collect(settings, [*arms.values()])
    spans = await _spans(settings, arms)
    return [
        _view(known, each, arms[name], _Known(clocks[name], complete_ms, spans[name]))
        for each in records
        if (name := each.audience.key)
    ]


def _is_measured(record: AudienceRecord) -> bool:
    return record.audience.goal is not None and record.audience.hold_out is not None


def _require_measured(record: AudienceRecord) -> None:
    audience = record.audience
    for name, value in (("goal", audience.goal), ("hold_out", audience.hold_out)):
        if value is None:
            raise UserError(f"the audience {audience.key} has no {name}: its lift cannot be measured")


async def _clocks(
    settings: Settings, known: Known, records: Sequence[AudienceRecord]
) -> Mapping[str, int | None]:
    """Return the instant until which the changes of each audience are published; None: of none.

    That is the least clock of the partitions, once what measures the audience is in force in all of them.
    """
    live = known.log.live
    async with reading_sizes(settings) as reader:
        as_of_ms = reader.folded.as_of.least_ms
        found = {}
        for record in records:
            keys = [each for each in record.audience.measuring_keys if each in live]
            rollout = reader.folded.rollout({each: live[each].version for each in keys})
            found[record.audience.key] = as_of_ms if rollout.complete else None
    return found


async def _collect(settings: Settings, arms: Sequence[Arms]) -> int:
    """Add all known changes to ``arms``; return from when on they are complete."""
    topic = settings.topics.membership_changes
    counts = await partition_counts(settings.kafka, [topic])
    log = await PastLog.open(settings, topic, range(counts[topic]))
    async with aclosing(log.read()) as records:
        async for record in records:
            if (change := decoded_change(record.value)) is not None:
                for each in arms:
                    each.take(change)
    return log.complete_since_ms


async def _spans(settings: Settings, keys: Mapping[str, Arms]) -> Mapping[str, Sequence[Span]]:
    findings = (await read_audit(settings)).findings
    valid = [each.entry for each in findings if each.signature != "forged"]
    return {key: active_spans(each for each in valid if each.audience == key) for key in keys}


class _Known(msgspec.Struct, frozen=True):
    """Up to when, from when on, and in which spans entries of an audience can be counted."""

    clock_ms: int | None
    complete_ms: int
    active: Sequence[Span]


def _view(known: Known, record: AudienceRecord, arms: Arms, at: _Known) -> LiftView:
    audience, status = record.audience, known.status(record)
    window_ms = goal_window_ms(audience.goal, "goal", Context(f"audience {audience.key}")) or 0
    since_ms = None
    found = dict.fromkeys(ARMS, Arm())
    if record.measured_ms is not None and record.activated_ms is not None:
        since_ms = max(record.activated_ms, record.measured_ms, at.complete_ms)
        initial = audience.existing == "send" and record.measured_ms == record.activated_ms
        counting = Counting(
            window_ms, since_ms, at.complete_ms, at.active, reasons_of(audience), initial=initial
        )
        found = arms.count(counting, at.clock_ms)
    return LiftView(
        audience.key,
        status.state,
        tuple(status.void),
        audience.goal,
        window_ms,
        since_ms,
        at.clock_ms,
        tuple(_arm(name, found[name]) for name in ARMS),
        lift_of(found["sent"], found["held_out"]),
    )


def _arm(name: str, arm: Arm) -> ArmView:
    return ArmView(name, arm.entries, arm.left_out, arm.open, arm.matured, arm.converted, arm.rate)
