"""The scores of a profile as people see them: values, curves, contributions and the next crossing."""

from __future__ import annotations

from typing import Any

import pytest

from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.profile import Profile
from segops.core.rules.execution import compile_rule
from segops.core.segments import SegmentSet
from segops.core.views.score_views import DAY_MS, ScoreView, view_scores
from segops.schemas.segments import inline
from tests.core import models as forms
from tests.core.models import models_of

START_MS = 1_772_323_200_000
MODELS = models_of(
    forms.buying(), forms.logistic("keen"), forms.trees(status="not_enough_data", reasons=["few"])
)
RULES: dict[str, Any] = {
    "leaving": {"score": "churn_risk", "enter": {"gte": 0.8}, "exit": {"lt": 0.6}},
    "warm": {
        "all": [{"score": "keen", "is": {"gte": 0.5}}, {"score": "next_order_at", "is": {"exists": True}}]
    },
    "odd": {"compare": [{"score": "fraud"}, "gt", 1]},
}


def segments() -> SegmentSet:
    written = [{"key": key, "name": key.title(), "when": rule} for key, rule in RULES.items()]
    return SegmentSet(inline(written, "test", "segments", scores={"keen": {}, "fraud": {}}, models=MODELS))


def profile(of: SegmentSet) -> tuple[Profile, int]:
    """Return a customer with three orders, the last one ten days ago, and views of the last day."""
    engine, found = Engine(of), Profile("user_id:ann")
    now_ms = START_MS + 100 * DAY_MS
    for day in (0, 40, 90):
        at_ms = START_MS + day * DAY_MS
        engine.on_event(
            found,
            Event("Order Completed", at_ms, f"o{day}", {"order_id": day, "revenue": 20}),
            clock_ms=at_ms,
        )
    for number in range(3):
        at_ms = now_ms - (3 - number) * 3_600_000
        engine.on_event(found, Event("View", at_ms, f"v{number}", {}), clock_ms=at_ms)
    engine.on_timer(found, clock_ms=now_ms)
    return found, now_ms


def views(days: int = 60) -> dict[str, ScoreView]:
    found, now_ms = profile(of := segments())
    return {each.name: each for each in view_scores(of, found, now_ms, days=days)}


def test_each_score_has_its_value_and_a_curve_ahead() -> None:
    found, now_ms = profile(of := segments())
    shown = {each.name: each for each in view_scores(of, found, now_ms, days=60)}
    assert [*shown] == ["churn_risk", "next_order_at", "fraud", "keen"]
    risk = shown["churn_risk"]
    assert risk.curve[0] == (now_ms, risk.value) and risk.curve[-1][0] == now_ms + 60 * DAY_MS
    values = [value for _, value in risk.curve]
    assert len(values) == 31 and values == sorted(values) and values[0] < values[-1]
    assert isinstance(shown["next_order_at"].value, str) and shown["next_order_at"].curve == ()
    assert (shown["fraud"].value, shown["fraud"].curve) == (None, ())


def test_a_curve_is_what_the_score_becomes() -> None:
    found, now_ms = profile(of := segments())
    (at_ms, expected) = next(
        each for each in view_scores(of, found, now_ms, days=60) if each.name == "keen"
    ).curve[4]
    Engine(of).on_timer(found, clock_ms=at_ms)
    later = next(each for each in view_scores(of, found, at_ms, days=60) if each.name == "keen")
    assert later.value == expected
    assert len({value for _, value in later.curve}) > 1


def test_the_next_crossing_is_that_of_the_rule() -> None:
    found, now_ms = profile(of := segments())
    risk = next(each for each in view_scores(of, found, now_ms, days=60) if each.name == "churn_risk")
    enter, leave = risk.crossings
    assert (enter.segment_key, enter.name, enter.test, enter.holds) == ("leaving", "Leaving", "≥ 0.8", False)
    assert (leave.test, leave.holds) == ("< 0.6", True)
    assert enter.at_ms is not None and leave.at_ms is not None and now_ms < leave.at_ms < enter.at_ms
    entering = of.definitions[0].when.enter  # type: ignore[attr-defined] # a hysteresis
    rule = compile_rule("enter", entering, {})
    assert [rule.holds(found, at) for at in (enter.at_ms - 1, enter.at_ms)] == [False, True]


def test_details_say_what_a_score_is_computed_from() -> None:
    shown = views()
    risk, keen, fraud = (shown[name].details for name in ("churn_risk", "keen", "fraud"))
    assert risk is not None and risk.facts == {"x": 2, "t_x": 90.0, "T": 100.0}
    assert keen is not None and [each.name for each in keen.contributions] == ["views", "idle", "plan"]
    assert fraud is not None and (fraud.status, fraud.reasons) == ("not_enough_data", ("few",))


@pytest.mark.parametrize(("inputs", "points"), [(1, 31), (300, 11), (1_000, 4)])
def test_models_of_many_features_have_fewer_points(inputs: int, points: int) -> None:
    features = [{"name": f"f{n}", "figure": {"did": "View", "within": "24h"}} for n in range(inputs)]
    models = models_of(forms.logistic("big", features, [0.01] * inputs))
    written = [{"key": "s", "when": {"score": "big", "is": {"gte": 0.5}}}]
    of = SegmentSet(inline(written, "test", "segments", scores={"big": {}}, models=models))
    found, now_ms = profile(of)
    (view,) = view_scores(of, found, now_ms, days=30)
    assert len(view.curve) == points
