"""The records of the topic ``segops.plans``: the latest plans, their figures, and how they ended.

The topic is compacted and has one partition. A plan is keyed by its id. The topic names no profile, because
an erasure would not reach it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from segops.core.scans import Plan, SegmentPlan
from segops.schemas.planned import PlannedEdit, State
from segops.schemas.scan_views import Edited
from segops.schemas.scans import Scanned

#: The most plans that the topic keeps; the record of an older one is deleted when a plan is made.
MAX_PLANS: Final = 100
#: The most segments of a plan in its record: those that it moves most. A record is below 250,000 bytes.
MAX_SEGMENTS: Final = 500

PublishedState = State | Literal["expired"]


class PlannedSegment(msgspec.Struct, frozen=True):
    """What a plan says of one segment; see ``SegmentPlanView``."""

    segment_key: str
    action: str
    version: int
    members: int
    then: int
    entering: int
    leaving: int
    staying: int
    entering_24h: int
    leaving_24h: int
    failed: int
    complete_since_ms: int | None


class PlanFigures(msgspec.Struct, frozen=True):
    """The figures of a plan, each profile as of its turn between two clocks.

    ``segments``: at most ``MAX_SEGMENTS``, those that it moves most; ``left_out``: how many others there are.
    See ``PlanView`` for the other fields.
    """

    from_ms: int
    to_ms: int
    profiles: int
    unreadable: int
    cut: int
    segments: list[PlannedSegment]
    left_out: int


class PublishedPlan(msgspec.Struct, frozen=True):
    """A plan. ``base``: a hash of the definitions that it edits. ``history``: whether it needs history.

    ``state``: ``open``, which is over at ``expires_ms``, or how it ended, at ``ended_ms``: ``superseded`` by
    another publication, or by the plan ``superseded_by``. The next publication or plan records that a plan
    has expired. ``figures``: None until they are known.
    """

    id: str
    state: PublishedState
    made_ms: int
    expires_ms: int
    base: str
    history: bool
    ended_ms: int | None = None
    superseded_by: str | None = None
    figures: PlanFigures | None = None

    def as_of(self, now_ms: int) -> PublishedPlan:
        """Return the plan as it is at an instant: an open one is ``expired`` from the end of its time on."""
        if self.state != "open" or now_ms < self.expires_ms:
            return self
        return msgspec.structs.replace(self, state="expired", ended_ms=self.expires_ms)


def figures_of(scanned: Scanned, edited: Mapping[str, Edited]) -> PlanFigures:
    """Return the figures of a plan; ``edited``: what happens to the definition of each segment."""
    plan: Plan = scanned.result
    ordered = sorted(plan.segments.items(), key=lambda item: (-item[1].moved, item[0]))
    kept = [_segment(key, each, edited[key]) for key, each in ordered[:MAX_SEGMENTS]]
    one = scanned
    return PlanFigures(
        one.from_ms, one.to_ms, one.profiles, one.unreadable, plan.cut, kept, len(ordered) - len(kept)
    )


def _segment(key: str, plan: SegmentPlan, edited: Edited) -> PlannedSegment:
    return PlannedSegment(
        key,
        edited.action,
        edited.version,
        plan.members,
        plan.then,
        plan.entering,
        plan.leaving,
        plan.members - plan.leaving,
        plan.entering_later,
        plan.leaving_later,
        plan.failed,
        plan.complete_since_ms or None,
    )


def updated_plans(
    known: Mapping[str, PublishedPlan],
    former: PlannedEdit | None,
    planned: PlannedEdit | None,
    figures: PlanFigures | None,
    *,
    now_ms: int,
) -> dict[str, PublishedPlan | None]:
    """Return the records to write when the latest plan changes from ``former`` to ``planned``.

    None deletes a record. ``known``: the records so far; ``figures``: those of ``planned``.
    """
    found: dict[str, PublishedPlan] = {}
    if planned is None:
        return {}
    replaced = former is not None and former.id != planned.id
    if former is not None and former.state == "open" and (replaced or planned.state != "open"):
        by = planned.id if replaced else None
        found[former.id] = _ended(_record_of(known, former), planned, by, now_ms)
    if planned.state == "open":
        plan = _record_of(known, planned)
        found[plan.id] = msgspec.structs.replace(plan, figures=figures or plan.figures)
    oldest_last = sorted({**known, **found}.values(), key=_age, reverse=True)
    return {**found, **dict.fromkeys(each.id for each in oldest_last[MAX_PLANS:])}


def _age(plan: PublishedPlan) -> tuple[bool, int, str]:
    """Return by what plans are ordered; an open one is the latest, whatever the clock of its machine says."""
    return plan.state == "open", plan.made_ms, plan.id


def _record_of(known: Mapping[str, PublishedPlan], one: PlannedEdit) -> PublishedPlan:
    """Return the record of a plan, a new one if it has none, as plans of earlier versions."""
    made = PublishedPlan(one.id, "open", one.made_ms, one.expires_ms, one.base, one.history)
    return known.get(one.id, made)


def _ended(plan: PublishedPlan, planned: PlannedEdit, by: str | None, now_ms: int) -> PublishedPlan:
    """Return a plan as it ended: by time, replaced by another one, or in the state of ``planned``."""
    if (expired := plan.as_of(now_ms)).state == "expired":
        return expired
    state = planned.state if by is None else "superseded"
    return msgspec.structs.replace(plan, state=state, ended_ms=now_ms, superseded_by=by)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(PublishedPlan)


def encode_plan(plan: PublishedPlan | None) -> bytes | None:
    """Encode a record; None deletes it."""
    return None if plan is None else _encoder.encode(plan)


def decode_plan(value: bytes) -> PublishedPlan:
    """Decode a record. Raises msgspec.MsgspecError for an invalid one."""
    return _decoder.decode(value)
