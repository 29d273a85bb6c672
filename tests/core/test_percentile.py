"""The percentile of a score among the edges of a measured population."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segops.core.engine import Engine
from segops.core.errors import DefinitionError
from segops.core.rescoring import identity_without_models
from segops.core.rules.blocks import names_of_models
from segops.core.rules.model import Node, identity
from segops.core.rules.parsing import Context, read_rule
from segops.core.scans import PopulationCounter, population_named
from segops.core.scoring.models import Model
from segops.core.scoring.population import edges_of
from segops.core.segments import Definition, SegmentSet
from segops.schemas.models import read_model
from segops.schemas.segments import definition_from_record, definition_to_record, inline
from segops.testing import Customer, Flip

from .helpers import MONDAY

DAY = 86_400_000
FITTED = "2026-01-01T00:00:00Z"
BUYING = {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426}


def population(score: str, edges: list[Any]) -> Model:
    parameters = {"edges": {"score": edges}, "profiles": 500, "measured_at": FITTED}
    head = {"name": f"percentile.{score}", "kind": "population", "fitted_at": FITTED}
    return read_model({**head, "parameters": parameters}, "p.json")


def buying() -> Model:
    head = {"name": "buying", "kind": "bg-nbd", "fitted_at": FITTED}
    return read_model({**head, "parameters": BUYING}, "b.json")


def rule(form: dict[str, Any], *models: Model) -> Node:
    context = Context()
    context.models = {each.name: each for each in models}
    return read_rule(form, "when", context)


def customer(models: list[Model], **rules: Any) -> Customer:
    found = Customer()
    definitions = [Definition(key, key, rule(form, *models)) for key, form in rules.items()]
    found.engine = Engine(SegmentSet(definitions))
    return found


def test_percentile_is_the_number_of_edges_strictly_below() -> None:
    edges = [0.0] * 50 + [2.0] * 40 + [3.0] * 9
    rules = {f"p{n}": {"score_percentile": "recency_days", "is": n} for n in (0, 50, 90, 99)}
    ann = customer([population("recency_days", edges)], **rules)
    assert ann.did("page", MONDAY) == [Flip("entered", "p0", MONDAY)]
    assert ann.wait(MONDAY + 5 * DAY) == [
        Flip("exited", "p0", MONDAY + DAY),
        Flip("entered", "p50", MONDAY + DAY),
        Flip("exited", "p50", MONDAY + 3 * DAY),
        Flip("entered", "p90", MONDAY + 3 * DAY),
        Flip("exited", "p90", MONDAY + 4 * DAY),
        Flip("entered", "p99", MONDAY + 4 * DAY),
    ]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 1_000), min_size=99, max_size=99),
    st.integers(1, 99),
    st.lists(st.integers(0, 40), min_size=1, max_size=4, unique=True),
)
def test_percentile_moves_with_its_score_to_the_millisecond(
    edges: list[int], percentile: int, days: list[int]
) -> None:
    """A percentile of at least k is a score above edge k: both rules flip at the same instants."""
    edge = sorted(edges)[percentile - 1] / 1_000
    models = [buying(), population("churn_risk", [each / 1_000 for each in sorted(edges)])]
    ann = customer(
        models,
        place={"score_percentile": "churn_risk", "is": {"gte": percentile}},
        score={"score": "churn_risk", "is": {"gt": edge}},
    )
    changes: list[Flip] = []
    for number, day in enumerate(sorted(days)):
        order = {"order_id": f"o{number}", "revenue": 5}
        changes += ann.did("Order Completed", MONDAY + day * DAY, **order)
    changes += ann.wait(MONDAY + 4_000 * DAY)
    flips = {key: [each[::2] for each in changes if each.segment == key] for key in ("place", "score")}
    assert flips["place"] == flips["score"]


def test_without_a_measured_population_there_is_no_percentile() -> None:
    context = Context("f.yaml")
    form = {"score_percentile": "recency_days", "is": {"gte": 0}}
    node = read_rule(form, "when", context)
    assert "run `segops models refresh percentile.recency_days`" in str(context.warnings[0])
    ann = customer([], all=form, none={"not": form})
    ann.did("page", MONDAY)
    assert ann.member_of == {"none"}
    assert names_of_models(node) == {"percentile.recency_days"}


def test_record_keeps_the_models_that_its_rule_reads() -> None:
    models = {each.name: each for each in (buying(), population("p_alive", [0.5] * 99))}
    form = {"score_percentile": "p_alive", "is": {"gte": 90}}
    (definition,) = inline([{"key": "s", "when": form}], "f", "segments", models=models)
    read = definition_from_record(definition_to_record(definition))
    assert read is not None and read.when == definition.when
    assert set(read.models or ()) == {"buying", "percentile.p_alive"}


def test_new_edges_are_another_rule_but_no_edit() -> None:
    form = {"score_percentile": "recency_days", "is": {"gte": 90}}
    nodes = [rule(form), *(rule(form, population("recency_days", [n] * 99)) for n in (1, 2))]
    assert len({identity(each) for each in nodes}) == 3
    assert len({identity_without_models(each) for each in nodes}) == 1


def test_figure_is_compared() -> None:
    compare = {"compare": [{"score_percentile": "recency_days"}, "gt", {"trait": "limit"}]}
    ann = customer([population("recency_days", [1.0] * 99)], late=compare)
    ann.did("identify", MONDAY, traits={"limit": 50})
    assert ann.wait(MONDAY + 3 * DAY) == [Flip("entered", "late", MONDAY + 2 * DAY)]


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"score_percentile": "other", "is": 1}, "unknown score 'other'"),
        ({"score_percentile": "recency_days", "is": {"gte": 0.5}}, "expected an integer, got 0.5"),
        ({"score_percentile": "recency_days"}, "is"),
        ({"score_percentile": "recency_days", "is": 1, "refresh": {"every": "day"}}, "unknown key"),
    ],
)
def test_mistakes_are_refused(form: dict[str, Any], reason: str) -> None:
    with pytest.raises(DefinitionError) as raised:
        read_rule(form, "when", Context())
    assert reason in str(raised.value)


def test_population_of_a_score_is_counted_over_all_profiles() -> None:
    definition = Definition("s", "s", rule({"score_percentile": "recency_days", "is": {"gte": 50}}))
    engine = Engine(SegmentSet([definition]))
    name = "percentile.recency_days"
    counter = PopulationCounter({name: population_named(name, [definition])})
    ages = [3, 3, 7, 40, 41]
    for number, age in enumerate(ages):
        ann = Customer()
        ann.engine = engine
        ann.profile = engine.new_profile(f"user_id:{number}")
        ann.did("page", MONDAY - age * DAY)
        counter.visit(ann.profile, MONDAY)
    counter.visit(engine.new_profile("user_id:blank"), MONDAY)
    found = counter.result().models[name]
    assert (found.profiles, found.histograms) == (5, {"score": {"3": 2, "7": 1, "40": 1, "41": 1}})
    edges = edges_of(found.histograms, {"score": 100}, MONDAY)["score"]
    assert len(edges) == 99 and edges[39] == Decimal(3) and edges[40] == Decimal(7) and edges[98] == 41
