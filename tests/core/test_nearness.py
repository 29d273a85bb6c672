"""The distance to the other verdict equals the least number of leaves found by trying all of them."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.engine import Engine
from segops.core.memberships import compile_part
from segops.core.rules import model
from segops.core.scans import Estimate, Estimator, draft_of, estimate
from segops.core.scans.nearness import flips
from segops.core.scans.sampling import sampling_hash
from segops.core.scans.values import MAX_VALUES, LeafValues, ValueSample
from segops.testing import definition, segments

from .helpers import MONDAY, H
from .test_scans import LIVE, RULE, population


def _groups(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        several.map(lambda of: ("all", len(of), of)),
        several.map(lambda of: ("any", 1, of)),
        several.flatmap(lambda of: st.integers(1, len(of)).map(lambda k: ("at_least", k, of))),
        inner.map(lambda of: ("not", 0, [of])),
    )


trees = st.recursive(st.just(None), _groups, max_leaves=6)
_MAKE = {
    "all": lambda _, of: model.All(of),
    "any": lambda _, of: model.Any(of),
    "at_least": lambda k, of: model.AtLeast(k, of),
    "not": lambda _, of: model.Not(of[0]),
}


def built(tree: Any, leaves: list[model.Node]) -> model.Node:
    """Return the tree with a leaf of its own at each end, which is added to ``leaves``."""
    if tree is None:
        leaves.append(model.KnownFor(len(leaves)))
        return leaves[-1]
    head, k, of = tree
    return _MAKE[head](k, tuple(built(each, leaves) for each in of))


def verdict(node: model.Node, true: set[model.Node]) -> bool:
    below = [verdict(child, true) for child in model.children(node)]
    match node:
        case model.All():
            return all(below)
        case model.Any():
            return any(below)
        case model.Not():
            return not below[0]
        case model.AtLeast(k=k):
            return sum(below) >= k
    return node in true


@given(trees, st.integers(0, 63))
def test_flips_are_the_fewest_leaves_that_change_the_verdict(tree: Any, mask: int) -> None:
    leaves: list[model.Node] = []
    rule = built(tree, leaves)
    true = {leaf for bit, leaf in enumerate(leaves) if mask >> bit & 1}

    def fewest(wanted: bool) -> int:
        for size in range(len(leaves) + 1):
            for changed in combinations(leaves, size):
                if verdict(rule, true ^ set(changed)) is wanted:
                    return size
        raise AssertionError("no leaves make this verdict")

    assert flips(rule, lambda leaf: leaf in true) == (fewest(True), fewest(False))


def estimated(near: int, rule: dict[str, Any] = RULE) -> Estimate:
    engine = Engine(segments(**LIVE))
    draft = draft_of("draft", [definition("draft", rule)], engine.segments)
    halves = [Estimator(draft, near=near) for _ in range(2)]
    for number, profile in enumerate(population(engine)):
        halves[number % 2].visit(profile, MONDAY + H)
    return halves[0].result().merged(halves[1].result())


def test_near_profiles_are_those_with_the_fewest_flips_of_each_verdict() -> None:
    everyone, three = estimated(40), estimated(3)
    assert len(everyone.just_in) == everyone.holds > 3
    assert len(everyone.just_out) == 40 - everyone.holds > 3
    for all_of_kind, found, holds in (
        (everyone.just_in, three.just_in, True),
        (everyone.just_out, three.just_out, False),
    ):
        ordered = sorted(all_of_kind, key=lambda each: (each.flips, sampling_hash(each.profile_id)))
        assert [each.profile_id for each in found] == [each.profile_id for each in ordered[:3]]
        assert {each.explanation.rule.holds for each in found} == {holds}
    # A buyer with four orders or more fails by one leaf only; other profiles by a second one, too.
    assert {each.flips for each in everyone.just_out} == {1, 2}


def test_leaves_are_compiled_once_for_all_profiles(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[model.Node] = []

    def counted(node: model.Node, *others: Any) -> Any:
        compiled.append(node)
        return compile_part(node, *others)

    monkeypatch.setattr(estimate, "compile_part", counted)
    found = estimated(3)  # by two estimators
    assert found.evaluated == 40 and len(compiled) == 2 * 4


def test_values_of_numeric_leaves_are_those_of_the_profiles() -> None:
    rule = {"all": [{"trait": "country", "is": {"eq": "DE"}}, {"score": "recency_days", "is": {"gte": 0}}]}
    (found,) = estimated(1, rule).values
    assert (found.position, len(found.values), {value for _, value in found.values}) == (2, 40, {0.0})
    assert estimated(0, rule).values == []


@given(st.lists(st.floats(-5, 5), max_size=30), st.integers(0, 30))
def test_a_sample_of_values_does_not_depend_on_how_profiles_are_divided(
    values: list[float], cut: int
) -> None:
    halves = [ValueSample(), ValueSample()]
    for order, value in enumerate(values):
        halves[order >= cut].add(order, value)
    merged = halves[0].result(7).merged(halves[1].result(7))
    assert merged == LeafValues(7, [(order, value) for order, value in enumerate(values)])


def test_a_sample_keeps_the_smallest_hashes_and_numbers_only() -> None:
    sample = ValueSample()
    for order in reversed(range(MAX_VALUES + 50)):
        sample.add(order, order % 7)
    for odd in (True, None, "7", [1]):
        sample.add(0, odd)
    assert [order for order, _ in sample.result(0).values] == list(range(MAX_VALUES))
