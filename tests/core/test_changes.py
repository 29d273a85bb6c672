"""The next flip, found in one pass over future changes, is the first instant with another verdict."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.features.sequence import Sequence, SequenceReducer, SequenceStep
from segops.core.profile import Profile
from segops.core.rules.execution import Rule
from segops.core.segments import SegmentSet
from segops.core.values import format_instant
from segops.testing import Customer, definition

from .helpers import MONDAY, S

#: Every duration and time in these tests is a multiple of it, so that its multiples are all the edges.
STEP_MS = 500
LAST = 120

durations = st.integers(1, 20).map(lambda n: f"{n * STEP_MS}ms")
numbers = st.sampled_from([-4, 0, 0.1, 0.2, 0.3, 1, 2, 7.5])
windows = st.one_of(
    durations.map(lambda d: {"within": d}),
    st.integers(1, 9).map(lambda n: {"between": {"from": f"{n + 4}s", "to": f"{n}s"}}),
    st.just({}),
)
wheres = st.one_of(
    st.just({}),
    st.tuples(st.sampled_from(["in_next", "in_last", "older_than", "newer_than"]), durations).map(
        lambda p: {"where": {"due": {p[0]: p[1]}}}
    ),
)
counts = st.integers(1, 5).flatmap(
    lambda k: st.sampled_from(
        [{"gte": k}, {"lt": k}, {"eq": k}, {"ne": k}, {"in": [k, k + 2]}, {"gte": k + 256}]
    )
)
tests = numbers.flatmap(
    lambda k: st.sampled_from(
        [{"gte": k}, {"gt": k}, {"lt": k}, {"eq": k}, {"ne": k}, {"between": [k, k + 2]}]
    )
)


@st.composite
def leaves(draw: Any) -> dict[str, Any]:
    function = draw(
        st.sampled_from(
            ["did", "sum", "avg", "min", "max", "distinct", "latest", "earliest", "most_frequent", "last"]
        )
    )
    where = draw(wheres)
    if function == "did":
        return {"did": "E", "count": draw(counts), **where, **draw(windows)}
    if function == "last":
        return {"last": "E", "is": {"newer_than": draw(durations)}, **where}
    is_ = draw(
        {"distinct": counts, "latest": st.one_of(tests, durations.map(lambda d: {"in_next": d}))}.get(
            function, tests
        )
    )
    name = "due" if "in_next" in is_ else "v"
    return {function: name, "of": "E", "is": is_, **where, **draw(windows)}


rules = st.one_of(
    leaves(),
    st.tuples(st.sampled_from(["all", "any"]), st.lists(leaves(), min_size=2, max_size=3)).map(
        lambda p: {p[0]: p[1]}
    ),
)
events = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([0, 0, 0, -9]), numbers, st.integers(-20, 40)),
    min_size=1,
    max_size=30,
)


def profile_after(
    rule: dict[str, Any], drawn: list[tuple[int, int, float, int]]
) -> tuple[Rule, Profile, int]:
    """Return the compiled rule, a profile after these events, and the current time."""
    customer, now_ms = Customer(rule=rule), MONDAY
    for gap, late, value, due in drawn:
        now_ms += gap * STEP_MS
        date = format_instant(now_ms + due * STEP_MS)
        customer.send("E", now_ms + late * STEP_MS, v=value, due=date)
    compiled = customer.engine.segments.segments[0].rule
    assert isinstance(compiled, Rule)
    return compiled, customer.profile, now_ms


@given(rules, events)
def test_next_flip_is_the_first_instant_with_another_verdict(
    form: dict[str, Any], drawn: list[tuple[int, int, float, int]]
) -> None:
    rule, profile, now_ms = profile_after(form, drawn)
    member = rule.holds(profile, now_ms)
    instants = (now_ms + step * STEP_MS // 2 for step in range(1, 2 * LAST))
    expected = next((at for at in instants if rule.holds(profile, at) != member), None)
    assert rule.next_flip(profile, now_ms, member) == expected


@given(rules, events)
def test_predicted_verdicts_match_later_evaluations(
    form: dict[str, Any], drawn: list[tuple[int, int, float, int]]
) -> None:
    rule, profile, now_ms = profile_after(form, drawn)
    coming = dict(rule.changes(profile, now_ms))
    verdict = coming[now_ms]
    for at in range(now_ms, now_ms + LAST * STEP_MS, STEP_MS // 2):
        verdict = coming.get(at, verdict)
        assert verdict is rule.holds(profile, at)


def test_sum_that_falls_and_rises_within_one_instant_does_not_flip() -> None:
    customer = Customer(rule={"sum": "v", "of": "E", "within": "10s", "is": {"gte": 1}})
    for value in (5, -5, 3):
        customer.send("E", MONDAY, v=value)
    customer.send("E", MONDAY + S, v=1)
    assert customer.profile.flips["rule"] == MONDAY + 11 * S


@pytest.mark.parametrize("written", [0.3, 3e-1])
def test_mean_is_compared_with_the_decimal_as_written(written: float) -> None:
    customer = Customer(rule={"avg": "v", "of": "E", "within": "10s", "is": {"gte": written}})
    for second, value in enumerate((0.1, 0.5, 0.3, 0.2)):
        customer.send("E", MONDAY + second * S, v=value)
    # 0.275, then 0.333…, 0.25 and 0.2
    assert customer.member_of == set()
    assert customer.profile.flips["rule"] == MONDAY + 10 * S


def test_anniversary_in_where_crosses_the_new_year() -> None:
    customer = Customer(rule={"did": "E", "where": {"day": {"anniversary_in_next": "1d"}}})
    customer.send("E", MONDAY, day="2000-03-01")
    first = customer.profile.flips["rule"]
    assert format_instant(first) == "2026-02-28T00:00:00.000Z"
    customer.wait(first)
    assert format_instant(customer.profile.flips["rule"]) == "2026-03-01T00:00:00.000Z"


def test_policy_far_ahead_is_evaluated_in_one_pass() -> None:
    base = definition(
        "base", {"did": "E", "count": {"eq": 1}, "within": "2s", "membership": {"min_stay": "3s"}}
    )
    rule = definition("rule", {"all": [{"in_segment": "base"}, {"did_not": "F"}]})
    segments = SegmentSet([base, rule])
    customer = Customer()
    customer.engine = type(customer.engine)(segments)
    customer.profile = customer.engine.new_profile("user_id:u1")
    customer.send("E", MONDAY)
    assert customer.profile.flips == {"base": MONDAY + 3 * S, "rule": MONDAY + 3 * S}


def spans(steps: tuple[SequenceStep, ...], *links: tuple[int, int, Any]) -> list[tuple[int, int]]:
    reducer, state = SequenceReducer(Sequence(steps, within_ms=100)), None
    for time_ms, bits, value in links:
        state = reducer.add(state, time_ms, (bits, (value,)), time_ms) or state
    assert state is not None
    return state.spans


def test_adjacent_spans_of_a_sequence_are_merged() -> None:
    steps = (SequenceStep(("a",), (), None, False), SequenceStep(("b",), (), None, False))
    assert spans(steps, (0, 1, None), (1, 1, None), (2, 2, None)) == [(2, 101)]


@pytest.mark.parametrize(
    ("first", "second", "same"), [(1, 1.0, True), (1, True, False), ([1], [1.0], True), ({}, [], False)]
)
def test_sequence_steps_compare_values_by_equality(first: Any, second: Any, same: bool) -> None:
    steps = (SequenceStep(("a",), (), None, False), SequenceStep(("b",), (), None, False, ((("p",), 0),)))
    assert bool(spans(steps, (0, 1, first), (1, 2, second))) is same
