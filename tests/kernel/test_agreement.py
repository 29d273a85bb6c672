"""Whole partitions by the kernel and by Python are equal: a share of what ``make fuzz-kernel`` draws."""

from __future__ import annotations

import json
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segops.core.events import Event
from segops.core.segments import SegmentSet
from segops.core.values import format_instant
from segops.kernel import found
from segops.schemas.identifying import IdentityLimits
from segops.testing import definition
from tests.core.strategies import BASE_MS, streams
from tests.core.test_equivalence import make_definition, segment_sets
from tests.fuzz_kernel import plain_case, score_case
from tests.kernel.people import DEVICES
from tests.kernel.sides import Side, assert_sides_agree
from tests.rest import rest

pytestmark = pytest.mark.skipif(found()[0] is None, reason="the kernel is not built")


@pytest.mark.parametrize("seed", range(12))
def test_rules_of_the_kernel(seed: int) -> None:
    plain_case(seed)


def test_scores_of_the_kernel() -> None:
    left = Counter[str]()
    for seed in range(8):
        left.update(score_case(seed))
    assert 20 * left["asked_rule"] < left["records"]  # flips in more than ten years
    assert not left["asked_score"] and not left["asked_feature"]


@rest
@pytest.mark.parametrize("first", range(100, 200, 20))
def test_more_rules_of_the_kernel(first: int) -> None:
    for seed in range(first, first + 20):
        plain_case(seed)
        score_case(seed)


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


def test_the_kernel_evaluates_scores_of_orders() -> None:
    days = (0, 1, 1, 9, 10, 40)
    events = [
        ("event", Event("Order Completed", BASE_MS + day * 86_400_000, f"m{n}", {"total": 5 + n}))
        for n, day in enumerate(days)
    ]
    forms = {"p_alive": 0.5, "churn_risk": 0.3, "expected_orders_90d": 1, "ltv_365d": 20}
    of = [make_definition(name, {"score": name, "is": {"gte": least}}) for name, least in forms.items()]
    left = assert_sides_agree(SegmentSet(of), [*events, ("clock", BASE_MS + 10**11)], watermark=True)
    assert left["timers"] and not left.get("asked_rule")


def _side(*, native: bool) -> Side:
    of = SegmentSet([definition("s", {"did": "A", "count": {"gte": 2}})])
    limits = IdentityLimits()
    return Side(of, native=native, by_events=True, cache=1_000, keeps=True, mixed=False, limits=limits)


def _visit(side: Side, number: int, ids: dict[str, Any]) -> None:
    event = {"type": "track", "event": "A", "messageId": f"m{number}", **ids}
    event["timestamp"] = format_instant(BASE_MS + number)
    side.post(json.dumps(event).encode(), f"{number % 2}:{number}")


def test_two_devices_of_each_customer_leave_nothing_to_python() -> None:
    side = _side(native=True)
    for number in range(40):
        _visit(side, number, DEVICES[number % 8])
        if number >= 8:
            _visit(side, 40 + number, DEVICES[8 + number % 4])  # a redirect relays it
        for partition in (0, 1, 0, 1, 0, 1):
            side.read(partition, 100)
            side.taken(partition)
    for partition in (0, 1):
        side.checkpoint(partition, 0)
    assert side.left.pop("records") > 100
    assert not any(side.left.values())
    stores = side.stores._by_partition.values()
    assert sum(len(each.states) for each in stores) == 12


def test_ids_of_profiles_that_the_kernel_creates_are_held_for_samples() -> None:
    side = _side(native=True)
    caches = [processor._profiles for processor in side.processors]
    for cache in caches:
        assert not any(cache.each_once(10, 0.99999))
    for number, ids in enumerate(DEVICES[:8]):
        _visit(side, number, ids)
    for partition in (0, 1, 0, 1, 0, 1):
        side.read(partition, 100)
        side.taken(partition)
    found = [each for cache in caches for ids in cache.each_once(10, 0.99999) for each in ids]
    assert len(found) == 12
    assert {f"user_id:u{n}" for n in range(4)} < {*found}


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
