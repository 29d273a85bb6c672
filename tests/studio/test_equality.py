"""Rules that mean the same are not told apart; every rule that is nearly another one is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segops.core.rules import model
from segops.core.segments import Definition
from segops.schemas.segment_reading import Reading
from segops.studio.catalogue import StudioCatalogue
from segops.studio.equality import difference, same_rule
from segops.studio.rules import areas_of, check_rule
from segops.testing import at
from tests.core.strategies import rules
from tests.core.test_equivalence import make_definition
from tests.studio.mutants import mutants

NOW_MS = at("2026-11-26T09:00:00Z")
CATALOGUE = StudioCatalogue.from_document(
    {
        "events": {
            "A": {"x": "number", "c": ["p", "q"]},
            "B": {"x": "number", "s": "string"},
            "C": {},
            "D": {},
        },
        "traits": {"born": "date", "n": "number", "tags": "list", "plan": ["free", "pro"]},
        "places": {"P": {"lat": 48.8, "lon": 2.3}},
        "scores": {"risk": "0..1"},
        "rfm": ["champions", "loyal"],
        "segments": ["vip"],
        "lists": ["ab"],
    },
    "shop",
)
RULES: list[dict[str, Any]] = [
    {"did": "A", "count": {"gte": 2}, "within": "30d"},
    {"did": "A", "count": {"gte": 40}, "within": "365d"},
    {"did": "A", "where": {"x": {"gt": 50}, "c": "p"}, "since": "2026-06-01", "until": "2026-12-01"},
    {"did_not": "A", "calendar": {"this": "month"}},
    {"last": "A", "is": {"older_than": "60d", "newer_than": "120d"}},
    {"sum": "x", "of": "A", "is": {"gt": 250}, "within": "90d"},
    {"avg": "x", "of": "A", "where": {"c": "p"}, "is": {"gte": 80}},
    {"distinct": "s", "of": "B", "is": {"gte": 3}, "within": "48h"},
    {"latest": "c", "of": "A", "is": {"eq": "p"}},
    {"trait": "born", "is": {"anniversary_in_next": "7d"}},
    {"trait": "born", "is": {"age_in_years": {"gte": 18}}},
    {"trait": "n", "is": {"between": [5, 9]}},
    {"trait": "tags", "is": {"includes": "a"}},
    {"trait": "plan", "is": {"ne": "free"}},
    {"has_been": {"trait": "plan", "is": {"eq": "pro"}}, "for": "90d"},
    {"changed": {"trait": "plan", "from": "free", "to": "pro"}, "within": "30d"},
    {"near": {"lat": 48.8, "lon": 2.3, "radius": "5km"}},
    {
        "sequence": [
            {"did": "A", "where": {"c": "p"}},
            {"did": "B", "within": "10m"},
            {"did_not": "A", "within": "30m"},
        ]
    },
    {
        "sequence": [
            {"did": "A"},
            {"did": "B", "within": "10m"},
            {"did": "C", "within": "10m"},
            {"did_not": "D", "within": "30m"},
        ]
    },
    {"sessions": "A", "gap": "30m", "is": {"gte": 3}, "within": "7d"},
    {"active_days": "A", "is": {"gte": 3}, "within": "7d"},
    {"regularly": "A", "every": "7d", "k": 3, "of": 4},
    {"did": "A", "time_of_day": {"days": ["sat", "sun"], "from": "09:00", "to": "12:00"}, "within": "30d"},
    {
        "compare": [
            {"did": "A", "within": "30d"},
            "gt",
            {"did": "A", "between": {"from": "60d", "to": "30d"}},
        ]
    },
    {"ratio": {"of": {"did": "A"}, "to": {"did": "B"}, "is": {"gte": 2}}},
    {"did_not": "B", "since_last": "A"},
    {
        "at_least": {
            "k": 2,
            "of": [{"did": "A"}, {"did": "B", "within": "1d"}, {"rfm": "loyal"}, {"list": "ab"}],
        }
    },
    {
        "all": [
            {"did": "A", "count": {"gte": 3}, "within": "30d"},
            {"trait": "n", "is": {"gt": 10}},
            {"not": {"in_segment": "vip"}},
            {"any": [{"did_not": "B", "within": "7d"}, {"rfm": {"recency": {"gte": 4}}}]},
            {"score": "risk", "is": {"lt": 0.3}},
        ]
    },
]
SAME: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {"last": "A", "is": {"older_than": "60d"}},
        {"all": [{"did": "A"}, {"did_not": "A", "within": "60d"}]},
    ),
    (
        {"last": "A", "is": {"older_than": "60d", "newer_than": "120d"}},
        {"all": [{"did": "A", "between": {"from": "120d", "to": "60d"}}, {"did_not": "A", "within": "60d"}]},
    ),
    ({"did": "A", "where": {"x": {"gt": 250}}}, {"max": "x", "of": "A", "is": {"gt": 250}}),
    (
        {"trait": "n", "is": {"gt": 1, "lt": 5}},
        {"all": [{"trait": "n", "is": {op: v}} for op, v in (("gt", 1), ("lt", 5))]},
    ),
    ({"did": "A", "where": {"c": {"ne": "p"}}}, {"did": "A", "where": {"c": {"in": ["q"]}}}),
    ({"rfm": {"recency": {"gte": 4}}}, {"rfm": {"recency": {"in": [4, 5]}}}),
    ({"rfm": ["loyal", "champions"]}, {"any": [{"rfm": "champions"}, {"rfm": "loyal"}]}),
    (
        {"not": {"any": [{"did": "A"}, {"in_segment": "vip"}]}},
        {"all": [{"did_not": "A"}, {"not": {"in_segment": "vip"}}]},
    ),
]


def read(rule: dict[str, Any]) -> Definition | None:
    """Read a rule, whatever it names; None if the language refuses it."""
    reading = Reading("rule", [], [])
    reading.use_areas(areas_of(CATALOGUE))
    reading.use_scores({"risk": {}})
    reading.segments([{"key": "k", "when": rule}])
    return reading.definitions[0] if reading.definitions else None


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_mutant_of_a_rule_is_told_apart(rule: dict[str, Any]) -> None:
    right = check_rule(rule, CATALOGUE).definition
    assert right is not None
    others = [found for each in mutants(rule) if (found := read(each)) is not None]
    others = [other for other in others if other.identity != right.identity]
    assert len(others) >= 2
    assert [other.written for other in others if same_rule(right, other, CATALOGUE, NOW_MS)] == []


@pytest.mark.parametrize(("one", "other"), SAME, ids=str)
def test_two_ways_to_say_the_same_are_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    found = [check_rule(rule, CATALOGUE).definition for rule in (one, other)]
    assert found[0] is not None and found[1] is not None
    assert found[0].identity != found[1].identity
    assert same_rule(found[0], found[1], CATALOGUE, NOW_MS)


@pytest.mark.parametrize(
    "written",
    [
        ({"did_not": "A", "within": "21d"}, {"last": "A", "is": {"older_than": "21d"}}),  # who never did
        ({"trait": "n", "is": {"gt": 5}}, {"trait": "n", "is": {"gte": 6}}),  # between the whole numbers
        (
            {"trait": "plan", "is": {"ne": "pro"}},
            {"not": {"trait": "plan", "is": {"eq": "pro"}}},
        ),  # without one
        (
            {"did": "A", "since": "2026-11-01"},
            {"did": "A", "calendar": {"this": "month"}},
        ),  # the same until December
    ],
    ids=str,
)
def test_rules_that_often_agree_are_told_apart(written: tuple[dict[str, Any], ...]) -> None:
    found = [check_rule(rule, CATALOGUE).definition for rule in written]
    assert found[0] is not None and found[1] is not None
    assert not same_rule(found[0], found[1], CATALOGUE, NOW_MS)


@settings(max_examples=25, deadline=None)
@given(rules(), st.sampled_from(["twice", "alone", "any"]))
def test_no_rule_is_told_apart_from_one_with_a_redundant_part(rule: dict[str, Any], how: str) -> None:
    node = make_definition("k", rule).when
    other = {
        "twice": model.All((node, node)),
        "alone": model.All((node,)),
        "any": model.Any((node, model.All((node, model.KnownFor(10**12))))),
    }[how]
    assert difference(node, other, CATALOGUE, NOW_MS, streams=10) is None


def test_the_answer_is_always_the_same() -> None:
    one, other = (check_rule({"did": "A", "count": {"gte": n}}, CATALOGUE).definition for n in (2, 3))
    assert one is not None and other is not None
    found = {difference(one.when, other.when, CATALOGUE, NOW_MS) for _ in range(3)}
    assert len(found) == 1 and None not in found


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"did": "E"}, "unknown event 'E'; known: A, B, C, D"),
        ({"did": "A", "where": {"y": 1}}, "unknown property of A 'y'; known: c, x"),
        ({"did": "A", "where": {"c": "r"}}, "unknown value of c 'r'; known: p, q"),
        ({"trait": "pets", "is": {"gt": 2}}, "unknown trait 'pets'; known: born, n, plan, tags"),
        ({"in_segment": "staff"}, "unknown segment 'staff'; known: vip"),
        ({"list": "cd"}, "unknown list 'cd'; known: ab"),
        ({"rfm": "at_risk"}, "unknown RFM tier 'at_risk'; known: champions, loyal"),
        ({"score": "ltv", "is": {"gt": 1}}, "rule.score: unknown score 'ltv'"),
        ({"did": "A", "within": "0h"}, "rule.within: expected a duration above 0, got '0h'"),
        ({"any": [{"did": "A"}, {"did_not": "A"}]}, "rule: always holds"),
        ("A", "rule: expected a map, got 'A'"),
    ],
)
def test_a_mistake_in_a_rule_is_named(rule: object, reason: str) -> None:
    found = check_rule(rule, CATALOGUE)
    assert found.definition is None
    assert any(mistake.startswith(reason) for mistake in found.mistakes), found.mistakes
