"""Whole partitions by the kernel and by Python are equal: a share of what ``make fuzz-kernel`` draws."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segops.core.events import Event
from segops.core.segments import SegmentSet
from segops.kernel import found
from segops.testing import definition
from tests.core.strategies import BASE_MS, streams
from tests.core.test_equivalence import segment_sets
from tests.fuzz_kernel import plain_case
from tests.kernel.sides import assert_sides_agree

pytestmark = pytest.mark.skipif(found()[0] is None, reason="the kernel is not built")


@pytest.mark.parametrize("seed", range(12))
def test_rules_of_the_kernel(seed: int) -> None:
    plain_case(seed)


@settings(max_examples=8)
@given(segment_sets(), streams(), st.booleans())
def test_any_rules(segments: SegmentSet, steps: list[tuple[str, Any]], watermark: bool) -> None:
    assert_sides_agree(segments, steps, watermark)


def test_the_kernel_applies_what_it_can() -> None:
    """Equality alone would also hold if Python did everything."""
    events = [("event", Event("A", BASE_MS + n, f"m{n}", {"p": "x"})) for n in range(60)]
    of = SegmentSet([definition("s", {"did": "A", "count": {"gte": 3}, "within": "1s", "where": {"p": "x"}})])
    left = assert_sides_agree(of, events, watermark=True)
    assert 2 * sum(left.get(each, 0) for each in ("identity", "held", "message")) < left["records"]


def test_rules_that_need_more_or_less_of_one_feature() -> None:
    forms = [{"did": "A", "count": {"gte": k}, "within": "1m"} for k in (1, 3, 60, 300)]
    of = SegmentSet([definition(f"s{n}", form) for n, form in enumerate(forms)])
    events = [("event", Event("A", BASE_MS + n, f"m{n}", {})) for n in range(70)]
    assert_sides_agree(of, [*events, ("clock", BASE_MS + 60_010)], watermark=True)


def test_large_definitions_and_large_profiles() -> None:
    rng = Random(5)
    forms = [{"sum": "p", "of": "A", "within": "1m", "where": {"q": n}, "is": {"gte": n}} for n in range(50)]
    of = SegmentSet([definition(f"s{n}", form) for n, form in enumerate(forms)])
    events = [
        ("event", Event("A", BASE_MS + n, f"m{n}", {"p": 0.1, "q": rng.randrange(50)})) for n in range(80)
    ]
    assert_sides_agree(of, events, watermark=True)
