"""Overlap and estimate of scans equal what is found by brute force, however profiles are divided."""

from __future__ import annotations

from functools import reduce
from itertools import combinations, pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.engine import Engine
from segops.core.errors import DefinitionError
from segops.core.events import Event
from segops.core.profile import Profile
from segops.core.scans import (
    Estimate,
    Estimator,
    Overlap,
    OverlapCounter,
    draft_of,
    in_sample,
    interval,
)
from segops.core.segments import SegmentSet
from segops.schemas.state import encode_profile
from segops.testing import definition, segments
from tests.rest import examples

from .helpers import MONDAY, H, M
from .strategies import streams
from .test_equivalence import segment_sets
from .test_forecast import end_of, lived

# -- overlap ---------------------------------------------------------------------------------------------

KEYS = ("a", "b", "c")
_memberships = st.lists(st.sets(st.sampled_from((*KEYS, "other"))), max_size=30)


@given(_memberships, st.integers(0, 30))
def test_overlap_equals_set_intersections(profiles: list[set[str]], cut: int) -> None:
    counters = [OverlapCounter(KEYS), OverlapCounter(KEYS)]
    for number, keys in enumerate(profiles):
        profile = Profile(f"user_id:u{number}", members=dict.fromkeys(keys))  # type: ignore[arg-type]
        counters[number >= cut].visit(profile, 0)
    found: Overlap = counters[0].result().merged(counters[1].result())
    for size in (1, 2, 3):
        for chosen in combinations(KEYS, size):
            assert found.in_all(chosen) == sum(keys >= set(chosen) for keys in profiles)
    assert found.in_any() == sum(bool(keys & set(KEYS)) for keys in profiles)


# -- estimate --------------------------------------------------------------------------------------------


def population(engine: Engine, number: int = 40) -> list[Profile]:
    """Return profiles with 0 to 4 orders and a country."""
    profiles = []
    for n in range(number):
        steps = [("event", Event("Order", MONDAY + i * M, f"m{i}", {"total": 10 * n})) for i in range(n % 5)]
        traits = {"country": ("DE", "FR", "US")[n % 3]}
        steps.append(("event", Event("identify", MONDAY + 9 * M, "t", {}, traits)))
        profiles.append(lived(engine, steps, MONDAY + H, f"user_id:u{n}"))
    return profiles


LIVE: dict[str, Any] = {
    "buyers": {"did": "Order", "count": {"gte": 2}, "within": "7d"},
    "german": {"trait": "country", "is": {"eq": "DE"}},
}
RULE: dict[str, Any] = {
    "all": [
        {"in_segment": "buyers"},
        {"any": [{"in_segment": "german"}, {"trait": "country", "is": {"eq": "FR"}}]},
        {"not": {"did": "Order", "count": {"gte": 4}, "within": "7d"}},
    ]
}


def estimated(rule: dict[str, Any], **options: Any) -> tuple[list[Profile], Estimate]:
    engine = Engine(segments(**LIVE))
    draft = draft_of("draft", [definition("draft", rule)], engine.segments)
    profiles = population(engine)
    halves = [Estimator(draft, **options) for _ in range(2)]
    for number, profile in enumerate(profiles):
        if in_sample(profile.id, halves[0].share):
            halves[number % 2].visit(profile, MONDAY + H)
    return profiles, halves[0].result().merged(halves[1].result())


def test_estimate_counts_the_profiles_that_publication_would_take() -> None:
    profiles, found = estimated(RULE)
    published = Engine(SegmentSet([*segments(**LIVE).definitions, definition("draft", RULE)]))
    for profile in profiles:
        published.on_definitions(profile, clock_ms=MONDAY + H)
    assert (found.evaluated, found.failed, found.incomplete) == (40, 0, [])
    assert found.holds == sum("draft" in profile.members for profile in profiles) > 0


@examples(25, of=100)
@given(segment_sets(), segment_sets(), st.lists(streams(), min_size=1, max_size=3))
def test_estimate_equals_publication(live: SegmentSet, drafts: SegmentSet, lives: list[Any]) -> None:
    engine, now_ms = Engine(live), max(map(end_of, lives))
    changed = {d.key: msgspec.structs.replace(d, version=2) for d in drafts.definitions}
    everything = {d.key: d for d in live.definitions} | changed
    published = Engine(SegmentSet(everything.values()))
    draft = draft_of("s0", changed.values(), live)
    estimator = Estimator(draft)
    profiles = [lived(engine, steps, now_ms, f"user_id:u{n}") for n, steps in enumerate(lives)]
    profiles = [profile for profile in profiles if profile.first_ms is not None]
    for profile in profiles:
        before = encode_profile(profile)
        estimator.visit(profile, now_ms)
        assert encode_profile(profile) == before
    for profile in profiles:
        published.on_definitions(profile, clock_ms=now_ms)
    assert estimator.result().holds == sum("s0" in profile.members for profile in profiles)


def test_draft_may_refer_to_another_draft() -> None:
    live = segments(**LIVE)
    drafts = [
        definition("steady", {"did": "Order", "within": "7d", "membership": {"min_stay": "1d"}}),
        definition("draft", {"all": [{"in_segment": "steady"}, {"in_segment": "german"}]}),
    ]
    engine = Engine(live)
    estimator = Estimator(draft_of("draft", drafts, live))
    profiles = population(engine)
    for profile in profiles:
        estimator.visit(profile, MONDAY + H)
    assert estimator.result().holds == sum(n % 5 > 0 and n % 3 == 0 for n in range(40))


def test_samples_say_from_when_on_their_events_are_known() -> None:
    live = segments(**LIVE)
    since = {key: MONDAY for key, feature in live.features.items() if feature.window is not None}
    _, known = estimated({"did": "Order", "count": {"gte": 2}, "within": "7d"}, samples=1)
    _, cut = estimated({"did": "Order", "count": {"gte": 2}, "within": "7d"}, samples=1, since=since)
    assert [each.explanation.complete_since for each in known.samples] == [None]
    assert [each.explanation.complete_since for each in cut.samples] == [MONDAY]


def test_draft_with_an_unknown_reference_is_refused() -> None:
    with pytest.raises(DefinitionError, match="unknown segment nowhere"):
        draft_of("draft", [definition("draft", {"in_segment": "nowhere"})], segments(**LIVE))


@pytest.mark.parametrize(
    ("rule", "incomplete"),
    [
        ({"did": "Order", "count": {"gte": 3}, "within": "7d"}, []),
        ({"did": "Order", "count": {"gte": 5}, "within": "7d"}, ["count of Order within 1w"]),
        ({"did": "Order", "within": "8d"}, ["count of Order within 8d"]),
        ({"trait": "country", "is": {"eq": "US"}}, []),
    ],
)
def test_features_that_profiles_do_not_hold_are_named(rule: dict[str, Any], incomplete: list[str]) -> None:
    assert estimated(rule)[1].incomplete == incomplete


def test_funnel_counts_each_node_alone_and_with_those_before() -> None:
    _, found = estimated(RULE, funnel=True)
    counts = {
        "buyers": [n % 5 >= 2 for n in range(40)],
        "german": [n % 3 == 0 for n in range(40)],
        "french": [n % 3 == 1 for n in range(40)],
        "few": [n % 5 < 4 for n in range(40)],
    }
    either = [a or b for a, b in zip(counts["german"], counts["french"], strict=True)]

    def both(*verdicts: list[bool]) -> int:
        return sum(map(all, zip(*verdicts, strict=True)))

    buyers, few = counts["buyers"], counts["few"]
    many = [not each for each in few]
    assert [(each.depth, each.holds, each.passes) for each in found.funnel] == [
        (0, both(buyers, either, few), both(buyers, either, few)),
        (1, sum(buyers), sum(buyers)),
        (1, sum(either), both(buyers, either)),
        (2, sum(counts["german"]), both(buyers, counts["german"])),
        (2, sum(counts["french"]), both(buyers, counts["french"])),
        (1, sum(few), both(buyers, either, few)),
        (2, sum(many), both(buyers, either, many)),
    ]


def test_samples_are_explained_and_do_not_depend_on_the_partitions() -> None:
    _, found = estimated(RULE, samples=3)
    draft = draft_of("draft", [definition("draft", RULE)], segments(**LIVE))
    alone = Estimator(draft, samples=3)
    for profile in population(Engine(segments(**LIVE))):
        alone.visit(profile, MONDAY + H)
    assert [each.profile_id for each in found.samples] == [e.profile_id for e in alone.result().samples]
    assert len(found.samples) == 3
    for sample in found.samples:
        assert sample.explanation.segment_key == "draft"
        assert sample.explanation.rule.holds and len(sample.explanation.rule.parts) == 3


def test_sample_is_part_of_every_larger_one() -> None:
    ids = [f"user_id:u{n}" for n in range(2_000)]
    shares = (0.01, 0.1, 0.5, 1.0)
    chosen = [{each for each in ids if in_sample(each, share)} for share in shares]
    assert all(small <= large for small, large in pairwise(chosen))
    assert len(chosen[-1]) == 2_000
    for share, found in zip(shares, chosen, strict=True):
        assert interval(len(found), share).low <= 2_000 <= interval(len(found), share).high


@given(st.integers(0, 10_000), st.floats(0.001, 1.0))
def test_interval_holds_the_estimate_and_what_was_found(found: int, share: float) -> None:
    number = interval(found, share)
    assert found <= number.low <= number.estimate + 1 and number.estimate - 1 <= number.high


def test_interval_covers_the_truth_about_95_times_in_100() -> None:
    """Count over all binomial outcomes, weighted by their probability, for several numbers of profiles."""
    for number, share in ((50, 0.1), (400, 0.05), (3_000, 0.01)):
        probability, covered = (1 - share) ** number, 0.0
        for found in range(number + 1):
            bounds = interval(found, share)
            covered += probability if bounds.low <= number <= bounds.high else 0.0
            probability *= (number - found) / (found + 1) * share / (1 - share)
        assert 0.93 < covered < 0.98, (number, share)


@examples(25, of=100)
@given(st.lists(st.integers(0, 39), max_size=6), st.data())
def test_merging_does_not_depend_on_the_order(cuts: list[int], data: Any) -> None:
    engine = Engine(segments(**LIVE))
    profiles = population(engine)
    draft = draft_of("draft", [definition("draft", RULE)], engine.segments)
    results: list[Estimate] = []
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), 40], strict=True):
        estimator = Estimator(draft, samples=2, funnel=True)
        for profile in profiles[begin:end]:
            estimator.visit(profile, MONDAY + H)
        results.append(estimator.result())
    shuffled = data.draw(st.permutations(results))
    assert reduce(Estimate.merged, results) == reduce(Estimate.merged, shuffled)
    assert reduce(Estimate.merged, results).evaluated == 40
