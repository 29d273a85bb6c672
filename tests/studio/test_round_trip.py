"""Rules in segops' own words are read as the same rules."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segops.studio.checks import checked
from tests.studio.helpers import SHOP, meaning, said

_lengths = st.sampled_from(["30m", "48h", "7d", "30d", "90d", "365d"])
_windows = st.one_of(st.just({}), st.fixed_dictionaries({"within": _lengths}))
_counts = st.sampled_from([{}, {"count": {"gte": 3}}, {"count": {"lt": 5}}, {"count": {"eq": 2}}])
_events = st.sampled_from(sorted(SHOP.events))


def _merged(maps: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    return {key: value for part in maps for key, value in part.items()}


_did = st.tuples(_events.map(lambda name: {"did": name}), _counts, _windows).map(_merged)
_did_not = st.tuples(_events.map(lambda name: {"did_not": name}), _windows).map(_merged)
_numbers = st.integers(1, 5_000)
_comparisons = st.sampled_from(["gt", "gte", "lt", "lte"])
_tests = st.tuples(_comparisons, _numbers).map(lambda pair: {pair[0]: pair[1]})
_traits = st.one_of(
    st.sampled_from(["FR", "DE", "GB"]).map(lambda code: {"trait": "country", "is": {"eq": code}}),
    st.sampled_from(["silver", "gold"]).map(lambda tier: {"trait": "loyalty_tier", "is": {"eq": tier}}),
    _tests.map(lambda test: {"trait": "loyalty_points", "is": test}),
    st.booleans().map(lambda there: {"trait": "phone", "is": {"exists": there}}),
    st.booleans().map(lambda given_: {"trait": "email_consent", "is": {"eq": given_}}),
)
_others = st.one_of(
    st.sampled_from(SHOP.segments).map(lambda key: {"in_segment": key}),
    st.sampled_from(SHOP.rfm).map(lambda tier: {"rfm": tier}),
    st.sampled_from([0.25, 0.5, 0.8]).map(lambda risk: {"score": "churn_risk", "is": {"gt": risk}}),
    st.tuples(_tests, _windows).map(
        lambda pair: {"sum": "revenue", "of": "Order Completed", "is": pair[0], **pair[1]}
    ),
    _lengths.map(lambda length: {"last": "Order Completed", "is": {"older_than": length}}),
)
_leaves = st.one_of(_did, _did_not, _traits, _others)


@pytest.mark.drawn
@settings(max_examples=100, deadline=None)
@given(_leaves)
def test_a_condition_in_words_is_read_as_itself(rule: dict[str, Any]) -> None:
    words = checked(rule, SHOP).sentence
    found = said(words)
    assert found.rule is not None, (words, found.question or found.reason)
    assert meaning(found.rule) == meaning(rule), words


@pytest.mark.parametrize(
    "rule",
    [
        {"all": [{"did": "Order Completed", "within": "30d"}, {"trait": "country", "is": {"eq": "FR"}}]},
        {"any": [{"did": "Order Completed", "within": "30d"}, {"not": {"in_segment": "vip"}}]},
        {
            "all": [
                {"any": [{"did": "Order Completed", "within": "30d"}, {"in_segment": "vip"}]},
                {"score": "churn_risk", "is": {"gt": 0.5}},
            ]
        },
        {"not": {"any": [{"did": "Order Completed", "within": "30d"}, {"in_segment": "vip"}]}},
        {"at_least": {"k": 2, "of": [{"in_segment": "vip"}, {"in_segment": "employees"}, {"rfm": "loyal"}]}},
        {"sequence": [{"did": "Product Viewed"}, {"did": "Product Added", "within": "30m"}]},
        {"has_been": {"trait": "loyalty_tier", "is": {"eq": "gold"}}, "for": "90d"},
        {"distinct": "brand", "of": "Product Viewed", "is": {"gte": 3}, "within": "2d"},
    ],
    ids=str,
)
def test_groups_in_words_are_read_as_themselves(rule: dict[str, Any]) -> None:
    words = checked(rule, SHOP).sentence
    found = said(words)
    assert found.rule is not None, (words, found.question or found.reason)
    assert meaning(found.rule) == meaning(rule), words
