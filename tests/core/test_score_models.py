"""Rules that read scores of models: values, crossings by time alone, definitions and their versions."""

from __future__ import annotations

from typing import Any

import pytest

from segops.core.engine import Engine
from segops.core.errors import DefinitionError
from segops.core.events import Event
from segops.core.profile import Profile
from segops.core.rules.execution import figure_value
from segops.core.rules.figures import ScoreFigure
from segops.core.rules.scores import scored
from segops.core.scoring.buying import Buying, History
from segops.core.segments import Definition, SegmentSet, version_after
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

    def bought(self, at_ms: int, revenue: float = 10.0) -> list[Flip]:
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
        shopper.bought(T + day * DAY + 5_000)
    due = shopper.profile.due_ms
    assert due is not None
    model, first, last = Buying(0.243, 31.0, 0.793, 2.426), T, 30.0

    def risk(at_ms: int) -> float:
        return round(1 - model.p_alive(History(3, last, (at_ms - first) / DAY)), 9)

    assert risk(due - 1) < 0.5 <= risk(due)
    assert shopper.wait(due - 1) == []
    assert shopper.wait(due) == [Flip("entered", "rule", due)]
    assert shopper.bought(due + DAY) == [Flip("exited", "rule", due + DAY)]


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
    new = Definition(**{**{f: getattr(new, f) for f in new.__struct_fields__}, "version": 2})
    shopper = Shopper(when, buying())
    for day in range(4):
        shopper.bought(T + day * DAY)
    assert [flip.action for flip in shopper.wait(T + 400 * DAY)] == ["entered"]
    former = SegmentSet([old])
    shopper.profile.evaluated_by = former.version
    engine = Engine(SegmentSet([new], former))
    result = engine.on_definitions(shopper.profile, clock_ms=T + 400 * DAY)
    assert [(change.action, change.reason) for change in result.changes] == [("exited", "score")]


def test_an_edit_beside_a_new_model_has_the_reason_definition() -> None:
    shopper = Shopper(RISKY, buying())
    for day in range(4):
        shopper.bought(T + day * DAY)
    shopper.wait(T + 400 * DAY)
    former = SegmentSet([shopper.definition])
    shopper.profile.evaluated_by = former.version
    edited = read({"score": "churn_risk", "is": {"gte": 0.999999}}, buying(alpha=900.0))
    engine = Engine(SegmentSet([edited], former))
    result = engine.on_definitions(shopper.profile, clock_ms=T + 400 * DAY)
    assert [(change.action, change.reason) for change in result.changes] == [("exited", "definition")]


def test_a_standard_score_needs_no_declaration_and_is_missing_without_a_model() -> None:
    shopper = Shopper({"not": {"score": "p_alive", "is": {"exists": True}}})
    assert shopper.bought(T) == [Flip("entered", "rule", T)]
    unready = buying(status="not_enough_data", reasons=["2 customers with orders, at least 500 are needed"])
    shopper = Shopper({"score": "p_alive", "is": {"exists": False}}, unready)
    assert shopper.bought(T) == [Flip("entered", "rule", T)]
    with pytest.raises(DefinitionError, match="unknown score 'fraud'"):
        read({"score": "fraud", "is": {"gte": 1}})
    assert read({"score": "fraud", "is": {"gte": 1}}, trees()).models["fraud"]["kind"] == "trees"
