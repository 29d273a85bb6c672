"""Model files of kind ``population``."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from segops.core.errors import DefinitionError
from segops.core.scoring.population import added, count_in, edges_of, populations_in
from segops.schemas.json_schema_models import model_schema
from segops.schemas.models import read_model, written
from segops.schemas.populations import MAX_BARS, written_population


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


@pytest.mark.parametrize("name", ["rfm.opens", "percentile.ltv_90d", "affinity.category"])
def test_names_of_populations(name: str) -> None:
    assert read_model({**_form(), "name": name}, "rfm.json").scores == (name,)
