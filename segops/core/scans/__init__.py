"""Visitors of a scan: each sees every profile of a partition once, and yields a result that can be merged."""

from segops.core.scans.estimate import (
    MAX_SAMPLES,
    Draft,
    Estimate,
    Estimator,
    NodeCount,
    SampledProfile,
    draft_of,
)
from segops.core.scans.flapping import (
    FOLLOWED_SHARE,
    MAX_FOLLOWED,
    MAX_WATCHES,
    Flapping,
    FollowedSample,
    FollowedSamples,
    SegmentFlapping,
    followed_share,
)
from segops.core.scans.forecast import (
    DAY_MS,
    HOUR_MS,
    MAX_INSTANTS,
    Flow,
    Forecast,
    Forecaster,
    SegmentForecast,
)
from segops.core.scans.nearness import NearProfile
from segops.core.scans.overlap import MAX_OVERLAP, Overlap, OverlapCounter
from segops.core.scans.plan import (
    ENTERING,
    LEAVING,
    SHARE_FROM,
    STAYING,
    Edit,
    Limits,
    Plan,
    PlannedProfile,
    Planner,
    SegmentPlan,
    beyond,
    edit_of,
)
from segops.core.scans.references import with_references
from segops.core.scans.sampling import HeldIds, Interval, in_sample, interval
from segops.core.scans.values import LeafValues
from segops.core.scans.visitor import Result, Visitor

__all__ = [
    "DAY_MS",
    "ENTERING",
    "FOLLOWED_SHARE",
    "HOUR_MS",
    "LEAVING",
    "MAX_FOLLOWED",
    "MAX_INSTANTS",
    "MAX_OVERLAP",
    "MAX_SAMPLES",
    "MAX_WATCHES",
    "SHARE_FROM",
    "STAYING",
    "Draft",
    "Edit",
    "Estimate",
    "Estimator",
    "Flapping",
    "Flow",
    "FollowedSample",
    "FollowedSamples",
    "Forecast",
    "Forecaster",
    "HeldIds",
    "Interval",
    "LeafValues",
    "Limits",
    "NearProfile",
    "NodeCount",
    "Overlap",
    "OverlapCounter",
    "Plan",
    "PlannedProfile",
    "Planner",
    "Result",
    "SampledProfile",
    "SegmentFlapping",
    "SegmentForecast",
    "SegmentPlan",
    "Visitor",
    "beyond",
    "draft_of",
    "edit_of",
    "followed_share",
    "in_sample",
    "interval",
    "with_references",
]
