"""Backfill of the history of a trait, which may begin before all rows."""

from __future__ import annotations

from segops.core.backfill import Folded, install
from segops.core.features import Feature
from segops.core.features.states import Tally, Values
from segops.core.profile import Profile
from segops.core.windows import ALWAYS
from segops.testing import segments


def test_history_of_a_trait_without_rows_begins_with_its_current_value() -> None:
    features = dict(
        segments(rule={"has_been": {"trait": "o.plan", "is": {"eq": "pro"}}, "for": "1d"}).features
    )
    (key,) = features
    for traits, value in (({"o": {"plan": "pro"}}, "pro"), ({}, None)):
        profile = Profile("user_id:u1", traits=traits, trait_times={"o": 5})
        install(profile, Folded({}), features)
        assert profile.features == {key: Values([5], [value])}
    unknown = Profile("user_id:u1")
    install(unknown, Folded({}), features)
    assert unknown.features == {}


def test_history_of_a_trait_begins_with_its_current_value_if_that_is_older_than_all_rows() -> None:
    features = dict(segments(rule={"has_been": {"trait": "plan", "is": {"eq": "pro"}}, "for": "1d"}).features)
    (key,) = features
    profile = Profile("user_id:u1", traits={"plan": "pro"}, trait_times={"plan": 5})
    install(profile, Folded({key: Values([7], ["free"])}), features)  # the row of a source
    assert profile.features == {key: Values([5, 7], ["pro", "free"])}
    install(profile, Folded({key: Values([4, 5], ["free", "pro"])}), features)
    assert profile.features == {key: Values([4, 5], ["free", "pro"])}


def test_source_that_is_yet_to_be_merged_keeps_the_beginning_of_its_trait_histories() -> None:
    features = dict(segments(rule={"has_been": {"trait": "plan", "is": {"eq": "pro"}}, "for": "1d"}).features)
    (key,) = features
    source = Profile(
        "anonymous_id:a",
        traits={"plan": "pro"},
        trait_times={"plan": 5},
        features={key: Values([3, 5], ["free", "pro"]), 99: Tally(0, 1)},
        complete_since={key: 2, 99: 4},
    )
    counted = Feature("count", ("A",), (), ALWAYS)
    install(source, Folded({}), features | {counted.id: counted})
    assert source.features == {key: Values([5], ["pro"]), 99: Tally(0, 1)}
    assert source.complete_since == {99: 4}
    unknown = Profile("anonymous_id:b", features={key: Values([3], ["free"])})
    install(unknown, Folded({}), features)
    assert unknown.features == {}
