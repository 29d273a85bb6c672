"""Model files: what is read of them, and the mistakes that are refused."""

from __future__ import annotations

from copy import deepcopy
from math import inf, nan
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from segops.core.errors import DefinitionError
from segops.core.rules.parsing import figure_names
from segops.core.scoring.models import BuyingParameters, Isotonic, TreesParameters, WeightedParameters
from segops.schemas.json_schema_models import model_schema
from segops.schemas.models import read_model, read_models, written

BUYING: dict[str, Any] = {
    "name": "buying",
    "kind": "bg-nbd",
    "version": 3,
    "fitted_at": "2026-11-27T08:00:00Z",
    "valid_until": "2027-02-27T00:00:00Z",
    "parameters": {"r": 0.243, "alpha": 31.0, "a": 0.793, "b": 2.426},
    "trained_on": {"customers": 2357, "source": "orders.csv"},
    "quality": {"log_likelihood": -9582.4},
}
CONVERT: dict[str, Any] = {
    "name": "convert_24h",
    "kind": "logistic",
    "fitted_at": "2026-11-27",
    "features": [
        {
            "name": "views",
            "figure": {"did": "View", "within": "24h"},
            "transform": "log1p",
            "mean": 0.4,
            "scale": 1.2,
        },
        {"name": "plan", "figure": {"trait": "plan.tier"}, "transform": "present", "missing": 1},
    ],
    "parameters": {"intercept": -3.1, "weights": {"views": 0.7, "plan": -0.2}},
    "calibration": {"kind": "isotonic", "points": [[0.0, 0.01], [0.5, 0.4], [1.0, 0.9]]},
}
TREES: dict[str, Any] = {
    "name": "fraud",
    "kind": "trees",
    "fitted_at": "2026-11-27",
    "features": [{"name": "views", "figure": {"did": "View", "within": "24h"}}],
    "trees": [
        {
            "feature": [0, -2, -2],
            "threshold": [2.5, -2, -2],
            "left": [1, -1, -1],
            "right": [2, -1, -1],
            "value": [0, 1, 7],
        }
    ],
    "link": "logistic",
}


OWN: dict[str, Any] = {
    "name": "mood",
    "kind": "python",
    "fitted_at": "2026-11-27T08:00:00Z",
    "scorer": "acme_mood",
    "features": [{"name": "views", "figure": {"did": "View", "within": "24h"}}],
    "parameters": {"weights": [1, 0.5], "zone": "UTC"},
}


def _changed(form: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    form = deepcopy(form)
    *keys, last = path.split(".")
    at: Any = form
    for key in keys:
        at = at[int(key) if key.isdigit() else key]
    if value is ...:
        del at[int(last) if last.isdigit() else last]
    else:
        at[int(last) if last.isdigit() else last] = value
    return form


def test_models_of_each_kind_are_read() -> None:
    buying, convert, trees = (read_model(form, "m.json") for form in (BUYING, CONVERT, TREES))
    assert isinstance(buying.parameters, BuyingParameters)
    assert (buying.parameters.buying.alpha, buying.version, buying.is_ready) == (31.0, 3, True)
    assert "p_alive" in buying.scores
    assert isinstance(convert.parameters, WeightedParameters)
    assert convert.parameters.weights == (0.7, -0.2)
    assert convert.parameters.calibration == Isotonic(((0.0, 0.01), (0.5, 0.4), (1.0, 0.9)))
    assert convert.scores == ("convert_24h", "intent")
    assert isinstance(trees.parameters, TreesParameters)
    assert trees.parameters.trees[0].tested == (0, -1, -1)
    assert trees.parameters.logistic


@pytest.mark.parametrize("form", [BUYING, CONVERT, TREES, OWN])
def test_the_written_form_reads_as_the_same_model(form: dict[str, Any]) -> None:
    model = read_model(form, "m.json")
    assert written(model).items() >= form.items()
    again = read_model(written(model), "m.json")
    assert (again.parameters, again.version) == (model.parameters, model.version)


WRONG = [
    (BUYING, "kind", "lstm", "kind: unknown kind 'lstm'; expected one of bg-nbd"),
    (BUYING, "name", "churn", "name: a model of kind bg-nbd is named buying, got 'churn'"),
    (CONVERT, "name", "buying", "name: the model 'buying' is of kind bg-nbd or mbg-nbd, got logistic"),
    (TREES, "name", "convert_7d", "name: the model 'convert_7d' is of kind logistic, got trees"),
    (TREES, "name", "p_alive", "name: 'p_alive' is a score of other models"),
    (TREES, "name", "Fraud!", "name: expected a name of at most 64"),
    (BUYING, "parameters.r", nan, "parameters.r: expected a number above 0, got nan"),
    (BUYING, "parameters.r", inf, "parameters.r: expected a number above 0, got inf"),
    (BUYING, "parameters.r", 0, "parameters.r: expected a number above 0, got 0"),
    (BUYING, "parameters.r", True, "parameters.r: expected a number above 0, got True"),
    (BUYING, "parameters.r", ..., "parameters: expected a map with r, alpha, a and b"),
    (BUYING, "parameters.gap_shape", 2, "parameters: expected gap_shape and gap_scale together"),
    (BUYING, "parameters", ..., "parameters: expected a map with r, alpha, a and b"),
    (BUYING, "quality.auc", nan, "quality: expected finite numbers, got nan"),
    (BUYING, "version", -1, "version: expected an integer of at least 0, got -1"),
    (BUYING, "fitted_at", "soon", "fitted_at: expected an ISO-8601 date or time, got 'soon'"),
    (BUYING, "fitted_at", ..., "fitted_at: expected an ISO-8601 date or time, got None"),
    (BUYING, "status", "fine", "status: expected one of ready, not_enough_data"),
    (BUYING, "status", "not_enough_data", "reasons: missing key: say why the model is not_enough_data"),
    (BUYING, "pickle", "gASV", "pickle: unknown key for a model of kind bg-nbd"),
    (BUYING, "trees", [], "trees: unknown key for a model of kind bg-nbd"),
    (CONVERT, "parameters.weights.clicks", 1, "parameters.weights.clicks: unknown feature 'clicks'"),
    (CONVERT, "parameters.weights.views", ..., "parameters.weights: missing weight of the feature 'views'"),
    (
        CONVERT,
        "features.0.figure",
        {"score": "recency_days"},
        "features[0].figure: expected a figure over events",
    ),
    (CONVERT, "features.0.figure", {"did": "View", "within": 5}, "features[0].figure.within: expected a"),
    (CONVERT, "features.0.transform", "sqrt", "features[0].transform: expected one of none, log1p"),
    (CONVERT, "features.0.scale", 0, "features[0].scale: expected a number above 0, got 0"),
    (CONVERT, "features.1.name", "views", "features[1].name: duplicate feature 'views'"),
    (CONVERT, "calibration", {"kind": "beta"}, "calibration: expected a calibration"),
    (CONVERT, "calibration", {"kind": "platt", "a": -1, "b": 0}, "calibration.a: expected a number above 0"),
    (
        CONVERT,
        "calibration.points",
        [[0.5, 0.5], [0.5, 0.6]],
        "calibration.points: expected points with rising x",
    ),
    (CONVERT, "calibration.points", [[0.5, 2]], "calibration.points[0]: expected two numbers from 0 to 1"),
    (
        CONVERT,
        "forbid",
        ["trait.plan"],
        "features[1].figure: the feature 'plan' reads trait.plan.tier, which forbid",
    ),
    (TREES, "trees.0.left", [0, -1, -1], "trees[0]: node 0: expected children after it, up to 2, got (0, 2)"),
    (TREES, "trees.0.feature", [1, -1, -1], "trees[0].feature[0]: expected a whole number up to 0"),
    (TREES, "trees.0.value", [1], "trees[0].value: expected 3 values, one for each node, got 1"),
    (TREES, "trees.0.threshold", [nan, 0, 0], "trees[0].threshold[0]: expected a number, got nan"),
    (TREES, "link", "log", "link: expected one of identity, logistic"),
    (OWN, "scorer", "Acme!", "scorer: expected the name of a scorer"),
    (OWN, "scorer", ..., "scorer: expected the name of a scorer"),
    (
        OWN,
        "features",
        ...,
        "features: missing figures of the scorer: the scorer 'acme_mood' is not installed",
    ),
    (OWN, "features.0.transform", "log1p", "features[0].transform: unknown key"),
    (OWN, "parameters", [1], "parameters: expected a map, got [1]"),
    (OWN, "parameters.weights", [inf], "parameters: expected what JSON can hold"),
    (OWN, "name", "convert_24h", "name: the model 'convert_24h' is of kind logistic, got python"),
    (OWN, "trees", [], "trees: unknown key for a model of kind python"),
    (OWN, "forbid", ["event.View"], "features[0].figure: the feature 'views' reads event.View, which forbid"),
]


@pytest.mark.parametrize(("form", "path", "value", "reason"), WRONG)
def test_a_mistake_is_named_with_file_and_path(
    form: dict[str, Any], path: str, value: Any, reason: str
) -> None:
    with pytest.raises(DefinitionError) as caught:
        read_model(_changed(form, path, value), "m.json")
    assert any(str(issue).startswith(f"m.json: {reason}") for issue in caught.value.issues), str(caught.value)


def test_a_model_that_is_not_ready_needs_no_parameters_and_says_why() -> None:
    form = _changed(BUYING, "parameters", ...) | {"status": "not_enough_data", "reasons": ["2 customers"]}
    model = read_model(form, "m.json")
    assert not model.is_ready
    assert model.reasons == ("2 customers",)


@pytest.mark.parametrize("raw", [None, [], "pickle", {"name": 5, "kind": "trees"}, {"name": "x", "kind": []}])
def test_what_is_no_model_is_refused(raw: Any) -> None:
    with pytest.raises(DefinitionError, match=r"m\.json"):
        read_model(raw, "m.json")


def test_the_models_of_a_definition_have_their_own_names() -> None:
    assert list(read_models({"buying": BUYING}, "segments")) == ["buying"]
    with pytest.raises(DefinitionError, match=r"segments: models\.spending\.name: expected 'spending'"):
        read_models({"spending": BUYING}, "segments")
    with pytest.raises(DefinitionError, match=r"models\.buying\.parameters\.r: expected a number above 0"):
        read_models({"buying": _changed(BUYING, "parameters.r", 0)}, "segments")


def test_what_a_feature_reads_has_names() -> None:
    form = {
        "ratio": {
            "of": {"sum": "total", "of": "Buy", "where": {"context.app.name": "shop", "colour": "red"}},
            "to": {"trait": "age"},
        }
    }
    raw = _changed(CONVERT, "features.0.figure", form)
    parameters = read_model(raw, "m.json").parameters
    assert isinstance(parameters, WeightedParameters)
    assert figure_names(parameters.inputs[0].figure) == [
        "context.app.name",
        "event.Buy",
        "property.colour",
        "property.total",
        "trait.age",
    ]


@pytest.mark.parametrize("form", [BUYING, CONVERT, TREES, OWN])
def test_the_schema_accepts_what_is_read(form: dict[str, Any]) -> None:
    Draft202012Validator(model_schema()).validate(form)


#: Mistakes of one place, which the schema finds, too.
_LOCAL = ("parameters.r", "kind", "pickle", "calibration", "link", "scorer")


@pytest.mark.parametrize(
    ("form", "path", "value"), [case[:3] for case in WRONG if case[1] in _LOCAL and case[2] == case[2] != inf]
)
def test_the_schema_rejects_mistakes_of_one_place(form: dict[str, Any], path: str, value: Any) -> None:
    assert not Draft202012Validator(model_schema()).is_valid(_changed(form, path, value))
