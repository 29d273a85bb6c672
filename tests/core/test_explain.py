"""Explanations agree with the engine: rules with memberships, nodes with their children."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from segops.core.engine import Engine
from segops.core.operators import OPERATORS
from segops.core.rules import model, phrases, wording
from segops.core.segments import SegmentSet
from segops.core.values import format_instant
from segops.core.views.explain import RulePart, SegmentExplanation, explain
from segops.testing import Customer, segments

from .helpers import MONDAY as T
from .helpers import H, S
from .strategies import streams
from .test_equivalence import segment_sets


def explanation(customer: Customer, now_ms: int, index: int = 0) -> SegmentExplanation:
    return explain(customer.engine.segments, customer.profile, now_ms).segments[index]


def node(rule: dict[str, Any], now_ms: int, *events: tuple[Any, ...], **identity: Any) -> RulePart:
    """Return the explained rule after events ``(name, time, {property: value})``."""
    customer = Customer(rule=rule)
    for name, time_ms, *properties in events:
        customer.send(name, time_ms, **identity, **(properties[0] if properties else {}))
    customer.wait(now_ms)
    return explanation(customer, now_ms).rule


@settings(max_examples=60)
@given(segment_sets(), streams())
def test_explanation_agrees_with_the_engine(known: SegmentSet, steps: list[tuple[str, Any]]) -> None:
    engine = Engine(known)
    profile = engine.new_profile("user_id:u1")
    now_ms = 0
    for kind, arg in steps:
        now_ms = max(now_ms, arg if kind == "clock" else arg.time_ms)
        if kind == "clock":
            engine.on_timer(profile, clock_ms=now_ms)
        else:
            engine.on_event(profile, arg, clock_ms=now_ms)
    if profile.first_ms is None:
        return
    for found in explain(known, profile, now_ms).segments:
        assert found.member is (found.segment_key in profile.members)
        assert found.limits is not None or found.rule.holds is found.member
        assert found.flips_at == profile.flips.get(found.segment_key)
        _check(found.rule)


def _check(part: RulePart) -> None:
    assert part.changes_at is None or part.holds is not None
    verdicts = [child.holds for child in part.parts]
    joined = {"all of": all(verdicts), "any of": any(verdicts), "not": not all(verdicts)}
    assert part.holds is joined.get(part.label, part.holds)
    for child in part.parts:
        _check(child)


def test_membership_shows_its_start_cause_and_next_flip() -> None:
    rule = {"all": [{"did": "A", "count": {"gte": 2}, "within": "48h"}, {"did_not": "B", "within": "48h"}]}
    customer = Customer(rule=rule)
    customer.did("A", T)
    customer.did("A", T + H, message_id="m-7")
    found = explanation(customer, T + 2 * H)
    assert (found.member, found.since, found.event_id, found.flips_at) == (True, T + H, "m-7", T + 48 * H)
    assert found.rule.changed_at == T + H
    views, orders = found.rule.parts
    assert (views.label, views.value, views.threshold) == ("did A ≥ 2 within 2d", 2, "≥ 2")
    assert (views.holds, views.changes_at, views.changed_at) == (True, T + 48 * H, None)
    assert (orders.label, orders.value, orders.changes_at) == ("did not B within 2d", 0, None)


def test_membership_that_time_began_has_no_event() -> None:
    customer = Customer(rule={"known_for": "1h"})
    customer.did("A", T)
    customer.wait(T + 2 * H)
    found = explanation(customer, T + 2 * H)
    assert (found.since, found.event_id, found.flips_at) == (T + H, None, None)


def test_reference_and_its_negation_show_their_last_change() -> None:
    customer = Customer(a={"did": "A", "within": "1h"}, b={"any": [{"not": {"in_segment": "a"}}]})
    customer.did("A", T)
    inverse = explanation(customer, T, 1).rule.parts[0]
    assert (inverse.holds, inverse.changed_at, inverse.changes_at) == (False, T, T + H)
    customer.wait(T + H)
    assert explanation(customer, T + H, 1).rule.parts[0].changed_at is None


def test_truncated_count_is_shown_as_a_minimum() -> None:
    twice = {"did": "A", "count": {"gte": 2}, "within": "1h"}
    seen = [node(twice, T + 9, *(("A", T + n) for n in range(times))) for times in (3, 4, 9)]
    assert [(part.value, part.value_is_least) for part in seen] == [(3, False), (4, True), (4, True)]
    whole = node({"did": "A", "count": {"gte": 2}}, T + 9, *(("A", T + n) for n in range(9)))
    assert (whole.value, whole.value_is_least) == (9, False)


@pytest.mark.parametrize(
    ("beside", "found"), [(3, (4, True)), (6, (9, False)), (17, (9, False)), (300, (9, False))]
)
def test_count_is_shown_up_to_the_greatest_capacity(beside: int, found: tuple[int, bool]) -> None:
    rules = {"few": {"gte": 2}, "more": {"gte": beside}}
    customer = Customer(**{key: {"did": "A", "count": test, "within": "1h"} for key, test in rules.items()})
    for number in range(9):
        customer.did("A", T + number)
    few = explanation(customer, T + 9).rule
    assert (few.value, few.value_is_least) == found


def test_count_stored_for_a_greater_threshold_is_shown_as_a_minimum() -> None:
    customer = Customer(rule={"did": "A", "count": {"gte": 9}, "within": "1h"})
    for number in range(6):
        customer.did("A", T + number)
    customer.adopt(rule={"did": "A", "count": {"gte": 3}, "within": "1h"})
    customer.did("A", T + 9)
    rule = explanation(customer, T + 9).rule
    assert (rule.value, rule.value_is_least) == (6, True)


@pytest.mark.parametrize(
    ("rule", "events", "value"),
    [
        ({"sum": "p", "of": "A", "is": {"gte": 1}}, [("A", T, {"p": 0.1}), ("A", T, {"p": 0.2})], 0.3),
        ({"avg": "p", "of": "A", "is": {"gte": 1}}, [("A", T, {"p": 1}), ("A", T, {"p": 2})], 1.5),
        ({"max": "p", "of": "A", "is": {"gte": 1}}, [("A", T, {"p": 7}), ("A", T, {"p": 2})], 7),
        ({"distinct": "p", "of": "A", "is": {"gte": 2}}, [("A", T, {"p": 7}), ("A", T, {"p": 7.0})], 1),
        ({"latest": "p", "of": "A", "is": {"eq": 1}}, [], None),
        ({"last": "A", "is": {"older_than": "1h"}}, [("A", T)], format_instant(T)),
        ({"known_for": "1h"}, [("A", T)], format_instant(T)),
        ({"bucket": {"salt": "spring", "from": 0, "to": 10}}, [("A", T)], 20.44),
        ({"did": "A", "count": {"gte": 300}, "within": "1h"}, [("A", T), ("A", T)], 2),
        ({"did": "A", "between": {"from": "1h", "to": "1s"}}, [("A", T), ("A", T + 10 * S)], 1),
    ],
)
def test_node_shows_the_value_compared_with_its_threshold(
    rule: dict[str, Any], events: list[tuple[Any, ...]], value: Any
) -> None:
    assert node(rule, T + 10 * S, *events).value == value


def test_traits_show_their_value_and_the_start_of_it() -> None:
    gold = {"trait": "plan", "is": {"eq": "gold"}}
    held = node({"has_been": gold, "for": "1h"}, T + 5, ("identify", T), traits={"plan": "gold"})
    assert (held.value, held.holds, held.changes_at) == (format_instant(T), False, T + H)
    assert node(gold, T + 5, ("identify", T), traits={"plan": "tin"}).value == "tin"


@pytest.mark.parametrize(
    ("rule", "note"),
    [
        ({"sum": "p", "of": "A", "is": {"gte": 1}, "within": "1h"}, "exact for the latest 4,096 entries"),
        ({"earliest": "p", "of": "A", "is": {"eq": 1}, "within": "1h"}, "exact for the latest 4,096 entries"),
        ({"did": "A", "count": {"gte": 300}, "within": "1h"}, "exact for the latest 4,096 entries"),
        ({"did": "A", "count": {"gte": 256}, "within": "1h"}, None),
        ({"sum": "p", "of": "A", "is": {"gte": 1}}, None),
        (
            {"sequence": [{"did": "A"}, {"did": "B"}]},
            "only the latest 256 events that a step may match are kept",
        ),
    ],
)
def test_bound_of_exactness_is_shown(rule: dict[str, Any], note: str | None) -> None:
    assert node(rule, T, ("A", T)).note == note


def test_failing_node_has_no_verdict_and_the_others_do() -> None:
    customer = Customer(rule={"any": [{"did": "A"}, {"sum": "p", "of": "B", "is": {"gte": 1}}]})
    customer.did("A", T)
    customer.send("B", T, p=1)
    damaged = next(key for key, state in customer.profile.features.items() if hasattr(state, "total"))
    customer.profile.features[damaged] = object()  # type: ignore[assignment]
    good, bad = explanation(customer, T).rule.parts
    assert (good.holds, bad.holds, bad.value) == (True, None, None)


def test_every_node_and_operator_has_a_label() -> None:
    assert set(wording._LABELS) == set(model.Node.__args__)
    assert set(phrases.OPERATOR_TEXTS) == set(OPERATORS)


@pytest.mark.parametrize(
    ("rule", "label"),
    [
        (
            {"did": ["A", "B"], "where": {"p": 1, "q.r": {"in": ["x", 2]}}, "calendar": {"this": "day"}},
            "did A or B where p = 1, q.r in [x, 2] this day (UTC)",
        ),
        ({"did": "A", "since": "2026-01-01"}, "did A since 2026-01-01T00:00:00.000Z"),
        (
            {"sequence": [{"did": "A"}, {"did_not": "B", "within": "1h", "where": {"p": {"same_as": 1}}}]},
            "sequence did A → did not B with the same p as in step 1 within 1h",
        ),
        (
            {"near": {"lat": 48.5, "lon": 2, "radius": "5km"}, "within": "1d"},
            "at most 5,000 m from 48.5, 2 within 1d",
        ),
        ({"trait": "flag", "is": {"eq": True}}, "trait flag = true"),
        (
            {"first": "A", "is": {"older_than": "1d", "newer_than": "2d"}},
            "first A older than 1d and newer than 2d",
        ),
    ],
)
def test_label_of_a_rule(rule: dict[str, Any], label: str) -> None:
    (found,) = segments(rule=rule).definitions
    assert wording.label(found.when) == label
