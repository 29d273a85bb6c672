"""Suggestions: what a catalogue allows, by whatever names, in the order of what it is worth."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.studio.catalogue import StudioCatalogue
from segops.studio.rules import check_rule
from segops.studio.suggestions import Size, candidates, ranked, renamed, reward

ORDERS = {"Order Completed": {"revenue": "number"}}
SHOP = {
    "events": ORDERS
    | {
        "Product Viewed": {},
        "Product Added": {},
        "Checkout Started": {},
        "Order Refunded": {},
        "Email Opened": {},
    },
    "traits": {"birthday": "date", "email_consent": "boolean"},
    "rfm": ["champions", "at_risk", "cant_lose"],
}
SAAS = {
    "events": {"Logged In": {}, "Payment Failed": {}, "NPS Submitted": {"score": "number"}},
    "traits": {"trial_ends_at": "date", "renewal_date": "date"},
    "scores": {"churn_risk": "0..1"},
}


def catalogue(**document: Any) -> StudioCatalogue:
    return StudioCatalogue.from_document(document, "test")


def rules_of(document: dict[str, Any]) -> dict[str, Any]:
    return {each.key: each.definition.written for each in candidates(catalogue(**document))}


def test_a_shop_and_a_service_get_suggestions_of_their_own() -> None:
    assert set(rules_of(SAAS)) == {
        "trial-ending",
        "renewal-near",
        "payment-failed",
        "detractors",
        "gone-quiet",
        "high-churn-risk",
    }
    shop = set(rules_of(SHOP))
    assert {
        "rfm-champions",
        "rfm-at-risk",
        "lapsing-regulars",
        "high-intent",
        "cart-left",
        "one-and-done",
    } <= shop
    assert {"nearly-vip", "birthday", "unengaged"} <= shop
    assert not shop & (set(rules_of(SAAS)) | {"rfm-promising", "unhappy-reviewers"})


def test_nothing_is_suggested_of_a_catalogue_without_known_names() -> None:
    assert rules_of({"events": {"Clicked": {}}}) == {}


@pytest.mark.parametrize("document", [SHOP, SAAS], ids=["shop", "saas"])
def test_every_suggestion_is_sound_in_its_catalogue_and_says_why(document: dict[str, Any]) -> None:
    known = catalogue(**document)
    for each in candidates(known, prefix="template-"):
        assert check_rule(each.definition.written, known).mistakes == ()
        assert each.definition.key == f"template-{each.key}"
        assert each.sentence and each.why.endswith(".") and 1 <= each.worth <= 5


def test_other_names_of_events_properties_and_traits_are_found() -> None:
    events = {
        "Placed Order": {"$value": "number"},
        "Viewed Product": {},
        "Product Review": {"stars": "number"},
    }
    found = rules_of({"events": events, "traits": {"date_of_birth": "date"}})
    assert found["high-intent"] == {
        "all": [
            {"did": "Viewed Product", "count": {"gte": 3}, "within": "2d"},
            {"did_not": "Placed Order", "within": "2d"},
        ]
    }
    assert found["nearly-vip"]["all"][0]["sum"] == "$value"
    assert found["nearly-vip"]["all"][0]["of"] == "Placed Order"
    assert found["birthday"]["trait"] == "date_of_birth"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"did": ["Order Completed", "Other"]}, {"did": ["Purchase", "Other"]}),
        (
            {"at_least": {"k": 1, "of": [{"first": "Order Completed"}]}},
            {"at_least": {"k": 1, "of": [{"first": "Purchase"}]}},
        ),
        (
            {"did": "Purchase", "where": {"revenue": 5, "x": 6}},
            {"did": "Purchase", "where": {"total": 5, "x": 6}},
        ),
        (
            {"has_been": {"trait": "consent.email", "is": {"eq": True}}, "for": "1d"},
            {"has_been": {"trait": "email_consent", "is": {"eq": True}}, "for": "1d"},
        ),
        (
            {"not": {"did_not": "Order Completed", "since_last": "Email Opened"}},
            {"not": {"did_not": "Purchase", "since_last": "Opened Email"}},
        ),
    ],
)
def test_a_rule_is_renamed_at_every_depth(rule: dict[str, Any], expected: dict[str, Any]) -> None:
    events = {"Purchase": {"total": "number", "x": "number"}, "Opened Email": {}}
    assert renamed(rule, catalogue(events=events, traits={"email_consent": "boolean"})) == expected


def of(members: int, *notes: str) -> Size:
    return Size(members, members - 1, members + 1, 10_000, notes)


def test_the_most_rewarding_comes_first_and_the_empty_not_at_all() -> None:
    found = candidates(catalogue(**SHOP))
    sizes = {
        "rfm-champions": of(800),  # worth 3
        "rfm-at-risk": of(900),  # worth 5
        "lapsing-regulars": of(0),
        "cart-left": of(1),  # worth 5, but one person
        "one-and-done": of(9_000),  # worth 4, but nearly everyone
        "vip": of(700, "not stored"),
    }
    listed = ranked(found, sizes)
    assert [each.key for each in listed] == [
        "rfm-at-risk",
        "rfm-champions",
        "one-and-done",
        "cart-left",
        "vip",
    ]
    first, last = listed[0], listed[-1]
    assert (first.size, first.low, first.high, first.share) == (900, 899, 901, 0.09)
    assert first.rule == {"rfm": ["at_risk", "cant_lose"]} and first.sentence == "rfm at_risk or cant_lose"
    assert last.notes == ["not stored"]


def test_without_profiles_nothing_is_suggested() -> None:
    found = candidates(catalogue(**SHOP))
    assert ranked(found, {each.key: Size(0, 0, 0, 0) for each in found}) == []


@given(st.integers(1, 5), st.floats(0.0001, 1), st.floats(0.0001, 1))
def test_a_segment_is_worth_most_when_it_is_neither_tiny_nor_everyone(
    worth: int, one: float, other: float
) -> None:
    least, most = sorted((one, other))
    if most <= 0.005:
        assert reward(worth, least) <= reward(worth, most)
    if least >= 0.4:
        assert reward(worth, least) >= reward(worth, most)
    assert 0 < reward(worth, one) <= worth
