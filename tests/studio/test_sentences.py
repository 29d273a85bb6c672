"""The sentences that judge the studio: each expected rule is sound, and names what its catalogue has."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from segops.core.errors import Issue
from segops.core.segments import Definition
from segops.schemas.segment_reading import Reading
from segops.schemas.written import read_yaml

FOLDER = Path(__file__).parent
HALVES = ("seen", "unseen")
LEVELS = {1, 2, 3, 4, 5}
AGGREGATES = ("sum", "avg", "min", "max", "distinct", "latest", "earliest", "most_frequent")
EVENTS = ("did", "did_not", "of", "first", "last", "active_days", "regularly", "since_last", "sessions")
#: The cases of the public sample may not be repeated: words that its sentences begin with.
PUBLIC = (
    "bought at least twice in the last 60 days",
    "people with more than 1000 loyalty points",
    "haven't logged in for three weeks",
    "customers at risk according to rfm",
    "silver members in germany",
    "spent over 250 this quarter-length",
    "business plan, renewal in the next 45",
    "newsletter subscribers who aren't vip",
    "searched, then viewed a product within 10",
    "has been platinum for at least 90 days",
    "at least three different brands viewed",
    "two of these in the last two weeks",
    "pepole who vieuwed",
    "asked for their money back",
    "one and done buyers",
    "folks who barely touch the product",
    "recent customers",
    "customers with more than two pets",
    "at least 3 orders and at most 2",
    "people who are ill",
)


@cache
def document(half: str) -> dict[str, Any]:
    return read_yaml((FOLDER / f"sentences_{half}.yaml").read_text("utf-8"))


def cases() -> list[tuple[str, dict[str, Any]]]:
    return [(half, case) for half in HALVES for case in document(half)["cases"]]


def rules() -> list[Any]:
    """The right answers, as (catalogue, rule), each with a readable id."""
    return [
        pytest.param(document(half)["catalogues"][case["catalogue"]], rule, id=f"{case['id']}-{n}")
        for half, case in cases()
        if "rule" in case["expect"]
        for n, rule in enumerate([case["expect"]["rule"], *case["expect"].get("also", ())])
    ]


def read(catalogue: dict[str, Any], rule: dict[str, Any]) -> tuple[list[Definition], list[Issue]]:
    """Read a rule as ``segops check`` does; return it with the mistakes and the warnings about it."""
    issues: list[Issue] = []
    warnings: list[Issue] = []
    reading = Reading("case", issues, warnings)
    reading.use_areas(catalogue.get("places"))
    reading.use_scores({name: {} for name in catalogue["scores"]})
    reading.segments([{"key": "case", "when": rule}])
    notes = [warning for warning in warnings if not warning.path.startswith("scores.")]
    return reading.definitions, [*issues, *notes]


def nodes(raw: Any) -> Iterator[dict[str, Any]]:
    if isinstance(raw, dict):
        yield raw
        for part in raw.values():
            yield from nodes(part)
    elif isinstance(raw, list):
        for part in raw:
            yield from nodes(part)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def values_of(test: Any) -> list[Any]:
    """The values that a predicate names by eq and in."""
    if not isinstance(test, dict):
        return [test]
    return [value for operator in ("eq", "in") if operator in test for value in listed(test[operator])]


def foreign(catalogue: dict[str, Any], node: dict[str, Any]) -> Iterator[str]:
    """Yield the names and values in a node that its catalogue lacks."""
    names = [name for key in EVENTS if key in node for name in listed(node[key]) if isinstance(name, str)]
    yield from (name for name in names if name not in catalogue["events"] and name != "any_event")
    for path in [node[key] for key in AGGREGATES if "of" in node and key in node]:
        yield from (f"{name}.{path}" for name in names if path not in catalogue["events"].get(name, ()))
    for path, test in node.get("where", {}).items():
        for name in names:
            yield from foreign_value(catalogue["events"].get(name, {}), path, test)
    if isinstance(node.get("trait"), str):
        yield from foreign_value(catalogue["traits"], node["trait"], node.get("is", {}))
    for key, block in (("score", "scores"), ("in_segment", "segments"), ("rfm", "rfm")):
        named = [name for name in listed(node.get(key, [])) if isinstance(name, str)]
        yield from (f"{key} {name}" for name in named if name not in catalogue.get(block, ()))


def foreign_value(kinds: dict[str, Any], path: str, test: Any) -> Iterator[str]:
    if path not in kinds:
        yield path
    elif isinstance(kinds[path], list):
        yield from (f"{path} {value}" for value in values_of(test) if value not in kinds[path])


@pytest.mark.parametrize(("catalogue", "rule"), rules())
def test_a_rule_is_sound_and_names_what_the_catalogue_has(
    catalogue: dict[str, Any], rule: dict[str, Any]
) -> None:
    found, mistakes = read(catalogue, rule)
    assert mistakes == []
    assert len(found) == 1
    assert [name for node in nodes(rule) for name in foreign(catalogue, node)] == []


def test_alternatives_are_other_rules() -> None:
    for half, case in cases():
        catalogue, expect = document(half)["catalogues"][case["catalogue"]], case["expect"]
        written = [expect["rule"], *expect.get("also", ())] if "rule" in expect else []
        found = [read(catalogue, rule)[0][0].identity for rule in written]
        assert len(set(found)) == len(found), case["id"]


def test_each_case_says_what_is_expected() -> None:
    forms = [
        {"rule"},
        {"rule", "also"},
        {"question"},
        {"question", "accept"},
        {"refuse"},
        {"refuse", "accept"},
    ]
    for _, case in cases():
        assert set(case) == {"id", "level", "catalogue", "tags", "sentence", "expect"}
        assert set(case["expect"]) in forms, case["id"]
        assert case["tags"] and case["sentence"].strip() == case["sentence"], case["id"]
        assert ("rule" in case["expect"]) is (case["level"] < 5), case["id"]


def test_both_halves_have_all_levels_and_no_sentence_is_repeated() -> None:
    found = [case["sentence"].lower() for _, case in cases()]
    assert len(found) >= 200
    assert len(set(found)) == len(found)
    assert not [each for each in found if each.startswith(PUBLIC)]
    assert len({case["id"] for _, case in cases()}) == len(found)
    for half in HALVES:
        levels = [case["level"] for case in document(half)["cases"]]
        assert set(levels) == LEVELS
        assert min(levels.count(level) for level in LEVELS) >= 20


def test_the_halves_share_their_catalogues() -> None:
    seen, unseen = (document(half) for half in HALVES)
    assert [seen[key] for key in ("version", "now", "catalogues")] == [
        unseen[key] for key in ("version", "now", "catalogues")
    ]


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"did": "Order Complete"}, ["Order Complete"]),
        ({"did": "Product Viewed", "where": {"colour": "red"}}, ["colour"]),
        ({"did": "Product Viewed", "where": {"category": "Socks"}}, ["category Socks"]),
        ({"sum": "price", "of": "Order Completed", "is": {"gt": 1}}, ["Order Completed.price"]),
        ({"trait": "loyalty_tier", "is": {"in": ["gold", "wood"]}}, ["loyalty_tier wood"]),
        ({"rfm": "lost"}, ["rfm lost"]),
    ],
)
def test_a_foreign_name_is_found(rule: dict[str, Any], reason: list[str]) -> None:
    catalogue = document("seen")["catalogues"]["shop"]
    assert [name for node in nodes(rule) for name in foreign(catalogue, node)] == reason
