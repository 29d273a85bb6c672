"""Rules that read scores of models: values, crossings by time alone, definitions and their versions."""

from __future__ import annotations

from fractions import Fraction
from math import exp
from random import Random
from typing import Any

import msgspec
import pytest

from segops.core.engine import Engine
from segops.core.errors import DefinitionError
from segops.core.events import Event
from segops.core.features.orders import Purchases
from segops.core.features.purchases import LIFETIME_MS, LifetimeOrders
from segops.core.profile import Profile
from segops.core.rules.execution import figure_value
from segops.core.rules.figures import ScoreFigure
from segops.core.rules.model import ScoreNode
from segops.core.rules.scores import scored
from segops.core.scoring.buying import Buying, History
from segops.core.scoring.spending import Spending, lifetime_value
from segops.core.segments import Definition, SegmentSet, version_after
from segops.core.survey import Survey
from segops.core.views.explain import explain
from segops.core.views.scores import score_details
from segops.fitting.histories import Order, histories
from segops.schemas.segment_reading import Reading
from segops.schemas.segments import definition_from_record, definition_to_record, inline
from segops.testing import Flip, flips

from .helpers import MONDAY as T
from .models import buying, logistic, models_of, spending, trees

DAY = 86_400_000
RISKY = {"score": "churn_risk", "is": {"gte": 0.5}}


def read(when: dict[str, Any], *forms: dict[str, Any], **blocks: Any) -> Definition:
    """Return the definition of a segment under these models."""
    return inline([{"key": "rule", "when": when}], "test", "segments", models=models_of(*forms), **blocks)[0]


class Shopper:
    """A customer under one rule."""

    def __init__(self, when: dict[str, Any], *forms: dict[str, Any], **blocks: Any) -> None:
        self.definition = read(when, *forms, **blocks)
        self.engine = Engine(SegmentSet([self.definition]))
        self.profile: Profile = self.engine.new_profile("user_id:u1")
        self._messages = 0

    def did(self, name: str, at_ms: int, **properties: Any) -> list[Flip]:
        """Apply an event."""
        self._messages += 1
        event = Event(name, at_ms, f"m{self._messages}", properties)
        return flips(self.engine.on_event(self.profile, event, clock_ms=at_ms))

    def ordered(self, at_ms: int, revenue: float = 10.0) -> list[Flip]:
        """Apply an order."""
        return self.did("Order Completed", at_ms, order_id=f"o{self._messages}", revenue=revenue)

    def wait(self, until_ms: int) -> list[Flip]:
        """Let time pass."""
        return flips(self.engine.on_timer(self.profile, clock_ms=until_ms))


def value(name: str, shopper: Shopper, now_ms: int, *forms: dict[str, Any]) -> Any:
    """Return the value of a score of the customer."""
    return figure_value(ScoreFigure(name, scored(name, models_of(*forms))), shopper.profile, now_ms)


def test_churn_risk_crosses_by_time_alone_at_the_first_millisecond() -> None:
    shopper = Shopper(RISKY, buying())
    for day in (0, 10, 22, 30):
        shopper.ordered(T + day * DAY + 5_000)
    due = shopper.profile.due_ms
    assert due is not None
    model, first, last = Buying(0.243, 31.0, 0.793, 2.426), T, 30.0

    def risk(at_ms: int) -> float:
        return round(1 - round(model.p_alive(History(3, last, (at_ms - first) / DAY)), 9), 9)

    assert risk(due - 1) < 0.5 <= risk(due)
    assert shopper.wait(due - 1) == []
    assert shopper.wait(due) == [Flip("entered", "rule", due)]
    assert shopper.ordered(due + DAY) == [Flip("exited", "rule", due + DAY)]


def test_a_definition_carries_the_models_that_its_rule_reads_and_no_others() -> None:
    models = (buying(version=3), spending(), logistic(), trees())
    definition = read(RISKY, *models)
    assert list(definition.models) == ["buying"]
    assert list(read({"score": "ltv_90d", "is": {"gte": 5}}, *models).models) == ["buying", "spending"]
    assert list(read({"score": "intent", "is": {"gte": 5}}, *models).models) == ["convert_24h"]
    assert read({"did": "page"}, *models).models is None
    again = definition_from_record(definition_to_record(definition))
    assert again is not None
    assert (again.when, again.identity, again.models) == (
        definition.when,
        definition.identity,
        definition.models,
    )


def test_a_new_model_is_a_new_version_and_a_refit_with_the_same_parameters_is_none() -> None:
    old, same = read(RISKY, buying()), read(RISKY, buying(version=4, quality={"auc": 0.7}))
    new = read(RISKY, buying(a=0.9))
    assert [version_after(old, each) for each in (old, same, new)] == [1, 1, 2]
    record = definition_to_record(old)
    replaced = definition_from_record(record, models=models_of(buying(a=0.9)))
    assert replaced is not None
    assert replaced.identity == new.identity


@pytest.mark.parametrize("when", [RISKY, {"all": [RISKY, {"did": "Order Completed"}]}])
def test_changes_by_a_new_model_have_the_reason_score(when: dict[str, Any]) -> None:
    old, new = (read(when, buying(alpha=alpha)) for alpha in (31.0, 900.0))
    new = msgspec.structs.replace(new, version=2)
    shopper = Shopper(when, buying())
    for day in range(4):
        shopper.ordered(T + day * DAY)
    assert [flip.action for flip in shopper.wait(T + 400 * DAY)] == ["entered"]
    former = SegmentSet([old])
    shopper.profile.evaluated_by = former.version
    engine = Engine(SegmentSet([new], former))
    result = engine.on_definitions(shopper.profile, clock_ms=T + 400 * DAY)
    assert [(change.action, change.reason) for change in result.changes] == [("exited", "score")]


def test_a_segment_that_refers_to_one_with_a_new_model_has_the_reason_score_too() -> None:
    refers = inline([{"key": "other", "when": {"in_segment": "rule"}}], "test", "segments")[0]
    former = SegmentSet([read(RISKY, buying()), refers])
    changed = msgspec.structs.replace(read(RISKY, buying(alpha=900.0)), version=2)
    engine, profile = Engine(former), Engine(former).new_profile("user_id:u1")
    for day in range(4):
        event = Event("Order Completed", T + day * DAY, f"m{day}", {"order_id": str(day)})
        engine.on_event(profile, event, clock_ms=event.time_ms)
    engine.on_timer(profile, clock_ms=T + 400 * DAY)
    assert profile.members.keys() == {"rule", "other"}
    result = Engine(SegmentSet([changed, refers], former)).on_definitions(profile, clock_ms=T + 400 * DAY)
    assert [(change.segment_key, change.reason) for change in result.changes] == [
        ("rule", "score"),
        ("other", "score"),
    ]


def test_an_edit_beside_a_new_model_has_the_reason_definition() -> None:
    shopper = Shopper(RISKY, buying())
    for day in range(4):
        shopper.ordered(T + day * DAY)
    shopper.wait(T + 400 * DAY)
    former = SegmentSet([shopper.definition])
    shopper.profile.evaluated_by = former.version
    edited = read({"score": "churn_risk", "is": {"gte": 0.999999}}, buying(alpha=900.0))
    engine = Engine(SegmentSet([edited], former))
    result = engine.on_definitions(shopper.profile, clock_ms=T + 400 * DAY)
    assert [(change.action, change.reason) for change in result.changes] == [("exited", "definition")]


def test_a_standard_score_needs_no_declaration_and_is_missing_without_a_model() -> None:
    shopper = Shopper({"not": {"score": "p_alive", "is": {"exists": True}}})
    assert shopper.ordered(T) == [Flip("entered", "rule", T)]
    unready = buying(status="not_enough_data", reasons=["2 customers with orders, at least 500 are needed"])
    shopper = Shopper({"score": "p_alive", "is": {"exists": False}}, unready)
    assert shopper.ordered(T) == [Flip("entered", "rule", T)]
    with pytest.raises(DefinitionError, match="unknown score 'fraud'"):
        read({"score": "fraud", "is": {"gte": 1}})
    assert read({"score": "fraud", "is": {"gte": 1}}, trees()).models["fraud"]["kind"] == "trees"


def test_a_score_of_figures_moves_with_windows_and_whole_days() -> None:
    shopper = Shopper({"score": "convert_24h", "is": {"gte": 0.5}}, logistic())
    # The log-odds are -0.5 + 1.5 (log(1 + views) - 0.5) / 2: above 0 from the third view on.
    assert [shopper.did("View", T + at) for at in range(2)] == [[], []]
    assert shopper.did("View", T + 2) == [Flip("entered", "rule", T + 2)]
    assert shopper.profile.due_ms == T + DAY
    assert shopper.wait(T + 3 * DAY) == [Flip("exited", "rule", T + DAY)]


@pytest.mark.parametrize(
    ("test", "day"),
    [({"lt": 0.3}, 2), ({"lte": 0.2}, 4), ({"between": [0.1, 0.15]}, 5), ({"lt": 0.001}, None)],
)
def test_a_score_of_days_crosses_at_the_first_whole_day(test: dict[str, Any], day: int | None) -> None:
    idle = {"name": "idle", "figure": {"days_since_last": "View"}}
    model = logistic(
        features=[idle], weights=[-0.3], parameters={"intercept": -0.3, "weights": {"idle": -0.3}}
    )
    shopper = Shopper({"score": "convert_24h", "is": test}, model)
    shopper.did("View", T + 7)
    due = shopper.profile.due_ms
    if day is None:
        found = shopper.wait(T + 30 * DAY)
        assert [flip.occurred_at for flip in found] == [T + 7 + 23 * DAY]
    else:
        assert due == T + 7 + day * DAY


def test_intent_is_the_conversion_now_over_the_usual_one() -> None:
    shopper = Shopper({"score": "intent", "is": {"gte": 1.5}}, logistic())
    for day in range(5):
        shopper.did("View", T + day * DAY)
    for at in range(10):
        shopper.did("View", T + 4 * DAY + 60_000 + at)
    now_ms = T + 4 * DAY + 60_009
    model = logistic()
    forms = [
        {**model["features"][0], "figure": {"did": "View", "between": {"from": f"{d + 1}d", "to": f"{d}d"}}}
        for d in range(1, 8)
    ]
    usual = [
        value("convert_24h", shopper, now_ms, logistic(features=[form, *model["features"][1:]]))
        for form in forms
    ]
    base = sum(each / 2**day for day, each in enumerate(usual)) / sum(1 / 2**day for day in range(7))
    now = value("convert_24h", shopper, now_ms, model)
    found = value("intent", shopper, now_ms, model)
    assert float(found) == pytest.approx(float(now / base), abs=1e-6)
    assert float(found) > 1.5
    assert shopper.profile.members.keys() == {"rule"}


def test_the_next_order_is_a_date() -> None:
    shopper = Shopper({"score": "next_order_at", "is": {"in_next": "7d"}}, buying())
    shopper.ordered(T)
    shopper.ordered(T + 30 * DAY)
    gap_days = (60.0 + 30.0) / (2.5 + 1 - 1)
    at = T + 30 * DAY + int(gap_days * DAY)
    assert shopper.wait(T + 100 * DAY) == [
        Flip("entered", "rule", at - 7 * DAY),
        Flip("exited", "rule", at),
    ]


def test_models_that_are_stale_or_not_ready_say_so() -> None:
    shopper = Shopper(RISKY, buying(valid_until="2025-10-20T00:00:00Z"))
    shopper.ordered(T)
    for now_ms, stale in ((T + DAY, False), (T + 10 * DAY, True)):
        note = explain(shopper.engine.segments, shopper.profile, now_ms).segments[0].rule.note
        assert note is not None
        assert note.startswith("churn_risk: x 0, t_x 0, T ")
        assert ("the model is stale since 2025-10-20T00:00:00.000Z" in note) is stale
    shopper = Shopper(RISKY, buying(status="not_enough_data", reasons=["2 customers"]))
    shopper.ordered(T)
    rule = explain(shopper.engine.segments, shopper.profile, T).segments[0].rule
    assert rule.note == "the model of churn_risk is not_enough_data: 2 customers"


def test_contributions_add_up_to_the_log_odds() -> None:
    shopper = Shopper({"score": "convert_24h", "is": {"gte": 0.99}}, logistic())
    shopper.did("View", T)
    now_ms = T + 2 * DAY
    node = shopper.definition.when
    assert isinstance(node, ScoreNode)
    details = score_details(node, shopper.profile, now_ms)
    assert details is not None
    total = -0.5 + sum(each.adds for each in details.contributions)
    assert float(value("convert_24h", shopper, now_ms, logistic())) == pytest.approx(
        1 / (1 + exp(-total)), abs=1e-8
    )
    assert [(each.name, each.value) for each in details.contributions] == [
        ("views", 0),
        ("idle", 2),
        ("plan", None),
    ]


def test_a_published_score_needs_change_by_and_is_published_at_the_first_millisecond() -> None:
    block = {"risk": {"score": "churn_risk"}}
    with pytest.raises(DefinitionError, match=r"indicators\.risk: missing change_by"):
        _published(block)
    definition = _published({"risk": {"score": "churn_risk", "change_by": 0.1}})
    engine = Engine(SegmentSet([definition]))
    profile = engine.new_profile("user_id:u1")
    for at in (0, 20):
        event = Event("Order Completed", T + at * DAY, f"m{at}", {"order_id": str(at), "revenue": 5})
        first = engine.on_event(profile, event, clock_ms=event.time_ms).values
    model = Buying(0.243, 31.0, 0.793, 2.426)
    known = profile.published["indicator:risk"].value
    assert first
    for _ in range(3):
        due = profile.due_ms
        assert due is not None
        risks = [round(1 - model.p_alive(History(1, 20.0, (at - T) / DAY)), 9) for at in (due - 1, due)]
        assert Fraction(str(risks[0])) - Fraction(str(known)) < Fraction(1, 10)
        assert Fraction(str(risks[1])) - Fraction(str(known)) >= Fraction(1, 10)
        (published,) = engine.on_timer(profile, clock_ms=due).values
        assert published.value == risks[1]
        known = published.value


def _published(block: dict[str, Any]) -> Definition:
    reading = Reading("test", [], [])
    reading.use_models(None, models_of(buying()))
    reading.use_indicators(block)
    reading.publish_indicators()
    if reading.issues:
        raise DefinitionError(reading.issues)
    return reading.published[0]


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        ({"compare": [{"score": "p_alive"}, "gt", {"score": "churn_risk"}]}, "at most one score"),
        ({"compare": [{"score": "p_alive"}, "gt", {"days_since_last": "View"}]}, "at most one score"),
        (
            {"ratio": {"of": {"score": "ltv_90d"}, "to": {"score": "p_alive"}, "is": {"gt": 1}}},
            "at most one score",
        ),
        (
            {"compare": [{"ratio": {"of": {"score": "p_alive"}, "to": {"did": "View"}}}, "gt", 1]},
            "expected no score",
        ),
    ],
)
def test_at_most_one_figure_of_a_node_moves_by_itself(when: dict[str, Any], reason: str) -> None:
    with pytest.raises(DefinitionError, match=reason):
        read(when, buying(), spending())


def test_profiles_have_the_histories_that_models_are_fitted_on() -> None:
    random = Random(7)
    for _ in range(20):
        times = sorted(T + random.randrange(60 * DAY) for _ in range(random.randint(1, 9)))
        amounts = [random.choice([0.0, 5.0, 12.5, 80.0]) for _ in times]
        until_ms = T + 61 * DAY
        orders = [Order("u1", at, amount) for at, amount in zip(times, amounts, strict=True)]
        (fitted,) = histories(orders, until_ms)
        shopper = Shopper({"score": "ltv_90d", "is": {"gte": 0}}, buying(), spending())
        for at, amount in zip(times, amounts, strict=True):
            shopper.ordered(at, amount)
        (state,) = shopper.profile.features.values()
        found = LifetimeOrders(Purchases(LIFETIME_MS)).read(state, until_ms)
        assert History(found.repeats, found.last, found.age(until_ms)) == fitted.history
        priced, total = found.spent()
        assert priced == fitted.priced
        assert (float(total) / priced if priced else 0.0) == pytest.approx(fitted.mean)
        expected = lifetime_value(
            Buying(0.243, 31.0, 0.793, 2.426),
            fitted.history,
            Spending(6.25, 3.74, 15.44).expected_order_value(fitted.priced, fitted.mean),
            days=90,
            monthly_discount=1.1 ** (1 / 12) - 1,
        )
        score = value("ltv_90d", shopper, until_ms, buying(), spending())
        assert float(score) == pytest.approx(expected, abs=1e-6)


def test_the_survey_knows_what_the_features_of_a_model_read() -> None:
    survey = Survey([read({"score": "convert_24h", "is": {"gte": 0.5}}, logistic())])
    assert list(survey.names_never_met()) == ["no event is named View"]
    assert list(survey.paths_never_met()) == ["no event has the trait plan"]
    survey.observe(Event("View", T, "m1", {}, {"plan": "pro"}))
    assert [*survey.names_never_met(), *survey.paths_never_met()] == []
