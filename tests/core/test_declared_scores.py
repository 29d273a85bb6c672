"""Scores that a file declares before they are fitted: missing, said so, and read without a new version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from segops.core.engine import Engine
from segops.core.errors import DefinitionError
from segops.core.events import Event
from segops.core.profile import Profile
from segops.core.rules.blocks import names_of_scores, unfitted_scores
from segops.core.scoring import SCORERS
from segops.core.scoring.recency import RecencyDays
from segops.core.segments import Definition, SegmentSet, version_after
from segops.core.views.explain import explain
from segops.schemas.segments import definition_from_record, definition_to_record, inline, load_checked
from segops.testing import Flip, flips

from .helpers import MONDAY as T

SCORES: dict[str, Any] = {"churn_risk": {"description": "Will not order again."}, "spend": {}}
RISKY = {"score": "churn_risk", "is": {"lte": 0.5}}
WARNING = "declared, not fitted yet: no customer has this score"
NOTE = "the score churn_risk is declared, not fitted yet"


def read(form: dict[str, Any], **blocks: Any) -> Definition:
    """Return the definition of a segment of a file that declares the scores."""
    return inline([{"key": "rule", "when": form}], "test", "segments", **{"scores": SCORES, **blocks})[0]


def engine_of(definition: Definition, former: SegmentSet | None = None) -> Engine:
    return Engine(SegmentSet([definition], former))


def seen(engine: Engine) -> Profile:
    profile = engine.new_profile("user_id:u1")
    engine.on_event(profile, Event("page", T, "m1", {}), clock_ms=T)
    return profile


@pytest.mark.parametrize(
    ("form", "member"),
    [
        (RISKY, False),
        ({"not": RISKY}, True),
        ({"score": "churn_risk", "is": {"ne": 3}}, False),
        ({"score": "churn_risk", "is": {"exists": False}}, True),
        ({"score": "churn_risk", "enter": {"gte": 0.8}, "exit": {"lt": 0.5}}, False),
        ({"compare": [{"score": "churn_risk"}, "lt", 5]}, False),
        ({"ratio": {"of": {"score": "churn_risk"}, "to": {"did": "page"}, "is": {"lt": 5}}}, False),
        ({"indicator": "risk", "is": {"lt": 5}}, False),
    ],
    ids=str,
)
def test_declared_score_is_missing(form: dict[str, Any], member: bool) -> None:
    definition = read(form, indicators={"risk": {"score": "churn_risk"}})
    assert unfitted_scores(definition.when) == ["churn_risk"]
    engine = engine_of(definition)
    profile = seen(engine)
    assert (set(profile.members) == {"rule"}, profile.due_ms) == (member, None)


@pytest.mark.parametrize("form", [RISKY, {"compare": [{"score": "churn_risk"}, "lt", 5]}], ids=str)
def test_explanation_says_that_it_is_not_fitted(form: dict[str, Any]) -> None:
    engine = engine_of(read({"all": [form]}))
    group = explain(engine.segments, seen(engine), T).segments[0].rule
    assert (group.note, [(part.holds, part.value, part.note) for part in group.parts]) == (
        None,
        [(False, None, NOTE)],
    )


def test_check_warns_of_each_score_without_a_model(tmp_path: Path) -> None:
    form = {"version": 1, "scores": {**SCORES, "recency_days": {}}, "segments": [{"key": "a", "when": RISKY}]}
    (tmp_path / "a.json").write_bytes(msgspec.json.encode(form))
    found = load_checked([tmp_path / "a.json"])
    assert [(issue.path, issue.reason) for issue in found.warnings] == [
        ("scores.churn_risk", WARNING),
        ("scores.spend", WARNING),
    ]


def test_record_carries_the_declarations_that_the_rule_reads() -> None:
    definition = read({"any": [RISKY, {"score": "recency_days", "is": {"gte": 3}}]})
    assert names_of_scores(definition.when) == {"churn_risk", "recency_days"}
    record = definition_to_record(definition)
    assert msgspec.json.decode(record)["scores"] == {"churn_risk": SCORES["churn_risk"]}
    assert definition_from_record(record) == msgspec.structs.replace(definition, source="segments topic")
    assert read({"did": "A"}).scores is None


def test_fitted_score_is_read_without_a_new_version(monkeypatch: pytest.MonkeyPatch) -> None:
    definition = read(RISKY)
    former = engine_of(definition)
    profile = seen(former)
    monkeypatch.setitem(SCORERS, "churn_risk", RecencyDays())
    engine = engine_of(definition, former.segments)
    assert version_after(definition, read(RISKY)) == 1
    assert engine.version != former.version
    result = engine.on_definitions(profile, clock_ms=T)
    assert flips(result) == [Flip("entered", "rule", T)]
    assert [(change.reason, change.segment_version) for change in result.changes] == [("definition", 1)]
    assert explain(engine.segments, profile, T).segments[0].rule.note is None


def test_description_is_not_part_of_the_meaning() -> None:
    assert read(RISKY).identity == read(RISKY, scores={"churn_risk": {}}).identity


@pytest.mark.parametrize(
    ("form", "scores", "path", "reason"),
    [
        ({"score": "churn", "is": {"lt": 1}}, SCORES, "segments[0].when.score", "unknown score 'churn'"),
        (
            {"compare": [{"score": "churn"}, "lt", 1]},
            SCORES,
            "segments[0].when.compare[0].score",
            "expected one of recency_days, p_alive, churn_risk, ",
        ),
        (RISKY, {}, "scores", "expected a map of names to descriptions"),
        (RISKY, ["churn_risk"], "scores", "expected a map of names to descriptions"),
        (RISKY, {"Churn": {}}, "scores.Churn", "expected a name of at most 64 lower-case letters"),
        (RISKY, {"churn_risk": None}, "scores.churn_risk", "expected a map, such as"),
        (RISKY, {"churn_risk": {"model": "x"}}, "scores.churn_risk.model", "unknown key"),
        (RISKY, {"churn_risk": {"description": 5}}, "scores.churn_risk.description", "expected a string"),
        (
            RISKY,
            {"churn_risk": {"description": "x" * 2_001}},
            "scores.churn_risk.description",
            "expected at most 2,000 characters, got 2,001",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_mistake_is_reported_once_at_its_path(
    form: dict[str, Any], scores: Any, path: str, reason: str
) -> None:
    with pytest.raises(DefinitionError) as found:
        read(form, scores=scores)
    (issue,) = found.value.issues
    assert issue.path == path and reason in issue.reason
