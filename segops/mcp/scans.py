"""Tools that visit every profile of the running system: forecasts, and estimates of drafts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec
from pydantic import Field

from segops.config import Settings
from segops.kafka.definitions import read
from segops.mcp.drafts import DraftForm, draft_of
from segops.mcp.segments import published
from segops.mcp.tool import Answer, Form, Key, Tool
from segops.operations.scans import patient_scan
from segops.schemas.scan_views import (
    FlowView,
    ForecastView,
    SegmentForecastView,
    view_estimate,
    view_forecast,
)
from segops.schemas.scans import ForecastRequest, Question, Scanned, estimate_request


class _Forecast(Form):
    keys: list[Key] = Field(min_length=1, max_length=10, description="The segments.")
    detail: Literal["totals", "hours", "days"] = Field(
        default="totals", description="Totals of 24 hours and 30 days; or each of these hours, or days."
    )


class _Estimate(DraftForm):
    sample: float = Field(default=1.0, gt=0, le=1, description="The share of the profiles that is visited.")
    funnel: bool = Field(default=True, description="Whether to count how many profiles pass each node.")


async def _scan(settings: Settings, question: Question) -> Scanned:
    return await patient_scan(settings, question, wait_s=settings.mcp.timeout_ms / 1000)


async def _forecast(settings: Settings, form: _Forecast) -> Answer:
    log = await read(settings, on_bad=lambda _: None)
    keys = tuple(dict.fromkeys(form.keys))
    for key in keys:
        published(log, key)
    view = view_forecast(await _scan(settings, ForecastRequest(keys)))
    return {
        **_head(view),
        "cut": view.cut,
        "hours_until_ms": view.hours_until_ms,
        "days_until_ms": view.days_until_ms,
        "segments": [_shown(each, form.detail) for each in view.segments],
    }


def _head(view: ForecastView) -> dict[str, Any]:
    return {name: getattr(view, name) for name in ("from_ms", "to_ms", "profiles", "unreadable")}


def _shown(each: SegmentForecastView, detail: str) -> dict[str, Any]:
    head = {"key": each.segment_key, "members": each.members}
    if detail != "totals":
        return {**head, detail: each.hours if detail == "hours" else each.days}
    return {**head, "next_24_hours": _sum(each.hours), "next_30_days": _sum(each.days)}


def _sum(flows: Iterable[FlowView]) -> dict[str, int]:
    found = list(flows)
    return {"entered": sum(each.entered for each in found), "left": sum(each.left for each in found)}


async def _estimate(settings: Settings, form: _Estimate) -> Answer:
    log = await read(settings, on_bad=lambda _: None)
    draft = draft_of(form, log)
    question = estimate_request(draft.key, [draft], share=form.sample, funnel=form.funnel)
    found: dict[str, Any] = msgspec.to_builtins(view_estimate(await _scan(settings, question)))
    return {"key": draft.key, **{name: value for name, value in found.items() if name != "samples"}}


TOOLS: Final = (
    Tool(
        "forecast_segments",
        "Forecast segments",
        "Count how many members leave segments, and how many others enter, by time alone. Exact if no event "
        "arrives; visits every profile.",
        _Forecast,
        _forecast,
        scans=True,
    ),
    Tool(
        "estimate_segment",
        "Estimate a draft",
        "Count how many profiles a draft would hold, without publishing it: exactly, or from a sample with a "
        "95 % confidence interval. Visits the profiles.",
        _Estimate,
        _estimate,
        scans=True,
    ),
)
