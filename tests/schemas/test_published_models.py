"""The library of models: records, the version in force, what is kept, and which version is published next."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from segops.core.errors import DefinitionError, UserError
from segops.core.scoring.models import Model
from segops.kafka.definitions import DefinitionLog
from segops.operations.models import earlier_version, next_version
from segops.schemas.models import read_model, written
from segops.schemas.published_models import (
    KEPT_VERSIONS,
    ModelId,
    ModelLog,
    PublishedModel,
    decode_model,
    encode_model,
    id_of,
)

FORM: dict[str, Any] = {
    "name": "spending",
    "kind": "gamma-gamma",
    "fitted_at": "2026-11-27T08:00:00.000Z",
    "parameters": {"p": 6.25, "q": 3.74, "gamma": 15.44},
}


def model(version: int = 0, **fields: Any) -> Model:
    return read_model({**FORM, **({"version": version} if version else {}), **fields}, "spending.json")


def library(*models: Model) -> DefinitionLog:
    """Return what is published: these models, and no definition."""
    log = DefinitionLog()
    log.models = ModelLog()
    for each in models:
        add(log, PublishedModel(each, 5))
    return log


def add(log: DefinitionLog, published: PublishedModel) -> None:
    assert log.models is not None
    log.models.apply(ModelId(published.model.name, published.model.version).key, encode_model(published))


@hypothesis_settings(max_examples=30)
@given(
    version=st.integers(1, 10**6),
    numbers=st.tuples(st.floats(0.1, 9), st.floats(1.1, 9), st.floats(0.1, 99)),
    until=st.none() | st.just("2027-02-27T00:00:00.000Z"),
    restores=st.none() | st.integers(1, 99),
    source=st.text(max_size=9),
)
def test_record_gives_the_version_back(
    version: int, numbers: tuple[float, ...], until: str | None, restores: int | None, source: str
) -> None:
    fields: dict[str, Any] = {
        "parameters": dict(zip(("p", "q", "gamma"), numbers, strict=True)),
        "trained_on": {"source": source},
    }
    found = model(version, **fields, **({} if until is None else {"valid_until": until}))
    published = PublishedModel(found, 7, restores)
    key = ModelId(found.name, version).key
    back = decode_model(key, encode_model(published))
    assert (back.published_ms, back.restores) == (7, restores)
    assert written(back.model) == written(found)
    assert back.model.parameters == found.parameters


@pytest.mark.parametrize("key", [b"spending", b"spending|", b"|3", b"spending|03", b"spending|x", b"\xff|1"])
def test_key_names_a_version(key: bytes) -> None:
    with pytest.raises(ValueError):
        id_of(key)


def test_record_under_another_key_is_refused() -> None:
    value = encode_model(PublishedModel(model(3), 0))
    with pytest.raises(ValueError, match="the value is of version 3 of 'spending'"):
        decode_model(b"spending|4", value)
    with pytest.raises(DefinitionError, match="spending version 3: parameters"):
        decode_model(b"spending|3", value.replace(b'"p":6.25', b'"p":-1'))


@hypothesis_settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 40), st.booleans()), max_size=60))
def test_highest_version_is_in_force_in_any_order(records: list[tuple[str, int, bool]]) -> None:
    log, expected = ModelLog(), dict[tuple[str, int], bool]()
    for name, version, there in records:
        found = model(version, name=name, **WEIGHTS)
        value = encode_model(PublishedModel(found, version)) if there else None
        log.apply(ModelId(name, version).key, value)
        expected[name, version] = there
    kept = {name: sorted(v for (n, v), there in expected.items() if n == name and there) for name in "ab"}
    assert {name: log.versions(name) for name in "ab"} == kept
    assert log.names() == [name for name in "ab" if kept[name]]
    for name in log.names():
        assert log.newest(name) == log.in_force(name).model.version == kept[name][-1]
        gone = {each.version for each in log.outdated(name)}
        assert gone == {each for each in kept[name] if each not in kept[name][-(KEPT_VERSIONS - 1) :]}


@pytest.mark.parametrize(("count", "gone"), [(19, []), (20, [1]), (22, [1, 2, 3])])
def test_with_the_next_version_as_many_are_kept_as_may_be(count: int, gone: list[int]) -> None:
    log = library(*map(model, range(1, count + 1))).models
    assert log is not None
    assert [each.version for each in log.outdated("spending")] == gone
    assert count + 1 - len(gone) <= KEPT_VERSIONS


WEIGHTS: dict[str, Any] = {
    "kind": "linear",
    "features": [{"name": "views", "figure": {"did": "View", "within": "1h"}}],
    "parameters": {"intercept": 1.0, "weights": {"views": 2.0}},
}


def test_next_version_follows_the_newest() -> None:
    known = library(model(1), model(2))
    assert next_version(model(), "f")(known).model.version == 3
    assert next_version(model(3), "f")(known).model.version == 3
    for wrong in (2, 4):
        with pytest.raises(DefinitionError) as found:
            next_version(model(wrong), "spending.json")(known)
        (issue,) = found.value.issues
        expected = f"spending.json: version: expected 3, or none, got {wrong}: version 2 is published"
        assert str(issue) == expected
    assert next_version(model(), "f")(library()).model.version == 1


def test_earlier_version_comes_back_under_the_next_number() -> None:
    of = {version: model(version, quality={"log_likelihood": float(version)}) for version in (1, 2, 3)}
    known = library(*of.values())
    for asked, back in ((None, 2), (1, 1)):
        found = earlier_version("spending", asked)(known)
        assert (found.model.version, found.restores) == (4, back)
        assert found.model.quality == of[back].quality
        assert written(found.model)["version"] == 4
    again = earlier_version("spending", None)(known)
    add(known, again)
    assert earlier_version("spending", 4 - 1)(known).restores == 3
    add(known, earlier_version("spending", 1)(known))
    assert earlier_version("spending", 4)(known).restores == 2  # what version 4 was itself


@pytest.mark.parametrize(
    ("name", "version", "reason"),
    [
        ("buying", None, "unknown model 'buying'; published: spending"),
        ("spending", None, "the model spending has no earlier version"),
        ("spending", 2, "version 2 of the model spending is in force already"),
        ("spending", 1, "unknown version 1 of the model spending; kept: 2"),
    ],
)
def test_what_cannot_be_brought_back_is_refused(name: str, version: int | None, reason: str) -> None:
    with pytest.raises(UserError, match=f"^{reason}$"):
        earlier_version(name, version)(library(model(2)))
