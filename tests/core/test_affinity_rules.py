"""Rules about affinities: verdicts of drawn ones, mistakes, warnings, records, explanations."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.errors import DefinitionError
from segops.core.events import Event
from segops.core.rescoring import identity_without_models
from segops.core.rules.blocks import names_of_models, unmeasured_populations
from segops.core.rules.model import identity
from segops.core.rules.parsing import Context, read_indicators, read_published, read_rule
from segops.core.segments import Definition, SegmentSet
from segops.core.survey import Survey
from segops.core.views.explain import explain
from segops.core.views.score_views import view_scores
from segops.schemas.segments import definition_from_record, definition_to_record, inline
from tests.rest import examples

from .helpers import MONDAY
from .models import affinity, models_of
from .strategies import streams
from .strategies_scores import affinity_rules
from .test_affinity import DAY_MS, NAME, SHOES, STRONGEST, customer, rule
from .test_equivalence import assert_agreement, make_definition


@examples(15, of=150)
@given(affinity_rules(), streams(), st.booleans())
def test_compiled_equals_reference(form: Any, steps: Any, watermark: bool) -> None:
    assert_agreement(SegmentSet([make_definition("s0", form)]), steps, watermark)


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        (
            {"score": "churn_risk", "of": "shoes", "is": {"gte": 2}},
            "when.of: unknown key: only the scores aff",
        ),
        ({"score": NAME, "of": 5, "is": {"gte": 2}}, "when.of: expected a string, got 5"),
        ({"score": NAME, "of": "", "is": {"gte": 2}}, "when.of: expected a value, got an empty text"),
        ({"score": NAME, "is": {"gte": 2}}, "when.is: expected of, such as"),
        ({"score": NAME, "enter": {"eq": "a"}, "exit": {"eq": "b"}}, "when.enter: expected of, such as"),
        (
            {"score": NAME, "of": "a", "enter": {"gte": 2}, "exit": {"lt": 3}},
            "enter and exit both hold for 2",
        ),
        ({"score": "affinity.A b", "is": {"eq": "a"}}, "when.score: unknown score 'affinity.A b'"),
        ({"score": NAME, "of": "shoes", "is": {"eq": "x"}}, "never holds: no number satisfies"),
        ({"score_percentile": NAME, "is": 5}, "expected a score with one number of each customer"),
        (
            {"compare": [{"score": NAME, "of": "a"}, "gt", {"score": NAME, "of": "b"}]},
            "expected at most one score or figure in days",
        ),
    ],
)
def test_mistakes_are_refused(form: dict[str, Any], reason: str) -> None:
    with pytest.raises(DefinitionError) as raised:
        inline([{"key": "s", "when": form}], "f.yaml", "segments", models=models_of(affinity()))
    assert reason in str(raised.value).replace("segments[0].", "")


@pytest.mark.parametrize(
    ("forms", "warned"),
    [
        ([], "no model of affinity.category yet"),
        ([affinity(shares=None)], "run `segops models refresh affinity.category`"),
        ([affinity(shares={"hats": 0.2})], "'shoes' is none of the values with a share"),
        ([affinity()], None),
    ],
)
def test_checks_say_why_no_customer_has_the_score(forms: list[Any], warned: str | None) -> None:
    context = Context("f.yaml")
    context.models = models_of(*forms)
    node = read_rule(SHOES, "when", context)
    assert [warned in str(each) for each in context.warnings] == ([True] if warned else [])
    sided = Context("f.yaml")
    sided.models = context.models
    read_rule({"score": NAME, "of": "shoes", "enter": {"gte": 2}, "exit": {"lt": 1}}, "when", sided)
    assert sided.warnings == context.warnings
    assert names_of_models(node) == {NAME}
    assert unmeasured_populations(node) == ([NAME] if warned and "refresh" in warned else [])


@pytest.mark.parametrize("head", ["score", "compare"])
def test_edges_of_a_population_are_no_score(head: str) -> None:
    context = Context("f.yaml")
    parameters = {"edges": {"frequency": [1]}, "profiles": 9, "measured_at": "2026-01-01"}
    context.models = models_of({**affinity(), "name": "rfm", "parameters": parameters})
    figure = {"score": "rfm"}
    with pytest.raises(DefinitionError, match="unknown score 'rfm'"):
        read_rule(
            {**figure, "is": {"gte": 1}} if head == "score" else {head: [figure, "gt", 1]}, "when", context
        )


def test_another_population_is_another_rule_but_no_edit() -> None:
    nodes = [rule(SHOES, affinity(shares={"shoes": share})) for share in (0.2, 0.3)]
    assert len({identity(each) for each in nodes}) == 2
    assert len({identity_without_models(each) for each in nodes}) == 1
    others = [rule({**SHOES, "of": of}) for of in ("shoes", "hats")]
    assert len({identity_without_models(each) for each in others}) == 2


def test_record_keeps_the_model() -> None:
    written = [{"key": "s", "when": {"any": [SHOES, STRONGEST]}}]
    (definition,) = inline(written, "f", "segments", models=models_of(affinity()))
    read = definition_from_record(definition_to_record(definition))
    assert read is not None and read.when == definition.when
    assert set(read.models or ()) == {NAME}


def test_indicators_of_lifts_need_a_step_and_strongest_values_none() -> None:
    context = Context("f.yaml")
    context.models = models_of(affinity())
    forms: dict[str, Any] = {"favourite": {"score": NAME}, "lift": {"score": NAME, "of": "shoes"}}
    figures = read_indicators(forms, "indicators", context)
    with pytest.raises(DefinitionError) as raised:
        read_published(forms, figures, "indicators", context)
    assert [each.path for each in raised.value.issues] == ["indicators.lift"]
    assert "missing change_by" in str(raised.value)
    context.indicators = figures
    favourite, keen = (
        read_rule({"indicator": key, "is": test}, "when", context)
        for key, test in (("favourite", {"eq": "shoes"}), ("lift", {"gte": 2}))
    )
    assert favourite == rule({"score": NAME, "is": {"eq": "shoes"}}, affinity())
    assert keen == rule(SHOES, affinity())


def test_survey_knows_what_an_affinity_reads() -> None:
    survey = Survey([Definition("s", "s", rule(SHOES, affinity()))])
    survey.observe(Event("page", MONDAY, "m1", {}))
    assert list(survey.names_never_met()) == ["no event is named View"]
    survey.observe(Event("View", MONDAY, "m2", {"kind": "shoes"}))
    assert not list(survey.names_never_met()) and any("category" in each for each in survey.paths_never_met())


def test_explanations_have_counts_and_shares() -> None:
    ann = customer(affinity(), shoes=SHOES, hats={**SHOES, "of": "hats"}, favourite=STRONGEST)
    for category in ("shoes", "shoes", "hats"):
        ann.did("View", MONDAY, category=category)
    now_ms = MONDAY + DAY_MS
    ann.wait(now_ms)
    found = explain(ann.engine.segments, ann.profile, now_ms)
    notes = {each.segment_key: each.rule.note for each in found.segments}
    shared = "of all 1.5, own share {}, share of all customers {}"
    assert notes["shoes"] == f"{NAME} of shoes: count 1, {shared.format(0.667, 0.25)}"
    assert notes["hats"] == f"{NAME} of hats: count 0.5, {shared.format(0.333, 0.5)}"
    assert notes["favourite"] == f"{NAME}: count 1, {shared.format(0.667, 0.25)}"
    views = view_scores(ann.engine.segments, ann.profile, now_ms, days=10)
    values = {each.name: each.value for each in views}
    assert values == {NAME: "shoes", f"{NAME} of hats": 0.8, f"{NAME} of shoes": 2.0}
