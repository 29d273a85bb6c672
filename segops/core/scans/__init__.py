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
from segops.core.scans.forecast import (
    DAY_MS,
    HOUR_MS,
    MAX_INSTANTS,
    Flow,
    Forecast,
    Forecaster,
    SegmentForecast,
)
from segops.core.scans.overlap import MAX_OVERLAP, Overlap, OverlapCounter
from segops.core.scans.sampling import Interval, in_sample, interval
from segops.core.scans.visitor import Result, Visitor

__all__ = [
    "DAY_MS",
    "HOUR_MS",
    "MAX_INSTANTS",
    "MAX_OVERLAP",
    "MAX_SAMPLES",
    "Draft",
    "Estimate",
    "Estimator",
    "Flow",
    "Forecast",
    "Forecaster",
    "Interval",
    "NodeCount",
    "Overlap",
    "OverlapCounter",
    "Result",
    "SampledProfile",
    "SegmentForecast",
    "Visitor",
    "draft_of",
    "in_sample",
    "interval",
]
