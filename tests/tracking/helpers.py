"""Tracking plans for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import yaml

from segops.core.rules.parsing import Context, Reader
from segops.tracking.compiler import CompiledPlan, Violation, compile_plan
from segops.tracking.model import TrackingPlan
from segops.tracking.parsing import load, read_plan

ORDER = """
type: object
required: [revenue, currency]
properties:
  revenue: {type: number, minimum: 0}
  currency: {enum: [EUR, GBP]}
  coupon: {type: string, pattern: "^[A-Z]+$"}
  items: {type: array, items: {type: object, properties: {sku: {type: string}}}}
"""


def plan_of(text: str) -> TrackingPlan:
    """Return the plan that the YAML of one plan without its source describes."""
    return read_plan(Reader({"source": "website", **yaml.safe_load(text)}, "plans[0]", Context("plan.yaml")))


def compiled_of(text: str) -> CompiledPlan:
    return compile_plan(plan_of(text))


def order_plan(**fields: str) -> CompiledPlan:
    """Return a plan of ``Order Completed`` with these fields."""
    schema = yaml.safe_load(ORDER)
    return compiled_of(yaml.safe_dump({**fields, "events": {"Order Completed": {"schema": schema}}}))


def violations_of(plan: CompiledPlan, properties: dict[str, Any]) -> list[Violation]:
    verdict = plan.check("track", "Order Completed", {"properties": properties})
    return [] if verdict is None else verdict.violations


def loaded(tmp_path: Path, text: str) -> list[TrackingPlan]:
    path = tmp_path / "plans.yaml"
    path.write_text(text, "utf-8")
    return load(path)


class Stored(msgspec.Struct):
    """A record of a topic."""

    key: bytes
    value: bytes | None
    offset: int = 0
