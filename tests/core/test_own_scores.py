"""Own scores: exact in time while a scorer keeps its word, harmless and counted when it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segops.core.engine import Engine
from segops.core.errors import DefinitionError
from segops.core.events import Event
from segops.core.profile import Profile
from segops.core.rules.parsing import Context, read_indicators, read_published, read_rule
from segops.core.scoring.own import REGISTRY, Evaluation, OwnScore, evaluation
from segops.core.segments import Definition, SegmentSet, version_after
from segops.core.views.scores import score_details, score_note
from segops.kafka.definitions import left_out
from segops.schemas.completing import completed
from segops.schemas.models import read_model, written
from segops.schemas.segment_reading import Reading
from segops.schemas.segments import definition_from_record, definition_to_record, inline
from segops.scorers import OwnScorer, install
from segops.testing import Flip, flips

from .helpers import MONDAY as T
from .own_scorers import OWN_SCORERS
from .strategies import composite, streams
from .strategies_scores import _others, _tests
from .test_equivalence import assert_agreement, make_definition

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
VIEWS = {"views": {"did": "View"}}


@pytest.fixture
def failures() -> Iterator[list[str]]:
    """Yield the names of the scorers that failed; what a test installs is gone afterwards."""
    known, failed = dict(REGISTRY.known), REGISTRY.failed
    found: list[str] = []
    REGISTRY.failed = found.append
    yield found
    REGISTRY.failed = failed
    REGISTRY.known.clear()
    REGISTRY.known.update(known)


def model_of(scorer: str, **keys: Any) -> dict[str, Any]:
    """Return a model of kind python, in its file form."""
    return {"name": "mood", "kind": "python", "fitted_at": "2026-01-01", "scorer": scorer, **keys}


def definition(scorer: str, test: dict[str, Any], key: str = "rule", **keys: Any) -> Definition:
    """Return the definition of a segment that tests an own score."""
    form = {"key": key, "when": {"score": "mood", "is": test}}
    models = {"mood": read_model(model_of(scorer, **keys), "model.json")}
    return inline([form], "test", "segments", models=models)[0]


def evaluated(scorer: OwnScorer) -> Evaluation:
    """Return what computes a scorer of views."""
    install("drawn", scorer)
    found = evaluation(OwnScore("drawn", REGISTRY.known["drawn"].inputs))  # type: ignore[union-attr]
    assert found is not None
    return found


def crossing(scorer: OwnScorer, least: float = 0.5, now_ms: int = T) -> int | None:
    """Return when a score next reaches a number or falls below it, from the latest event on."""
    return evaluated(scorer).next_crossing(((1,), T), lambda score: int(score >= least), now_ms)


# -- exactness ---------------------------------------------------------------------------------------------


@composite
def own_rules(draw: Any) -> dict[str, Any]:
    """Draw a rule about an own score."""
    name, relation = draw(st.sampled_from(OWN_SCORERS)), draw(st.sampled_from(["lt", "gte", "gt", "eq"]))
    number = draw(st.integers(-8, 8)) / 4
    shape = draw(st.sampled_from(["is", "is", "compare", "ratio"]))
    if shape == "is":
        return {"score": name, "is": draw(_tests(name))}
    if shape == "compare":
        return {"compare": [{"score": name}, relation, draw(st.one_of(st.just(number), _others))]}
    return {"ratio": {"of": {"score": name}, "to": draw(_others), "is": {relation: number}}}


@settings(max_examples=25)
@given(own_rules(), streams(), st.booleans())
def test_own_scores_equal_the_slow_evaluator(
    form: dict[str, Any], steps: list[tuple[str, Any]], watermark: bool
) -> None:
    assert_agreement(SegmentSet([make_definition("s0", form)]), steps, watermark)


def seen(when: Definition, *events: tuple[int, str], until_ms: int) -> list[Flip]:
    """Return the changes of a profile with these events, and then by time alone."""
    engine = Engine(SegmentSet([when]))
    profile = engine.new_profile("user_id:u1")
    found = []
    for number, (at_ms, name) in enumerate(events):
        result = engine.on_event(profile, Event(name, at_ms, f"m{number}", {}), clock_ms=at_ms)
        found += flips(result)
    return found + flips(engine.on_timer(profile, clock_ms=until_ms))


def test_a_score_falls_below_a_number_to_the_millisecond() -> None:
    rule = definition("own_monotone", {"lt": 0.5}, parameters={"hours": 6, "by": 1})
    found = seen(rule, (T, "A"), until_ms=T + DAY)
    assert [(each.action, each.occurred_at - T) for each in found] == [("entered", 6 * HOUR + 1)]


def test_a_score_with_steps_moves_at_its_steps() -> None:
    rule = definition("own_steps", {"exists": False}, parameters={"by": 5})
    found = seen(rule, (T, "A"), until_ms=T + DAY)
    length = 5 * MINUTE
    assert [(each.action, (each.occurred_at - T) // length) for each in found] == [
        ("entered", 4),
        ("exited", 5),
        ("entered", 9),
        ("exited", 10),
    ]


def test_a_scorer_gets_plain_values_that_it_cannot_change(failures: list[str]) -> None:
    given: list[Mapping[str, Any]] = []
    figures = {
        "tags": {"trait": "tags"},
        "mean": {"avg": "p", "of": "Buy"},
        "since": {"days_since_last": "Buy"},
        "none": {"trait": "none"},
    }

    def value(values: Mapping[str, Any], now_ms: int, parameters: Mapping[str, Any]) -> float:
        given.append({**values, "now": now_ms, "parameters": parameters["a"]})
        values["mean"] = 5  # type: ignore[index]
        return 1.0

    install("drawn", OwnScorer(figures, value, "monotone"))
    rule = definition("drawn", {"gte": 1}, parameters={"a": [1, 0.5]})
    engine = Engine(SegmentSet([rule]))
    profile = engine.new_profile("user_id:u1")
    for number, price in enumerate((1, 2)):
        event = Event("Buy", T, f"m{number}", {"p": price}, traits={"tags": ["a"]})
        engine.on_event(profile, event, clock_ms=T + 5)
    at = {"tags": ("a",), "mean": 1.5, "since": T, "none": None, "now": T + 5, "parameters": (1, 0.5)}
    assert at in given
    assert set(failures) == {"drawn"}
    assert not profile.members


# -- scorers that break their word -------------------------------------------------------------------------


def raising(*_: Any) -> float:
    raise RuntimeError("boom")


@pytest.mark.parametrize("returned", [nan, inf, -inf, 10**400, "1", True, [1]])
def test_what_is_no_finite_number_is_missing_and_counted(failures: list[str], returned: Any) -> None:
    assert evaluated(OwnScorer(VIEWS, lambda *_: returned)).value(((1,), T), T) is None
    assert failures == ["drawn"]


def test_a_scorer_that_raises_gives_no_score_and_stops_nothing(failures: list[str]) -> None:
    install("drawn", OwnScorer(VIEWS, raising))
    rule = definition("drawn", {"exists": False})
    assert [each.action for each in seen(rule, (T, "View"), until_ms=T + DAY)] == ["entered"]
    assert set(failures) == {"drawn"}


def test_a_score_that_is_not_defined_is_missing_and_no_failure(failures: list[str]) -> None:
    assert evaluated(OwnScorer(VIEWS, lambda *_: None)).value(((1,), T), T) is None
    assert failures == []


def test_a_constant_score_does_not_see_time_pass() -> None:
    clock = evaluated(OwnScorer(VIEWS, lambda _values, now_ms, _parameters: (now_ms - T) / DAY))
    assert {clock.value(((1,), T), T + days * DAY) for days in range(40)} == {0.0}
    assert clock.next_crossing(((1,), T), lambda score: int(score > 1), T) is None


@pytest.mark.parametrize(
    "step",
    [
        lambda _values, now_ms, _parameters: now_ms + 1,
        lambda _values, now_ms, _parameters: now_ms + MINUTE - 1,
        lambda _values, now_ms, _parameters: now_ms,
        lambda _values, now_ms, _parameters: now_ms - 5,
        lambda _values, now_ms, _parameters: float(now_ms + DAY),
        lambda _values, now_ms, _parameters: "soon",
        raising,
    ],
)
def test_steps_that_are_none_end_the_search(failures: list[str], step: Callable[..., Any]) -> None:
    alternating = OwnScorer(VIEWS, lambda _values, now_ms, _parameters: now_ms % 2, "steps", step)
    assert crossing(alternating) is None
    assert set(failures) == {"drawn"}


def test_steps_end_thirty_days_after_the_latest_event(failures: list[str]) -> None:
    def days(_values: Any, now_ms: int, _parameters: Any) -> float:
        return (now_ms - T) // DAY

    def next_day(_values: Any, now_ms: int, _parameters: Any) -> int:
        return T + ((now_ms - T) // DAY + 1) * DAY

    daily = OwnScorer(VIEWS, days, "steps", next_day)
    assert crossing(daily, 30) == T + 30 * DAY
    assert crossing(daily, 31) is None
    assert evaluated(daily).value(((1,), T), T + 400 * DAY) == 30
    assert failures == []


@settings(max_examples=50)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.integers(1, 3 * DAY))
def test_a_monotone_score_crosses_no_more_often_than_there_are_numbers(
    heights: list[int], width: int
) -> None:
    """The score is any sequence of heights that repeats for ever: it has a few crossings, or none."""

    def wave(_values: Any, now_ms: int, _parameters: Any) -> float:
        return heights[(now_ms - T) // width % len(heights)]

    own, found = evaluated(OwnScorer(VIEWS, wave, "monotone")), list[int]()
    at: int | None = T
    while at is not None and (at := own.next_crossing(((1,), T), int, at)) is not None:
        found.append(at)
        assert len(found) <= 5
    assert found == sorted(set(found))


def test_a_monotone_score_that_turns_is_a_failure(failures: list[str]) -> None:
    def bump(_values: Any, now_ms: int, _parameters: Any) -> float:
        return 2.0 if T + HOUR <= now_ms < T + 40 * DAY else 0.0 if now_ms < T + DAY else -1.0

    own = evaluated(OwnScorer(VIEWS, bump, "monotone"))
    assert own.next_crossing(((1,), T), lambda score: int(score) + 1, T) is None
    assert failures == ["drawn"]


# -- models and processes ----------------------------------------------------------------------------------


def test_a_model_gets_the_figures_of_its_scorer(failures: list[str]) -> None:
    model = read_model(model_of("own_monotone", parameters={"hours": 1}), "model.json")
    assert [each["name"] for each in written(model)["features"]] == ["views", "since", "b"]
    del REGISTRY.known["own_monotone"]
    assert read_model(written(model), "record").parameters == model.parameters


def test_a_definition_without_its_scorer_is_left_out_and_says_so(failures: list[str]) -> None:
    rule = definition("own_monotone", {"lt": 0.5}, parameters={"hours": 6})
    user = inline([{"key": "user", "when": {"did": "A"}}], "test", "segments")[0]
    record = definition_to_record(rule)
    assert left_out({"rule": rule, "user": user}) == {}
    REGISTRY.known.pop("own_monotone")
    again = definition_from_record(record)
    assert again is not None
    assert again.when == rule.when
    assert left_out({"rule": again, "user": user}) == {
        "rule": "the scorer 'own_monotone' is not installed here"
    }
    assert seen(again, (T, "A"), until_ms=T + DAY) == []


def test_another_version_of_a_scorer_with_other_figures_is_left_out(failures: list[str]) -> None:
    rule = definition("own_monotone", {"lt": 0.5}, parameters={"hours": 6})
    install("own_monotone", OwnScorer(VIEWS, lambda *_: 1.0))
    assert left_out({"rule": rule}) == {
        "rule": "the scorer 'own_monotone' that is installed here reads other figures than its model"
    }


def test_parameters_are_part_of_the_rule() -> None:
    one, same, other = (
        definition("own_monotone", {"lt": 0.5}, parameters=parameters)
        for parameters in ({"hours": 6, "a": 1}, {"a": 1, "hours": 6}, {"hours": 7, "a": 1})
    )
    assert one.when == same.when
    assert version_after(one, other) == 2


def test_the_reader_of_rules_says_that_a_scorer_is_missing(failures: list[str]) -> None:
    model = read_model(model_of("own_monotone", parameters={}), "model.json")
    REGISTRY.known.pop("own_monotone")
    context = Context("test")
    context.models = {"mood": model}
    read_rule({"score": "mood", "is": {"gte": 1}}, "when", context)
    assert ["'own_monotone' is not installed here" in str(each) for each in context.warnings] == [True]


def test_a_published_own_score_needs_a_least_change() -> None:
    context = Context("f.yaml")
    context.models = {"mood": read_model(model_of("own_monotone", parameters={"hours": 1}), "model.json")}
    forms = {"mood_now": {"score": "mood"}, "rough": {"score": "mood", "change_by": 0.1}}
    figures = read_indicators(forms, "indicators", context)
    with pytest.raises(DefinitionError, match="missing change_by") as raised:
        read_published(forms, figures, "indicators", context)
    assert [each.path for each in raised.value.issues] == ["indicators.mood_now"]


def test_a_model_cannot_make_a_published_score_move_without_a_least_change() -> None:
    figure = {"name": "views", "figure": {"did": "View"}}
    linear = {"name": "mood", "kind": "linear", "fitted_at": "2026-01-01", "features": [figure]}
    linear["parameters"] = {"intercept": 0, "weights": {"views": 1}}
    own = {"mood": read_model(model_of("own_monotone", parameters={"hours": 1}), "model.json")}
    for form in ({"score": "mood"}, {"score": "mood", "change_by": 0.1}):
        reading = Reading("test", [], [])
        reading.use_models(None, {"mood": read_model(linear, "model.json")})
        reading.use_indicators({"now": {**form, "publish": True}})
        reading.publish_indicators()
        if "change_by" in form:
            assert completed(reading.published[0], own).when != reading.published[0].when
            continue
        with pytest.raises(DefinitionError, match=r"indicators\.now: missing change_by"):
            completed(reading.published[0], own)


def test_a_score_is_explained_by_its_numbers(failures: list[str]) -> None:
    rule = definition("own_monotone", {"lt": 0.5}, parameters={"hours": 6})
    profile = Profile("user_id:u1", first_ms=T, latest_ms=T)
    details = score_details(rule.when, profile, T)  # type: ignore[arg-type]
    assert details is not None
    assert details.facts == {"views": 0.0, "b": 0.0}
    REGISTRY.known.pop("own_monotone")
    assert "is not installed here" in (score_note(rule.when, profile, T) or "")


@pytest.mark.parametrize(
    ("scorer", "reason"),
    [
        (len, "expected an OwnScorer, got builtin_function_or_method"),
        (OwnScorer(VIEWS, raising, "sometimes"), "changes: expected one of constant, steps, monotone"),  # type: ignore[arg-type]
        (OwnScorer(VIEWS, raising, "steps"), "next_step: expected a function for a scorer with steps"),
        (OwnScorer(VIEWS, raising, "constant", raising), "next_step: expected a function"),
        (OwnScorer({}, raising), "figures: expected at least one"),
    ],
)
def test_what_is_no_scorer_is_refused(scorer: Any, reason: str) -> None:
    with pytest.raises(TypeError, match=reason):
        install("drawn", scorer)


def test_a_figure_that_no_model_can_read_is_refused_with_its_name() -> None:
    with pytest.raises(DefinitionError, match=r"scorer drawn: mood: expected a figure"):
        install("drawn", OwnScorer({"mood": {"score": "p_alive"}}, raising))
