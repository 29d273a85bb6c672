"""What the publication of a model makes of the published definitions, and how definitions are completed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from segops.config import load
from segops.core.errors import UserError
from segops.core.scoring.models import Model
from segops.core.segments import Definition
from segops.kafka.definitions import DefinitionLog
from segops.operations import definitions
from segops.operations.completing import complete, models_in_force
from segops.operations.definitions import DefinitionChange, plan
from segops.operations.models import ModelEdit, models_in, next_version
from segops.operations.plan_changes import state_of
from segops.schemas import published_models
from segops.schemas.completing import completed, filled
from segops.schemas.models import read_model, written
from segops.schemas.published_models import ModelId, PublishedModel, carried_models, encode_model
from segops.schemas.segments import definition_from_record, definition_to_record
from segops.schemas.segments import load as load_segments
from tests.core.own_scorers import SCORERS

SEGMENTS = """
version: 1
segments:
- {key: big, when: {score: average_order_value_expected, is: {gte: 50}}}
- {key: worth, when: {all: [{score: ltv_90d, is: {gte: 50}}, {did: Buy}]}, description: d, expose: true}
- {key: buyers, when: {did: Buy}}
"""
SPENDING: dict[str, Any] = {
    "name": "spending",
    "kind": "gamma-gamma",
    "fitted_at": "2026-11-27T08:00:00.000Z",
    "parameters": {"p": 6.25, "q": 3.74, "gamma": 15.44},
}
BUYING: dict[str, Any] = {
    "name": "buying",
    "kind": "bg-nbd",
    "fitted_at": "2026-11-27T08:00:00.000Z",
    "parameters": {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426},
}
TOPIC = "segops.models"


def model(form: dict[str, Any], version: int = 0, **parameters: float) -> Model:
    changed = {"parameters": {**form["parameters"], **parameters}}
    return read_model({**form, **changed, "version": version}, "model.json")


@pytest.fixture
def segments(tmp_path: Path) -> list[Definition]:
    (tmp_path / "s.yaml").write_text(SEGMENTS)
    return load_segments([tmp_path / "s.yaml"])


@pytest.fixture
def log(segments: list[Definition]) -> DefinitionLog:
    found = DefinitionLog()
    found.apply_models([])
    publish(found, plan(found, segments, prune=False))
    return found


def publish(log: DefinitionLog, changes: list[DefinitionChange]) -> None:
    for each in changes:
        log.apply(each.key.encode(), each.record) if each.record is not None else None


def put(log: DefinitionLog, each: Model) -> dict[str, str]:
    """Publish a model in a log; return what it does to each definition that reads it."""
    edit = ModelEdit(load(), next_version(each, "model.json"))
    changes, beside = edit.decide(log), edit.beside(log)
    publish(log, changes)
    assert beside.keys() == {TOPIC}
    assert log.models is not None
    for key, value in beside[TOPIC]:
        log.models.apply(key, value)
    return {change.key: f"{change.version} {change.action}" for change in changes}


def carried(log: DefinitionLog) -> dict[str, dict[str, int]]:
    return {
        key: {name: form["version"] for name, form in (each.models or {}).items()}
        for key, each in log.live.items()
    }


def test_a_model_of_an_own_scorer_is_published_with_its_figures_and_parameters(tmp_path: Path) -> None:
    text = "version: 1\nscores: {mood: {}}\nsegments: [{key: low, when: {score: mood, is: {lt: 0.5}}}]"
    (tmp_path / "s.yaml").write_text(text)
    log = DefinitionLog()
    log.apply_models([])
    publish(log, plan(log, load_segments([tmp_path / "s.yaml"]), prune=False))
    form = {"name": "mood", "kind": "python", "fitted_at": "2026-01-01", "scorer": "own_monotone"}
    for version, hours in enumerate((6, 7), start=2):
        changed = read_model({**form, "parameters": {"hours": hours}}, "model.json")
        assert put(log, changed) == {"low": f"{version} changed"}
    carrying = (log.live["low"].models or {})["mood"]
    assert (carrying["version"], carrying["parameters"]) == (2, {"hours": 7})
    assert [each["name"] for each in carrying["features"]] == ["views", "since", "b"]
    assert SCORERS["own_monotone"].figures["since"] == carrying["features"][1]["figure"]


def test_publication_changes_the_definitions_that_read_a_score(log: DefinitionLog) -> None:
    assert carried(log) == {"big": {}, "worth": {}, "buyers": {}}
    assert put(log, model(SPENDING)) == {"big": "2 changed", "worth": "1 described"}  # no buying yet
    assert carried(log) == {"big": {"spending": 1}, "worth": {"spending": 1}, "buyers": {}}
    assert put(log, model(BUYING)) == {"worth": "2 changed"}
    assert put(log, model(SPENDING, p=7.0)) == {"big": "3 changed", "worth": "3 changed"}
    assert carried(log)["worth"] == {"spending": 2, "buying": 1}
    assert log.live["worth"].models["spending"]["parameters"]["p"] == 7.0
    assert (log.live["worth"].description, log.live["worth"].expose) == ("d", True)
    found = {each.published.model.name: (each.versions, each.used_by) for each in models_in(log)}
    assert found == {"buying": ([1], ["worth"]), "spending": ([1, 2], ["big", "worth"])}


def test_version_with_the_same_parameters_is_named_and_moves_no_one(log: DefinitionLog) -> None:
    put(log, model(SPENDING))
    before = log.live["big"].identity
    put(log, model(SPENDING))
    assert carried(log)["big"] == {"spending": 2}
    assert (log.live["big"].identity == before) is (log.live["big"].version == 2)


def test_other_publishers_complete_what_they_publish(log: DefinitionLog, segments: list[Definition]) -> None:
    put(log, model(SPENDING))
    put(log, model(BUYING))
    assert {each.action for each in plan(log, segments, prune=False)} == {"unchanged"}
    edited = msgspec.structs.replace(segments[0], key="other")
    (change,) = plan(log, [edited], prune=False)
    assert change.record is not None
    found = definition_from_record(change.record)
    assert found is not None and found.models["spending"]["version"] == 1


def test_carried_models_stay(log: DefinitionLog) -> None:
    """As for the definitions of an approval, which mean what they meant."""
    put(log, model(SPENDING))
    former = log.live["big"]
    put(log, model(SPENDING, p=9.0))
    (kept,) = complete([former], log)
    assert kept is former
    (change,) = plan(log, [former], prune=False)
    assert change.action == "changed"


def test_without_the_library_models_of_published_definitions_count(
    log: DefinitionLog, segments: list[Definition]
) -> None:
    put(log, model(SPENDING))
    put(log, model(BUYING))
    log.models = None
    found = {name: written(each) for name, each in models_in_force(log).items()}
    assert found == {"spending": written(model(SPENDING, 1)), "buying": written(model(BUYING, 1))}
    assert {each.action for each in plan(log, segments, prune=False)} == {"unchanged"}


def test_model_that_cannot_be_read_is_left_out(
    log: DefinitionLog, segments: list[Definition], caplog: pytest.LogCaptureFixture
) -> None:
    put(log, model(SPENDING))
    assert log.models is not None
    log.models.apply(b"spending|2", b'{"model": {"name": "spending", "kind": "next"}, "published_ms": 1}')
    assert models_in_force(log)["spending"].version == 1  # which published definitions carry
    assert "ignoring the model spending" in caplog.text
    assert put(log, model(SPENDING, p=8.0))["big"] == "3 changed"
    assert carried(log)["big"] == {"spending": 3}


def test_library_behind_the_definitions_does_not_bring_back_an_earlier_version(
    log: DefinitionLog, segments: list[Definition]
) -> None:
    put(log, model(SPENDING))
    first = log.models
    put(log, model(SPENDING, p=9.0))
    assert first is not None
    first.apply(b"spending|2", None)
    log.models = first
    assert models_in_force(log)["spending"].version == 2
    assert {each.action for each in plan(log, segments, prune=False)} == {"unchanged"}
    put(log, model(SPENDING))
    assert carried(log)["big"] == {"spending": 3}


def test_models_that_a_rule_does_not_read_are_not_carried(segments: list[Definition]) -> None:
    big, worth, buyers = segments
    both = {"spending": model(SPENDING, 1), "buying": model(BUYING, 1)}
    assert completed(buyers, both) is buyers
    assert completed(big, {"buying": both["buying"]}) is big
    assert set(completed(big, both).models) == {"spending"}
    found = completed(worth, both)
    assert set(found.models) == {"spending", "buying"}
    assert found.source == worth.source
    back = definition_from_record(definition_to_record(found))
    assert back is not None and back.identity == found.identity != worth.identity


def test_models_in_force_are_part_of_what_a_plan_was_made_of(log: DefinitionLog) -> None:
    states = {state_of(log)}
    unread = {**SPENDING, "name": "fraud", "kind": "linear"}
    unread |= {"features": [{"name": "a", "figure": {"did": "A"}}]}
    unread["parameters"] = {"intercept": 0.0, "weights": {"a": 1.0}}
    assert put(log, read_model(unread, "x")) == {}
    states.add(state_of(log))
    put(log, model(SPENDING))
    states.add(state_of(log))
    assert len(states) == 3


def test_versions_beyond_the_latest_are_removed(log: DefinitionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published_models, "KEPT_VERSIONS", 3)
    for _ in range(5):
        put(log, model(SPENDING))
    assert log.models is not None and log.models.versions("spending") == [3, 4, 5]


def test_model_too_large_for_a_definition_is_refused(log: DefinitionLog) -> None:
    large = {**SPENDING, "trained_on": {"source": "x" * 400_000}}
    edit = ModelEdit(load(), next_version(read_model(large, "x"), "x"))
    with pytest.raises(UserError, match=r"the model spending has 400,\d{3} bytes, more than 400,000"):
        edit.beside(log)


def test_records_beside_are_of_the_log_that_was_decided_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two publishers the second decides again, by what the first has written."""
    written_records: list[Any] = []
    log = DefinitionLog()
    log.apply_models([])
    assert log.models is not None
    log.models.apply(ModelId("spending", 1).key, encode_model(PublishedModel(model(SPENDING, 1), 0)))
    edit = ModelEdit(load(), next_version(model(SPENDING), "x"))

    class Publisher:
        async def __aenter__(self) -> Any:
            async def publish_all(records: Any, beside: Any) -> None:
                written_records.append((records, beside))

            return publish_all

        async def __aexit__(self, *_: object) -> None:
            return None

    async def read(_settings: Any) -> DefinitionLog:
        return log

    async def require_topic(_settings: Any) -> None:
        return None

    monkeypatch.setattr(definitions, "read", read)
    monkeypatch.setattr(definitions, "require_topic", require_topic)
    monkeypatch.setattr(definitions, "publisher", lambda *_: Publisher())
    asyncio.run(definitions.commit(load(), lambda log: (edit.decide(log), None), beside=edit.beside))
    ((records, beside),) = written_records
    assert records == []
    assert [key for key, _ in beside[TOPIC]] == [b"spending|2"]


def test_drafts_get_the_models_that_published_definitions_carry(
    log: DefinitionLog, segments: list[Definition]
) -> None:
    """As the estimate of a worker does, which knows the definitions in force alone."""
    put(log, model(SPENDING))
    put(log, model(BUYING))
    put(log, model(SPENDING, p=7.0))
    found = filled(segments, carried_models(log.live.values()))
    versions = [{name: form["version"] for name, form in (each.models or {}).items()} for each in found]
    assert versions == [{"spending": 2}, {"spending": 2, "buying": 1}, {}]
    older = completed(segments[0], {"spending": model(SPENDING, 1)})
    assert filled([older], carried_models(log.live.values())) == [older]
