"""Scores of figures over time: the instants at which verdicts change, against the values themselves."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.rules.execution.compiler import compile_rule
from segops.core.rules.execution.figure_models import Ranks
from segops.core.rules.model import ScoreNode
from segops.core.scoring.figure_scores import TreesScore, WeightedScore, input_number, term_of
from segops.core.scoring.models import Input, Platt, TreesParameters, WeightedParameters
from segops.core.segments import SegmentSet
from segops.schemas.segments import inline

from .helpers import MONDAY as T
from .models import IDLE, PLAN, VIEWS, logistic, models_of, trees

DAY = 86_400_000
RECENT = {**VIEWS, "figure": {"did": "View", "within": "3d"}}
_weights = st.sampled_from([-2.0, -0.3, 0.0, 0.5, 3.0])
_tests = st.sampled_from([{"gte": 0.5}, {"lt": 0.2}, {"between": [0.3, 0.6]}, {"exists": True}])
_times = st.lists(st.integers(0, 3 * DAY), max_size=6)


@settings(max_examples=40)
@given(st.booleans(), st.tuples(_weights, _weights, _weights), _tests, _times)
def test_verdicts_change_exactly_where_values_do(
    of_trees: bool, weights: tuple[float, ...], test: dict[str, Any], times: list[int]
) -> None:
    form = trees("own", [RECENT, IDLE]) if of_trees else logistic("own", [RECENT, IDLE, PLAN], weights)
    written = {"key": "rule", "when": {"score": "own", "is": test}}
    (definition,) = inline([written], "test", "segments", models=models_of(form))
    engine = Engine(SegmentSet([definition]))
    profile = engine.new_profile("user_id:u1")
    for number, at in enumerate(sorted(times)):
        engine.on_event(profile, Event("View", T + at, f"m{number}", {}), clock_ms=T + at)
    now_ms = T + max(times, default=0)
    assert isinstance(definition.when, ScoreNode)
    rule = compile_rule("rule", definition.when, {})
    # Only these instants move figures: a view leaves its window, or a whole day has passed since the latest.
    steps = sorted({now_ms + day * DAY for day in range(40)} | {T + at + 3 * DAY for at in times})
    known, expected = rule.holds(profile, now_ms), []
    for at in steps:
        if at > now_ms and rule.holds(profile, at) is not known:
            known = not known
            expected.append((at, known))
    found = list(rule.changes(profile, now_ms))
    changed = [after for before, after in pairwise(found) if before[1] is not after[1]]
    assert [each for each in changed if each[0] <= steps[-1]] == expected


@pytest.mark.parametrize("slope", [1.0, -1.0])
def test_the_rank_of_a_total_is_that_of_its_score_whatever_was_asked_before(slope: float) -> None:
    score = WeightedScore(WeightedParameters((Input("a", None),), (1.0,), 0.0, Platt(a=slope)))
    ranks = Ranks(score, lambda each: (each >= 0.3, each >= 0.7))
    for total in (-9.0, 9.0, 0.0, -0.5, 0.8, 0.9, -0.8, -0.9, 0.84, 0.85, -0.84, -0.85):
        found = score.finished(total)
        assert ranks.of(total) == (found >= 0.3, found >= 0.7)


@given(st.one_of(st.none(), st.booleans(), st.integers(-5, 2_000), st.floats(-5, 5), st.text(max_size=1)))
def test_a_term_is_the_factor_times_the_number(value: Any) -> None:
    each = Input("a", None, "log1p", missing=3.0, mean=0.5, scale=2.0)
    term = term_of(each, -1.5)
    assert term(value) == term(value) == -1.5 * input_number(each, value)


def test_terms_of_trees_are_the_numbers() -> None:
    score = TreesScore(TreesParameters((Input("a", None), Input("b", None)), ()))
    assert score.factors == (1.0, 1.0)
