"""The evaluator of the fault tests passes over most instants, and equals the oracle, which tries all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given

from segops.core.segments import SegmentSet
from tests.faults.reference import ReferenceEvaluator

from .oracle import Oracle
from .strategies import streams
from .test_equivalence import segment_sets


@given(segment_sets(), streams())
def test_instants_of_other_rules_do_not_matter(segments: SegmentSet, steps: list[tuple[str, Any]]) -> None:
    oracle, quick = Oracle(segments.definitions), ReferenceEvaluator(segments.definitions)
    clock_ms = -(10**15)
    for kind, arg in steps:
        clock_ms = max(clock_ms, arg if kind == "clock" else arg.time_ms)
        if kind == "clock":
            expected, found = oracle.on_clock(clock_ms), quick.on_clock(clock_ms)
        else:
            expected, found = oracle.on_event(arg, clock_ms), quick.on_event(arg, clock_ms)
        assert found == [replace(each, flips_at=None) for each in expected]
        assert quick.members == oracle.members
