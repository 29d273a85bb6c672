"""Files of sentences, the classes of answers, and the figures over them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from segops.core.errors import DefinitionError, UserError
from segops.studio.catalogue import StudioCatalogue
from segops.studio.evaluation import (
    CLASSES,
    Case,
    Expectation,
    Graded,
    Report,
    evaluate,
    grade,
    load_sentences,
    quantile,
    report,
)
from segops.studio.proposal import Proposal, asked, refused

CATALOGUES = {"shop": {"events": {"Buy": {"x": "number"}}, "traits": {"plan": ["free", "pro"]}}}
SHOP = StudioCatalogue.from_document(CATALOGUES["shop"], "shop")
TWICE = {"did": "Buy", "count": {"gte": 2}}
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "now": "2026-11-26T09:00:00Z",
    "catalogues": CATALOGUES,
    "cases": [
        {"id": "a", "level": 1, "catalogue": "shop", "sentence": "Bought twice", "expect": {"rule": TWICE}},
        {
            "id": "b",
            "level": 5,
            "catalogue": "shop",
            "sentence": "Recent",
            "expect": {"question": ["Days", "window"]},
        },
        {"id": "c", "level": 5, "catalogue": "shop", "sentence": "Ill", "expect": {"refuse": "sensitive"}},
    ],
}


def case(level: int = 1, tags: tuple[str, ...] = (), **expect: Any) -> Case:
    return Case(
        id="c", level=level, catalogue="shop", sentence="s", expect=Expectation(**expect), tags=[*tags]
    )


def a_rule(rule: object) -> Proposal:
    return Proposal("rule", rule=rule)


QUESTION, OTHER = asked("How many days?"), asked("Which?")


@pytest.mark.parametrize(
    ("expect", "answer", "expected"),
    [
        ({"rule": TWICE}, a_rule(TWICE), "right"),
        ({"rule": TWICE}, a_rule({"did": "Buy", "count": {"gt": 1}}), "right"),
        ({"rule": TWICE}, a_rule({"did": "Buy", "count": {"gte": 3}}), "wrong_but_sure"),
        ({"rule": {"did": "Buy"}, "also": [TWICE]}, a_rule(TWICE), "right"),
        ({"rule": TWICE}, a_rule({"did": "Sell"}), "wrong_but_sure"),
        ({"rule": TWICE}, a_rule({"bid": "Buy"}), "wrong_but_sure"),
        ({"rule": TWICE}, a_rule(None), "wrong_but_sure"),
        ({"rule": TWICE}, QUESTION, "over_asked"),
        ({"rule": TWICE}, refused("no"), "over_asked"),
        ({"rule": TWICE, "accept": "question"}, QUESTION, "right"),
        ({"question": ["days"]}, asked("How many DAYS?"), "right"),
        ({"question": ["window", "Days"]}, QUESTION, "right"),
        ({"question": ["days"]}, OTHER, "wrong_question"),
        ({"question": ["days"]}, refused("no"), "wrong_question"),
        ({"question": ["days"], "accept": "refuse"}, refused("no"), "right"),
        ({"question": ["days"]}, a_rule(TWICE), "wrong_but_sure"),
        ({"question": ["days"], "accept": ["rule"]}, a_rule(TWICE), "right"),
        ({"refuse": "sensitive"}, refused("no"), "right"),
        ({"refuse": "sensitive"}, QUESTION, "wrong_question"),
        ({"refuse": "sensitive", "accept": "question"}, QUESTION, "right"),
        ({"refuse": "sensitive", "accept": "question"}, a_rule(TWICE), "wrong_but_sure"),
    ],
)
def test_an_answer_has_its_class(expect: dict[str, Any], answer: Proposal, expected: str) -> None:
    assert grade(case(**expect), answer, SHOP, 0) == expected


@pytest.fixture
def written(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    def write(document: dict[str, Any]) -> Path:
        path = tmp_path / "sentences.yaml"
        path.write_text(yaml.safe_dump(document), "utf-8")
        return path

    return write


Write = Callable[[dict[str, Any]], Path]


def test_each_sentence_is_answered_with_its_catalogue_and_timed(written: Write) -> None:
    answers = {"Bought twice": a_rule(TWICE), "Recent": QUESTION, "Ill": a_rule(TWICE)}
    ticks = iter([0.0, 0.010, 1.0, 1.002, 2.0, 2.5])
    asked_of = []

    def propose(text: str, catalogue: StudioCatalogue, now_ms: int) -> Proposal:
        asked_of.append((text, tuple(catalogue.events), now_ms))
        return answers[text]

    graded = evaluate(load_sentences(written(DOCUMENT)), propose, clock_s=lambda: next(ticks))
    assert len(asked_of) == 4  # one of them before the measurement
    assert asked_of[1] == ("Bought twice", ("Buy",), 1_795_683_600_000)
    assert [(each.grade, round(each.took_ms, 3)) for each in graded] == [
        ("right", 10),
        ("right", 2),
        ("wrong_but_sure", 500),
    ]


def changed(path: str, value: Any) -> dict[str, Any]:
    """The document with the value at a path such as ``cases.0.level`` replaced; removed if it is None."""
    document: Any = yaml.safe_load(yaml.safe_dump(DOCUMENT))
    level, names = document, path.split(".")
    for name in names[:-1]:
        level = level[int(name) if name.isdigit() else name]
    if value is None:
        del level[names[-1]]
    else:
        level[names[-1]] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("version", 2, "version: expected 1, got 2"),
        ("now", "soon", "now: expected an ISO-8601 date or time, got 'soon'"),
        ("now", None, "now: missing key"),
        ("further", 1, "further: unknown key"),
        ("cases", [], "cases: expected a non-empty list"),
        ("cases.0.level", 6, "cases[0].level: Input should be less than or equal to 5"),
        ("cases.0.mood", "x", "cases[0].mood: unknown key"),
        ("cases.1.id", "a", "cases[1].id: duplicate id 'a'"),
        ("cases.0.catalogue", "shops", "cases[0].catalogue: unknown catalogue 'shops'; known: shop"),
        (
            "cases.0.expect",
            {},
            "cases[0].expect: Value error, expected exactly one of rule, question and refuse",
        ),
        ("cases.0.expect", {"refuse": "x", "also": [TWICE]}, "expected rule beside also"),
        ("cases.0.expect.rule", {"did": "Sell"}, "cases[0].expect.rule: unknown event 'Sell'; known: Buy"),
        ("cases.0.expect.also", [{"bid": "Buy"}], "cases[0].expect.also[0]: rule: unknown node bid"),
        (
            "cases.0.expect.accept",
            "maybe",
            "cases[0].expect.accept[0]: expected 'rule', 'question' or 'refuse'",
        ),
    ],
)
def test_a_mistake_is_named_with_file_and_place(written: Write, path: str, value: Any, message: str) -> None:
    file = written(changed(path, value))
    with pytest.raises(DefinitionError) as error:
        load_sentences(file)
    assert f"{file}: " in str(error.value)
    assert message in str(error.value)


def test_a_mistake_in_a_catalogue_is_named(written: Write) -> None:
    with pytest.raises(UserError, match=r"sentences.yaml: catalogues.shop.events.Buy.x: expected a list"):
        load_sentences(written(changed("catalogues.shop.events.Buy.x", "numbers")))


def test_a_file_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sentences.yaml"
    path.write_text("a: [")
    with pytest.raises(DefinitionError, match=r"sentences\.yaml: line 2"):
        load_sentences(path)


grades = st.tuples(
    st.sampled_from(CLASSES), st.integers(1, 5), st.sets(st.sampled_from("xyz")), st.floats(0, 200)
)


def graded_of(drawn: list[tuple[Any, int, set[str], float]]) -> list[Graded]:
    return [
        Graded(case(level, tuple(sorted(tags)), rule=TWICE), QUESTION, found, took_ms)
        for found, level, tags, took_ms in drawn
    ]


@given(st.lists(grades, min_size=1, max_size=40))
def test_every_case_is_counted_once_in_all_and_in_its_level_and_once_per_tag(drawn: list[Any]) -> None:
    found = report(graded_of(drawn))
    for name in CLASSES:
        expected = sum(each[0] == name for each in drawn)
        assert getattr(found.total, name) == sum(getattr(row, name) for row in found.levels) == expected
    assert {row.of: row.cases for row in found.tags} == {
        tag: number for tag in "xyz" if (number := sum(tag in each[2] for each in drawn))
    }
    assert sum(each[3] <= found.p50_ms for each in drawn) * 2 >= len(drawn)
    assert sum(each[3] > found.p99_ms for each in drawn) * 100 <= len(drawn)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.sampled_from([0.5, 0.99]))
def test_a_quantile_is_the_least_value_that_suffices(values: list[float], share: float) -> None:
    ordered = sorted(values)
    enough = [
        value for value in ordered if sum(each <= value for each in ordered) >= share * len(ordered) - 1e-9
    ]
    assert quantile(ordered, share) == enough[0]


def of(right: int, others: dict[str, int], *, level: int = 3, took_ms: float = 1.0) -> Report:
    drawn = [("right", level, set(), took_ms)] * right
    drawn += [(name, level, set(), took_ms) for name, number in others.items() for _ in range(number)]
    return report(graded_of(drawn))


@pytest.mark.parametrize(
    ("found", "missed"),
    [
        (of(8, {"over_asked": 2}), []),
        (of(79, {"over_asked": 21}), ["all: 79% right, expected at least 80%"]),
        (of(95, {"over_asked": 5}, level=1), []),
        (of(94, {"over_asked": 6}, level=2), ["level 2: 94% right, expected at least 95%"]),
        (of(58, {"wrong_but_sure": 2}), []),
        (of(57, {"wrong_but_sure": 3}), ["all: 3 wrong but sure, expected at most 2"]),
        (of(59, {"wrong_but_sure": 1}, level=5), ["level 5: 1 wrong but sure, expected none"]),
        (of(5, {}, took_ms=100.0), ["p99: 100 ms, expected less than 100 ms"]),
    ],
)
def test_missed_targets_are_named(found: Report, missed: list[str]) -> None:
    assert found.missed() == missed
