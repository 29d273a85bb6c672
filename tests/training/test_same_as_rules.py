"""What a model is fitted on is what a rule's score is computed from: no skew between training and serving."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from segops.core.rules.execution import figure_value
from segops.core.rules.figures import PublishedFigure, ScoreFigure
from segops.core.rules.parsing import Context, read_rule
from segops.core.scoring.models import Model
from segops.core.segments import Definition, SegmentSet
from segops.replay import Replay
from segops.schemas.models import read_model
from segops.training.features import load_features
from segops.training.making import foretelling
from tests.rest import examples

from .helpers import DAY_MS, HOUR_MS, event, observer
from .test_gates import decisions, report

PLATT = {"kind": "platt", "a": 1.3, "b": -0.2}
ISOTONIC = {"kind": "isotonic", "points": [[0, 0.01], [0.4, 0.2], [1, 0.9]]}
NAMES = ["Product Viewed", "Product Added", "Order Completed", "page"]
STEPS = st.lists(
    st.tuples(
        st.integers(0, 3 * HOUR_MS) | st.integers(0, 9 * DAY_MS),
        st.sampled_from(NAMES),
        st.none() | st.sampled_from(["19.90", 5, -3, True, "x"]),
    ),
    min_size=1,
    max_size=12,
)


def model_of(weights: list[float], calibration: dict[str, Any]) -> Model:
    features = load_features(None)
    forms = [
        {"name": each.name, "figure": figure, "transform": each.transform, "missing": each.missing,
         "mean": 0.3 + number / 50, "scale": 0.7 + number / 30}
        for number, (each, figure) in enumerate(zip(features.inputs, features.figures, strict=True))
    ]  # fmt: skip
    named = {form["name"]: weights[number % len(weights)] for number, form in enumerate(forms)}
    form = {
        "name": "convert_24h",
        "kind": "logistic",
        "fitted_at": "2026-01-01T00:00:00Z",
        "features": forms,
        "parameters": {"intercept": -1.0, "weights": named},
        "calibration": calibration,
    }
    return read_model(form, "model")


def score_of(model: Model) -> ScoreFigure:
    """Return the score as a rule has it, bound to the model."""
    context = Context("-")
    context.models = {model.name: model}
    node = read_rule({"compare": [{"score": "convert_24h"}, "gt", 0.5]}, "when", context)
    return node.left  # type: ignore[union-attr]


@given(
    STEPS,
    st.lists(st.floats(-2, 2), min_size=3, max_size=7),
    st.sampled_from(
        [
            {"kind": "platt", "a": 1.3, "b": -0.2},
            {"kind": "isotonic", "points": [[0, 0.01], [0.4, 0.2], [1, 0.9]]},
        ]
    ),
    st.integers(0, 40 * DAY_MS),
)
@examples(6, of=200)
def test_the_trainer_and_the_rule_have_one_score(
    steps: list[tuple[int, str, Any]], weights: list[float], calibration: dict[str, Any], later_ms: int
) -> None:
    model = model_of(weights, calibration)
    score = score_of(model)
    definition = Definition("score", "", PublishedFigure(score))
    serving, trainer = (
        Replay(SegmentSet([definition]), wall_ms=10**13),
        observer(features=load_features(None)),
    )
    foretell = foretelling(model, trainer.inputs)
    assert foretell is not None
    at_ms = 400 * DAY_MS
    for number, (gap_ms, name, price) in enumerate(steps):
        at_ms += gap_ms
        properties = {} if price is None else {"price": price, "revenue": price}
        for feed in (lambda p, e: list(serving.apply(p, e)), trainer.event):
            feed("user_id:u", event(name, at_ms, number, **properties))
        for now_ms in (at_ms, at_ms + later_ms):
            vector = trainer.vector("user_id:u", now_ms)
            assert vector is not None
            served = figure_value(score, serving.profiles["user_id:u"], now_ms)
            assert foretell(vector) == float(served)


def test_a_model_of_other_features_says_nothing() -> None:
    model = model_of([1.0], PLATT)
    assert foretelling(model, observer().inputs) is None


def test_the_model_of_a_report_is_what_was_measured() -> None:
    found, trainer = report(decisions()), observer()
    foretell = foretelling(read_model(found.model, "model"), trainer.inputs)
    assert foretell is not None and found.measured is not None
    cut = found.measured.rows
    rows = sorted(decisions(), key=lambda each: (each.at_ms, each.profile, each.mark))[-cut:]
    brier = sum((foretell(each.vector) - each.observed) ** 2 for each in rows) / cut
    assert abs(brier - found.measured.brier) < 0.003
