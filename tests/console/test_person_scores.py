"""The scores on a person's page: values, curves, contributions, crossings; hidden from viewers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from segops import config
from segops.console.page import Role, User
from segops.console.people.handles import Names
from segops.console.people.scores import scores_data
from segops.core.engine import Engine
from segops.core.scoring.models import Model
from segops.core.segments import SegmentSet
from segops.core.views.score_views import ScoreView
from segops.core.views.scores import Contribution, ScoreDetails
from segops.schemas.segments import inline
from segops.testing import Customer
from tests.console.helpers import Browser
from tests.console.people import DAY, EDITOR, EVIL, NOON, VIEWER, with_people
from tests.core import models as forms
from tests.core.models import models_of

MODELS = models_of(forms.buying(valid_until="2026-02-01T00:00:00Z"), forms.logistic("keen"))
RULES: dict[str, Any] = {
    "leaving": {"score": "churn_risk", "is": {"gte": 0.8}},
    "keen": {"score": "keen", "is": {"gte": 0.99}},
    "rich": {"score": "ltv_90d", "is": {"gte": 50}},
}
BEA = "user_id:bea"


def customer(rules: dict[str, Any], models: Mapping[str, Model]) -> Customer:
    """Return a customer under segments that read scores of models."""
    found = Customer(NOON - 100 * DAY)
    written = [{"key": key, "when": rule} for key, rule in rules.items()]
    found.engine = Engine(SegmentSet(inline(written, "test", "segments", scores={"keen": {}}, models=models)))
    found.profile = found.engine.new_profile(BEA)
    return found


def bea() -> Customer:
    found = customer(RULES, MODELS)
    for day in (90, 40, 5):
        found.send("Order Completed", NOON - day * DAY, order_id=f"o{day}", revenue=20)
    found.send("View", NOON - 3_600_000)
    found.wait(NOON)
    return found


class OnlyNames:
    """Shows all, or hides all."""

    def __init__(self, *, masked: bool) -> None:
        self.masked = masked

    def value(self, value: object) -> object:
        return "•••" if self.masked and value not in (None, "") else value


def test_the_profile_has_scores_with_curves_and_crossings(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(browser: Browser) -> None:
        path = "/people/user_id%3Abea"
        found = (await browser.get(f"{path}.json?tab=profile", **EDITOR)).json
        scores = {each["name"]: each for each in found["part"]["scores"]}
        assert [*scores] == ["churn_risk", "ltv_90d", "keen"]
        risk, keen, value = scores["churn_risk"], scores["keen"], scores["ltv_90d"]
        assert len(risk["curve"]) == 31 and risk["curve"][0] == [NOON, risk["number"]]
        assert risk["value"].endswith(" %") and risk["stale"] and not keen["stale"]
        (crossing,) = risk["crossings"]
        assert (crossing["segment"], crossing["test"], crossing["holds"]) == ("leaving", "≥ 0.8", False)
        assert crossing["at_ms"] > NOON and crossing["href"] == "/segments/leaving"
        adds = [abs(each["adds"]) for each in keen["contributions"]]
        assert adds == sorted(adds, reverse=True) and len(adds) == 3
        assert value["value"] == "" and value["missing"] == "no model of it is published"
        assert {"name": "days from the first to the last one (t_x)", "value": "85"} in risk["facts"]
        text = (await browser.get(f"{path}?tab=profile", **EDITOR)).text
        assert "data-curve=" in text and "stale model" in text and "begins" in text

    with_people(steps, monkeypatch, people={BEA: bea()})


def test_viewers_see_no_value_of_a_score(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(browser: Browser) -> None:
        path = Names(config.load(), User("vic", Role.VIEWER, "proxy")).path(BEA)
        answer = await browser.get(f"{path}.json?tab=profile", **VIEWER)
        assert answer.status == 200
        risk, _, keen = answer.json["part"]["scores"]
        assert (risk["value"], risk["number"], risk["curve"], risk["ahead"]) == ("•••", None, [], "•••")
        assert {each["value"] for each in risk["facts"]} == {"•••"}
        assert {(each["adds"], each["share"]) for each in keen["contributions"]} == {(None, 0.0)}
        assert (await browser.get(f"{path}?tab=profile", **VIEWER)).status == 200

    with_people(steps, monkeypatch, people={BEA: bea()})


def test_hostile_scores_are_shown_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps(browser: Browser) -> None:
        text = (await browser.get("/people/user_id%3Abea?tab=profile", **EDITOR)).text
        assert "<script>alert" not in text and "alert(1)" in text

    evil = {**forms.logistic("keen"), "status": "not_better_than_chance", "reasons": [EVIL]}
    found = customer({"keen": RULES["keen"]}, models_of(evil))
    found.send("View", NOON - 1)
    found.wait(NOON)
    with_people(steps, monkeypatch, people={BEA: found})


@pytest.mark.parametrize("masked", [False, True])
def test_values_of_every_kind_are_written(masked: bool) -> None:
    details = ScoreDetails(
        "s", "ready", contributions=(Contribution(EVIL, None, 0.0), Contribution("b", "x", -2.0))
    )
    views = [
        ScoreView("next_order_at", "2026-04-01T00:00:00.000Z", (), (), None),
        ScoreView("ltv_90d", 1234.5, ((0, 1234.5), (1, 2.0)), (), details),
        ScoreView("own", 7, ((0, 7), (1, None)), (), None),
        ScoreView("none", None, (), (), None),
    ]
    found = scores_data(views, OnlyNames(masked=masked), NOON)  # type: ignore[arg-type] # it has what is read
    values = [each["value"] for each in found]
    assert values == (["•••"] * 3 + [""] if masked else ["2026-04-01T00:00:00.000Z", "1,234.50", "7", ""])
    assert [each["name"] for each in found[1]["contributions"]] == ["b", EVIL]
    assert [each["at_ms"] is None for each in found] == [masked, True, True, True]
