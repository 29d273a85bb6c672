"""Predictions in requests: rules where a model gives the score, else questions as without one."""

from __future__ import annotations

from typing import Any

import pytest

from segops.core.errors import UserError
from segops.studio.catalogue import Kind, StudioCatalogue, read_kind
from segops.studio.live import scores_of
from segops.studio.propose import propose
from tests.core import models as forms
from tests.core.models import models_of

NOW_MS = 1_800_000_000_000
SHOP: dict[str, Any] = {
    "events": {"Order Completed": {"revenue": "EUR"}, "Product Viewed": {"category": "string"}},
    "traits": {"country": "iso2"},
    "rfm": ["champions", "at_risk"],
}
CALIBRATED = {"calibration": {"kind": "platt", "a": 1.0, "b": 0.0}}
MODELS = models_of(
    forms.buying(),
    forms.spending(),
    forms.logistic("convert_24h", **CALIBRATED),
    forms.logistic("convert_7d", **CALIBRATED),
)
FULL = StudioCatalogue.from_document({**SHOP, "scores": scores_of(MODELS.values(), "EUR")}, "live")
NONE = StudioCatalogue.from_document(SHOP, "live")
READ: list[tuple[str, dict[str, Any]]] = [
    ("likely to churn", {"score": "churn_risk", "is": {"gte": 0.5}}),
    ("at risk of leaving", {"score": "churn_risk", "is": {"gte": 0.5}}),
    ("80 % likely to churn", {"score": "churn_risk", "is": {"gte": 0.8}}),
    ("75 % likely to buy in 24 hours", {"score": "convert_24h", "is": {"gte": 0.75}}),
    ("more than 60 % likely to order in the next day", {"score": "convert_24h", "is": {"gt": 0.6}}),
    ("at least a 20% chance of buying within a week", {"score": "convert_7d", "is": {"gte": 0.2}}),
    ("likely to buy within 24 hours", {"score": "convert_24h", "is": {"gte": 0.5}}),
    ("expected to order again within 30 days", {"score": "next_order_at", "is": {"in_next": "30d"}}),
    ("lifetime value above 500", {"score": "ltv_365d", "is": {"gt": 500}}),
    ("lifetime value above 50 in the next 90 days", {"score": "ltv_90d", "is": {"gt": 50}}),
    ("expected orders in the next 30 days at least 2", {"score": "expected_orders_30d", "is": {"gte": 2}}),
    (
        "likely to churn and lifetime value above 500",
        {"all": [{"score": "churn_risk", "is": {"gte": 0.5}}, {"score": "ltv_365d", "is": {"gt": 500}}]},
    ),
]
#: What is not sure even with all models: no time, a time that no model has, or no number.
ASKED = (
    "75 % likely to buy",
    "75 % likely to buy in 48 hours",
    "likely to buy this week",
    "high churn risk",
    "churn risk",
    "predicted churn risk",
    "lifetime value",
    "probability of buying above 0.5",
    "expected orders above 2",
    "60 % likely to win",
)


@pytest.mark.parametrize(("sentence", "rule"), READ)
def test_a_prediction_is_a_rule_if_a_model_gives_the_score(sentence: str, rule: dict[str, Any]) -> None:
    found = propose(sentence, FULL, NOW_MS)
    assert (found.outcome, found.rule) == ("rule", rule)


@pytest.mark.parametrize("sentence", [sentence for sentence, _ in READ])
def test_without_the_model_it_is_asked(sentence: str) -> None:
    assert propose(sentence, NONE, NOW_MS).outcome in ("question", "refuse")


@pytest.mark.parametrize("sentence", ASKED)
def test_what_no_model_says_is_asked(sentence: str) -> None:
    assert propose(sentence, FULL, NOW_MS).outcome == "question"


def test_what_is_likely_is_asked_where_the_catalogue_does_not_say_it() -> None:
    plain = StudioCatalogue.from_document({**SHOP, "scores": {"churn_risk": "0..1"}}, "file")
    assert propose("likely to churn", plain, NOW_MS).outcome == "question"
    told = {**SHOP, "scores": {"churn_risk": {"kind": "0..1", "likely": 0.7}}}
    found = propose("likely to churn", StudioCatalogue.from_document(told, "file"), NOW_MS)
    assert found.rule == {"score": "churn_risk", "is": {"gte": 0.7}}


def test_models_that_are_not_ready_give_no_scores() -> None:
    unready = {"status": "not_better_than_chance", "reasons": ["AUC 0.5"]}
    models = models_of(forms.spending(), forms.logistic(**unready), forms.trees(link="logistic"))
    assert scores_of(models.values(), "EUR") == {
        "average_order_value_expected": "EUR",
        "fraud": {"kind": "0..1", "likely": 0.5},
    }
    both = scores_of(models_of(forms.buying(), forms.spending(currency="USD")).values(), "EUR")
    assert (both["ltv_90d"], both["expected_orders_30d"], both["next_order_at"]) == ("USD", "number", "date")


@pytest.mark.parametrize(
    "written",
    [
        {"kind": "number", "likely": 0.5},
        {"kind": "0..1", "likely": 0},
        {"kind": "0..1", "likely": 1.5},
        {"kind": "0..1", "likely": True},
        {"kind": "0..1", "likely": "half"},
        {"kind": "0..1"},
    ],
)
def test_a_wrong_kind_of_a_score_is_refused(written: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"file.scores.churn_risk"):
        StudioCatalogue.from_document({**SHOP, "scores": {"churn_risk": written}}, "file")
    assert read_kind({"kind": "0..1", "likely": 1}) == Kind("probability", likely=1.0)
