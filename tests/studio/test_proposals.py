"""What a proposal says of a request: its words, its questions, its follow-ups."""

from __future__ import annotations

from typing import Any

import pytest

from segops.core.errors import UserError
from segops.studio import StudioCatalogue, Synonyms, amend, propose
from tests.studio.helpers import NOW_MS, SAAS, SHOP, meaning, said


def test_each_word_is_marked_with_the_node_that_it_became() -> None:
    found = said("Silver members in Germany who visited a store in the past month")
    assert found.document()["understood"] == [
        {"start": 0, "end": 6, "text": "Silver", "node": "all[0].is"},
        {"start": 7, "end": 17, "text": "members in", "node": ""},
        {"start": 18, "end": 25, "text": "Germany", "node": "all[1].is"},
        {"start": 26, "end": 29, "text": "who", "node": ""},
        {"start": 30, "end": 45, "text": "visited a store", "node": "all[2].did"},
        {"start": 46, "end": 63, "text": "in the past month", "node": "all[2].within"},
    ]


def test_steps_of_a_sequence_are_marked() -> None:
    found = said("Searched, then viewed a product within 10 minutes")
    assert {span.text: span.node for span in found.understood if span.node} == {
        "Searched": "sequence[0].did",
        "then": "sequence",
        "viewed a product": "sequence[1].did",
        "within 10 minutes": "sequence[1].within",
    }


def test_a_word_that_became_nothing_is_marked() -> None:
    found = said("Customers with more than two pets")
    assert [span.text for span in found.understood if span.node == "?"][-1].endswith("pets")


@pytest.mark.parametrize(
    ("text", "catalogue", "words"),
    [
        ("Recent customers", SHOP, ["recent", "how long", "days", "window"]),
        ("Bought last month", SHOP, ["last month", "calendar", "30 days"]),
        ("Signed up this quarter", SAAS, ["quarter", "90 days"]),
        ("Frequent shoppers", SHOP, ["how often", "how many times"]),
        ("Diamond tier members", SHOP, ["diamond", "loyalty_tier"]),
        ("Bought shoes in the last 30 days", SHOP, ["category", "shoes", "order completed"]),
        ("Users on the enterprise plan", SAAS, ["enterprise", "plan"]),
        ("Active users", SAAS, ["which", "activity", "period"]),
        ("Spent over $100", SHOP, ["eur", "currency"]),
        ("Loyal customers", SHOP, ["rfm", "loyal"]),
    ],
)
def test_a_question_says_what_is_missing(text: str, catalogue: StudioCatalogue, words: list[str]) -> None:
    found = said(text, catalogue)
    assert found.outcome == "question"
    assert [word for word in words if word not in found.question.lower()] == []


_BOUGHT = {"did": "Order Completed", "within": "30d"}


@pytest.mark.parametrize(
    ("rule", "text", "expected"),
    [
        (_BOUGHT, "make it 60 days", {**_BOUGHT, "within": "60d"}),
        (_BOUGHT, "this month", {"did": "Order Completed", "calendar": {"this": "month"}}),
        (_BOUGHT, "at least 3 times", {**_BOUGHT, "count": {"gte": 3}}),
        (_BOUGHT, "only in France", {"all": [_BOUGHT, {"trait": "country", "is": {"eq": "FR"}}]}),
        (_BOUGHT, "exclude VIPs", {"all": [_BOUGHT, {"not": {"in_segment": "vip"}}]}),
        (_BOUGHT, "but not employees", {"all": [_BOUGHT, {"not": {"in_segment": "employees"}}]}),
        (_BOUGHT, "or in Germany", {"any": [_BOUGHT, {"trait": "country", "is": {"eq": "DE"}}]}),
        (
            {"all": [_BOUGHT, {"trait": "country", "is": {"eq": "FR"}}]},
            "Germany instead",
            {"all": [_BOUGHT, {"trait": "country", "is": {"eq": "DE"}}]},
        ),
        ({"all": [_BOUGHT, {"trait": "country", "is": {"eq": "FR"}}]}, "drop the country", _BOUGHT),
        (
            {"score": "churn_risk", "is": {"gt": 0.5}},
            "make it 70%",
            {"score": "churn_risk", "is": {"gt": 0.7}},
        ),
        (
            {"trait": "birthday", "is": {"anniversary_in_next": "7d"}},
            "make it two weeks",
            {"trait": "birthday", "is": {"anniversary_in_next": "14d"}},
        ),
    ],
)
def test_a_follow_up_changes_the_rule(rule: dict[str, Any], text: str, expected: dict[str, Any]) -> None:
    found = amend(rule, text, SHOP, NOW_MS)
    assert found.rule is not None, found
    assert meaning(found.rule) == meaning(expected)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"all": [_BOUGHT, {"did": "Email Opened", "within": "7d"}]}, "make it 60 days"),
        ({"in_segment": "vip"}, "at least 3 times"),
        (_BOUGHT, "drop the country"),
        (_BOUGHT, "drop the order"),
        (_BOUGHT, "only with two pets"),
    ],
)
def test_an_ambiguous_follow_up_is_asked_about(rule: dict[str, Any], text: str) -> None:
    assert amend(rule, text, SHOP, NOW_MS).outcome == "question"


def test_a_follow_up_that_contradicts_the_rule_is_refused() -> None:
    found = amend({"in_segment": "vip"}, "exclude VIPs", SHOP, NOW_MS)
    assert (found.outcome, found.rule) == ("refuse", None)


def test_a_workspace_adds_synonyms() -> None:
    own = Synonyms.from_document({"segments": {"vip": ["[our] whales"]}}, "own.yaml")
    assert propose("Our whales", SHOP, NOW_MS, synonyms=own).rule == {"in_segment": "vip"}
    assert propose("Our whales", SHOP, NOW_MS).rule is None


def test_names_without_synonyms_are_known_by_their_words() -> None:
    catalogue = StudioCatalogue.from_document(
        {"events": {"Widget Assembled": {"weight_g": "number"}}, "traits": {"shoe_size": "number"}}, "own"
    )
    found = propose("Assembled at least 3 widgets in the last week", catalogue, NOW_MS)
    assert found.rule == {"did": "Widget Assembled", "count": {"gte": 3}, "within": "7d"}
    assert propose("Shoe size above 42", catalogue, NOW_MS).rule == {"trait": "shoe_size", "is": {"gt": 42}}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "own.yaml: expected a map"),
        ({"events": {"A": {"b": "colour"}}}, "own.yaml.events.A.b: expected a list of texts or one of"),
        ({"event": {}}, "own.yaml.event: Extra inputs"),
        ({"traits": {"a": []}}, "own.yaml.traits.a: expected"),
    ],
)
def test_a_mistake_in_a_catalogue_names_its_place(document: object, message: str) -> None:
    with pytest.raises(UserError) as raised:
        StudioCatalogue.from_document(document, "own.yaml")
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize("document", [[], {"colours": {}}, {"events": []}, {"events": {"A": "a"}}])
def test_a_mistake_in_synonyms_names_its_place(document: object) -> None:
    with pytest.raises(UserError, match=r"^own\.yaml"):
        Synonyms.from_document(document, "own.yaml")
