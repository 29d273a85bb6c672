"""Model files of kind ``population``."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from segops.core.errors import DefinitionError
from segops.core.scoring.models import AffinityParameters
from segops.core.scoring.population import added, count_in, edges_of, populations_in
from segops.schemas.json_schema_models import model_schema
from segops.schemas.models import read_model, written
from segops.schemas.populations import MAX_BARS, written_population
from tests.core.models import affinity


def _form(**changed: Any) -> dict[str, Any]:
    parameters = {
        "edges": {"recency_ms": [0, 5, 5], "frequency": [1, 1, 2, 4], "monetary": [9.5, 20]},
        "profiles": 7,
        "measured_at": "2026-11-27T08:00:00Z",
        **changed,
    }
    head = {"name": "rfm", "kind": "population", "version": 3, "fitted_at": "2026-11-27T08:00:00Z"}
    return {**head, "parameters": parameters}


def test_model_of_a_population_is_read() -> None:
    Draft202012Validator(model_schema()).validate(_form(histogram={"frequency": [[1, 7]]}))
    model = read_model(_form(), "rfm.json")
    assert populations_in({"rfm": model}) == {
        "rfm": {"recency": (0, 5, 5), "frequency": (1, 1, 2, 4), "monetary": (Decimal("9.5"), Decimal(20))}
    }
    assert read_model(written(model), "rfm.json").parameters == model.parameters


def test_measured_parameters_are_read_again() -> None:
    histogram: dict[str, int] = {}
    for number in range(1_000):
        count_in(histogram, Decimal(number) / 7)
    histograms = {"monetary": added(histogram, {}), "recency": {"100": 3, "90": 2}}
    edges = edges_of(histograms, {"monetary": 5, "recency": 2}, 500 * 3_600_000)
    form = written_population(edges, histograms, profiles=1_000, measured_at_ms=1_800_000_000_000)
    bars = form["histogram"]["monetary"]
    assert len(bars) <= MAX_BARS and sum(count for _, count in bars) == 1_000
    model = read_model({**_form(), "parameters": form}, "rfm.json")
    assert populations_in({"rfm": model})["rfm"] == edges


def test_population_that_is_not_ready_has_no_edges() -> None:
    head = {key: value for key, value in _form().items() if key != "parameters"}
    model = read_model(
        {**head, "status": "not_enough_data", "reasons": ["no customer has orders"]}, "rfm.json"
    )
    assert populations_in({"rfm": model}) == {}


MISTAKES = {
    "falling": (
        {"edges": {"frequency": [2, 1]}},
        "parameters.edges.frequency: expected edges of which none is below",
    ),
    "unknown measure": ({"edges": {"recency": [1]}}, "parameters.edges.recency: unknown key"),
    "no edges": ({"edges": {}}, "parameters.edges: expected a map with any of recency_ms"),
    "not a number": ({"edges": {"monetary": [float("nan")]}}, "expected a finite number, got nan"),
    "fraction": ({"edges": {"frequency": [1.5]}}, "expected an integer of at least 0, got 1.5"),
    "no profiles": ({"profiles": 0}, "expected an integer of at least 1, got 0"),
    "bars": ({"histogram": {"monetary": [[1]]}}, "expected a value and a count, got [1]"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_refused(name: str) -> None:
    changed, reason = MISTAKES[name]
    with pytest.raises(DefinitionError) as raised:
        read_model(_form(**changed), "rfm.json")
    assert reason in str(raised.value)
    by_schema = Draft202012Validator(model_schema()).is_valid(_form(**changed))
    assert by_schema is (name in ("falling", "not a number"))
    assert str(raised.value).startswith("rfm.json: parameters")


@pytest.mark.parametrize("name", ["rfm.", "percentile", "orders", "rfm.A b", "buying"])
def test_only_the_names_of_populations_are_taken(name: str) -> None:
    with pytest.raises(DefinitionError):
        read_model({**_form(), "name": name}, "rfm.json")


@pytest.mark.parametrize("name", ["rfm.opens", "percentile.ltv_90d"])
def test_names_of_populations(name: str) -> None:
    assert read_model({**_form(), "name": name}, "rfm.json").scores == (name,)


AFFINITY_MISTAKES = {
    "no half_life": ({"half_life": None}, "parameters: expected a map with of, path and half_life"),
    "none": ({"half_life": "0s"}, "parameters.half_life: expected a duration above 0"),
    "prior": ({"prior": 0}, "parameters.prior: expected a number above 0, up to 1,000,000, got 0"),
    "least": ({"least": 0}, "parameters.least: expected an integer of at least 1, got 0"),
    "alone": ({"profiles": None}, "parameters: expected shares, profiles, measured_at together, or none"),
    "no share": (
        {"shares": {"shoes": 0}},
        "parameters.shares.shoes: expected a share above 0, up to 1, got 0",
    ),
    "empty": ({"shares": {}}, "parameters.shares: expected a map of 1 to 1,000 values to their shares"),
    "too much": (
        {"shares": {"a": 0.6, "b": 0.5}},
        "parameters.shares: expected shares of at most 1 together",
    ),
    "unknown": ({"window": "1d"}, "parameters.window: unknown key"),
}


@pytest.mark.parametrize("name", AFFINITY_MISTAKES)
def test_mistakes_in_an_affinity_are_refused(name: str) -> None:
    changed, reason = AFFINITY_MISTAKES[name]
    form = affinity(**changed)
    form["parameters"] = {key: each for key, each in form["parameters"].items() if each is not None}
    with pytest.raises(DefinitionError) as raised:
        read_model(form, "a.json")
    assert reason in str(raised.value)
    assert Draft202012Validator(model_schema()).is_valid(form) is (name == "too much")


@pytest.mark.parametrize("shares", [{"hats": 0.4, "ü": 0.6}, None])
def test_affinity_is_read_as_written(shares: Any) -> None:
    form = affinity(of=["View", "Buy"], path="products.category", shares=shares, values=7, least=2)
    Draft202012Validator(model_schema()).validate(form)
    model = read_model(form, "a.json")
    found = model.parameters
    assert isinstance(found, AffinityParameters) and model.scores == ("affinity.category",)
    assert (found.names, found.path, found.half_life_ms) == (
        ("Buy", "View"),
        ("products", "category"),
        86_400_000,
    )
    assert found.shares == (tuple(shares.items()) if shares else ())
    assert read_model(written(model), "a.json").parameters == found


def test_affinity_reads_nothing_that_is_forbidden() -> None:
    for forbidden in ("event.View", "property.category"):
        with pytest.raises(
            DefinitionError, match=f"parameters: the affinity reads {forbidden}, which forbid"
        ):
            read_model({**affinity(), "forbid": [forbidden]}, "a.json")
    assert read_model({**affinity(), "forbid": ["property.cat", "trait.category"]}, "a.json").is_ready
