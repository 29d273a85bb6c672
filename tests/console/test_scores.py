"""Scores in the builder: which are offered, what a draft with one means, and the model that is published."""

from __future__ import annotations

from typing import Any

import pytest

from segops.console.drafts import checking, publishing
from segops.console.drafts.scores import models_of_board, scores_form
from segops.schemas.segments import definition_from_record
from tests.console.drafting import Board
from tests.console.helpers import Browser, serve
from tests.console.test_models import OWN
from tests.core import models as forms
from tests.core.models import models_of

RULE = "key: leaving\nwhen: {score: churn_risk, is: {gte: 0.8}}"
KEEN = {"name": "orders", "figure": {"did": "Order", "within": "30d"}}


def states(found: list[dict[str, Any]]) -> dict[str, str]:
    return {each["name"]: each["state"] for each in found}


def test_scores_are_offered_with_the_state_of_their_models() -> None:
    unready = {"status": "not_enough_data", "reasons": ["99 orders"]}
    stale = forms.logistic("own", valid_until="2026-01-02T00:00:00Z")
    models = models_of(forms.buying(), forms.trees(**unready), stale)
    found = scores_form(models, {"declared": None}, 1_800_000_000_000)
    assert {
        name: state
        for name, state in states(found).items()
        if name in ("recency_days", "p_alive", "ltv_90d", "fraud", "own", "declared", "intent")
    } == {
        "recency_days": "ready",
        "p_alive": "ready",
        "ltv_90d": "no model",
        "fraud": "not enough data",
        "own": "stale",
        "declared": "no model",
        "intent": "no model",
    }
    order = [each["state"] for each in found]
    assert order.index("stale") == order.count("ready") and order[-1] == "no model"
    assert {each["name"] for each in found if each["range"]} == {
        *("p_alive", "churn_risk", "convert_24h", "convert_7d", "own")
    }
    assert states(scores_form(models, {}, 0))["own"] == "ready"
    assert states(scores_form(models_of(OWN), {}, 0))["mood"] == "not installed"


def test_a_draft_reads_published_models_that_no_segment_reads_yet() -> None:
    board = Board()
    without = checking.check(RULE, board.definitions, json=False, models=models_of_board(board, {}))
    assert [each.reason for each in without.warnings] == [
        "no model of buying yet: no customer has this score"
    ]
    board.publish(forms.buying())
    found = checking.check(RULE, board.definitions, json=False, models=models_of_board(board, {}))
    assert (found.warnings, found.errors) == ([], [])
    assert found.definition is not None and found.definition.models is not None
    assert found.definition.models["buying"]["version"] == 1


def test_a_model_that_cannot_be_read_is_left_out() -> None:
    board = Board()
    board.publish(forms.buying())
    board.models.apply(b"fraud|1", b"{}")
    assert [*models_of_board(board, {})] == ["buying"]


def test_a_draft_is_published_with_the_models_in_force() -> None:
    board = Board()
    board.publish(forms.buying())
    found = checking.check(RULE, board.definitions, json=False, models=models_of_board(board, {}))
    board.publish(forms.buying(r=0.5))
    (change,) = publishing.decide(publishing.Edit(found, ""), board.log())
    assert change.record is not None
    written = definition_from_record(change.record)
    assert written is not None and written.models is not None
    assert written.models["buying"]["version"] == 2
    assert written.models["buying"]["parameters"]["r"] == 0.5


@pytest.mark.parametrize("name", ["buying", "<script>alert(1)</script>"])
def test_the_builder_has_the_scores_and_warns_of_missing_models(name: str) -> None:
    board = Board()
    board.publish(forms.logistic("keen", [KEEN], [1.0]))

    async def steps(browser: Browser) -> None:
        offered = (await browser.get("/builder.json")).json["catalogue"]["scores"]
        assert states(offered)["keen"] == "ready"
        draft = {"text": f"key: s\nwhen: {{score: {name!r}, is: {{gte: 0.5}}}}", "as_json": False}
        found = (await browser.post("/builder/check.json", draft, script=True)).json["data"]
        assert len(found["errors"]) == 1 and found["errors"][0]["at"] == ["segments", 0, "when", "score"]
        estimate = await browser.post("/builder/estimate.json", draft, script=True)
        assert estimate.status == 422

    serve(steps, board=board)
