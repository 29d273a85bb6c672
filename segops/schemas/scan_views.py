"""Results of scans as JSON: the same from the commands and from the HTTP server."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

import msgspec

from segops.core.scans import (
    DAY_MS,
    HOUR_MS,
    Estimate,
    Flapping,
    Flow,
    Forecast,
    Interval,
    NodeCount,
    Overlap,
    Plan,
    SegmentFlapping,
    SegmentPlan,
    interval,
)
from segops.core.views.explain import SegmentExplanation
from segops.schemas.planned import PlannedEdit
from segops.schemas.scans import Scanned


class FlowView(msgspec.Struct, frozen=True):
    """The changes of a segment in the hour or day (UTC) that begins at ``from_ms``."""

    from_ms: int
    entered: int
    left: int


class SegmentForecastView(msgspec.Struct, frozen=True):
    """One segment: its members now, and its changes in every hour and day of the forecast."""

    segment_key: str
    members: int
    hours: list[FlowView]
    days: list[FlowView]


class ForecastView(msgspec.Struct, frozen=True):
    """A forecast. ``cut``: the profiles that change too often for all their changes to be counted."""

    from_ms: int
    to_ms: int
    profiles: int
    unreadable: int
    cut: int
    hours_until_ms: int
    days_until_ms: int
    segments: list[SegmentForecastView]


class CombinationView(msgspec.Struct, frozen=True):
    """The profiles in a combination of segments."""

    segments: list[str]
    members: int


class OverlapView(msgspec.Struct, frozen=True):
    """An overlap.

    ``sizes``: the members of each segment; ``pairs``: of each two of them; ``in_all``, ``in_any``: of all,
    and of at least one; ``exactly``: the profiles in these segments and in none of the others.
    """

    from_ms: int
    to_ms: int
    profiles: int
    unreadable: int
    sizes: dict[str, int]
    pairs: list[CombinationView]
    in_all: int
    in_any: int
    exactly: list[CombinationView]


class SampleView(msgspec.Struct, frozen=True):
    """A profile for which the draft holds, and why."""

    profile_id: str
    explanation: SegmentExplanation


class NearView(msgspec.Struct, frozen=True):
    """A profile with ``flips`` leaves between it and the other verdict, and why it has this one."""

    flips: int
    profile_id: str
    explanation: SegmentExplanation


class EstimateView(msgspec.Struct, frozen=True):
    """An estimate.

    ``sample``: the share of all profiles that belongs to the sample; ``evaluated``, ``holds``, ``failed`` and
    the counts of the ``funnel`` are of the sample. ``members`` and ``profiles`` are numbers of all profiles,
    with the bounds of the 95 % confidence interval. ``just_in``, ``just_out``: profiles next to the other
    verdict; ``values``: by the position of a leaf that compares a number, the values of some profiles.
    """

    from_ms: int
    to_ms: int
    sample: float
    evaluated: int
    holds: int
    failed: int
    unreadable: int
    members: Interval
    profiles: Interval
    incomplete: list[str]
    funnel: list[NodeCount]
    samples: list[SampleView]
    just_in: list[NearView]
    just_out: list[NearView]
    values: dict[int, list[float]]


def view_forecast(scanned: Scanned) -> ForecastView:
    """Return the view of a forecast."""
    found: Forecast = scanned.result
    hours = range(found.hours_from, found.hours_until, HOUR_MS)
    days = range(found.days_from, found.days_until, DAY_MS)
    return ForecastView(
        scanned.from_ms,
        scanned.to_ms,
        scanned.profiles,
        scanned.unreadable,
        found.cut,
        found.hours_until,
        found.days_until,
        [
            SegmentForecastView(key, one.members, _dense(one.hours, hours), _dense(one.days, days))
            for key, one in sorted(found.segments.items())
        ],
    )


def _dense(flows: Mapping[int, Flow], instants: range) -> list[FlowView]:
    found = ((at, flows.get(at, _NONE)) for at in instants)
    return [FlowView(at, flow.entered, flow.left) for at, flow in found]


_NONE = Flow()


def view_overlap(scanned: Scanned) -> OverlapView:
    """Return the view of an overlap."""
    found: Overlap = scanned.result
    return OverlapView(
        scanned.from_ms,
        scanned.to_ms,
        scanned.profiles,
        scanned.unreadable,
        {key: found.size(key) for key in found.segments},
        [CombinationView([*pair], found.in_all(pair)) for pair in combinations(found.segments, 2)],
        found.in_all(found.segments),
        found.in_any(),
        [
            CombinationView([key for bit, key in enumerate(found.segments) if mask >> bit & 1], number)
            for mask, number in found.counts.items()
        ],
    )


def view_estimate(scanned: Scanned) -> EstimateView:
    """Return the view of an estimate."""
    found: Estimate = scanned.result
    return EstimateView(
        scanned.from_ms,
        scanned.to_ms,
        found.share,
        found.evaluated,
        found.holds,
        found.failed,
        scanned.unreadable,
        interval(found.holds, found.share),
        interval(found.evaluated, found.share),
        found.incomplete,
        found.funnel,
        [SampleView(each.profile_id, each.explanation) for each in found.samples],
        [NearView(each.flips, each.profile_id, each.explanation) for each in found.just_in],
        [NearView(each.flips, each.profile_id, each.explanation) for each in found.just_out],
        {each.position: sorted(value for _, value in each.values) for each in found.values},
    )


class SegmentPlanView(msgspec.Struct, frozen=True):
    """One segment that an edit moves.

    ``action``: what happens to its definition, or ``follows`` if only a segment that it refers to changes;
    ``version``: the one afterwards. ``members``: now; ``then``: afterwards. The changes of the 24 hours after
    that are those by time alone. ``state_bytes``: what a busy profile stores for it (0 once retired).
    ``beyond``: how much more than the limits it moves. ``samples``: ids of ``entering``, ``leaving``
    and ``staying`` profiles. See ``SegmentPlan`` for ``failed``, ``lacking`` and
    ``complete_since_ms`` (None: events are complete).
    """

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
    lacking: list[str]
    complete_since_ms: int | None
    state_bytes: int
    beyond: str | None
    samples: dict[str, list[str]]


class PlanView(msgspec.Struct, frozen=True):
    """A plan, and the id by which it can be applied until ``expires_ms``; both None if it changes nothing.

    ``replaced``: the id of the plan that cannot be applied any more because of this one.
    ``cut``: the profiles that change too often by time for all their changes to be counted.
    """

    id: str | None
    expires_ms: int | None
    replaced: str | None
    from_ms: int
    to_ms: int
    profiles: int
    unreadable: int
    cut: int
    segments: list[SegmentPlanView]


#: The action of a segment that moves because one that it refers to changes.
FOLLOWS = "follows"


class Edited(NamedTuple):
    """What happens to the definition of one segment, its version afterwards, and the bytes it costs."""

    action: str
    version: int
    state_bytes: int = 0


def view_plan(
    planned: PlannedEdit | None,
    scanned: Scanned,
    edited: Mapping[str, Edited],
    moved: Mapping[str, str],
    *,
    replaced: str | None = None,
) -> PlanView:
    """Return the view of a plan; ``moved``: the segments beyond the limits, and by how much."""
    found: Plan = scanned.result
    return PlanView(
        None if planned is None else planned.id,
        None if planned is None else planned.expires_ms,
        replaced,
        scanned.from_ms,
        scanned.to_ms,
        scanned.profiles,
        scanned.unreadable,
        found.cut,
        [_view_segment(key, each, edited[key], moved.get(key)) for key, each in found.segments.items()],
    )


def _view_segment(key: str, plan: SegmentPlan, edited: Edited, beyond: str | None) -> SegmentPlanView:
    return SegmentPlanView(
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
        plan.lacking,
        plan.complete_since_ms or None,
        edited.state_bytes,
        beyond,
        {kind: [each.profile_id for each in found] for kind, found in plan.samples.items()},
    )


class FlappingView(msgspec.Struct, frozen=True):
    """How customers enter and leave one segment again.

    ``members``: the profiles of the sample that were members in at least one repeat; ``changes``: their
    entries and exits between repeats; ``flapping``: those with at least two of these; ``most``: the most of
    one profile. ``estimate``: how many of all profiles flap, with the bounds of the 95 % confidence interval;
    ``share``: ``flapping`` per ``members``, None without members.
    """

    segment_key: str
    members: int
    changes: int
    flapping: int
    most: int
    estimate: Interval
    share: float | None


class FollowedView(msgspec.Struct, frozen=True):
    """The sample that is followed: its ``share`` of all profiles, and how many these are.

    ``repeats``: in how many repeats each partition has judged them, at least, of which the first was at the
    clock ``from_ms``, at the latest.
    """

    share: float
    profiles: int
    repeats: int
    from_ms: int
    segments: list[FlappingView]


class RepeatView(msgspec.Struct, frozen=True):
    """One repeat of a plan; ``followed``: None in the first, before profiles are followed."""

    repeat: int
    plan: PlanView
    followed: FollowedView | None


def view_flapping(flapping: Flapping) -> FollowedView:
    """Return the view of the flapping."""
    share = flapping.share
    found = [_view_flapping(key, each, share) for key, each in flapping.segments.items()]
    return FollowedView(share, flapping.profiles, flapping.repeats, flapping.from_ms, found)


def _view_flapping(key: str, found: SegmentFlapping, share: float) -> FlappingView:
    rate = found.flapping / found.members if found.members else None
    estimate = interval(found.flapping, share)
    return FlappingView(key, found.members, found.changes, found.flapping, found.most, estimate, rate)
