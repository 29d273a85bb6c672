"""Visitors of scans: forecast, overlap and estimate equal what is found by brute force, however divided."""

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
    DAY_MS,
    HOUR_MS,
    MAX_INSTANTS,
    Estimate,
    Estimator,
    Flow,
    Forecast,
    Forecaster,
    Overlap,
    OverlapCounter,
    draft_of,
    in_sample,
    interval,
)
from segops.core.segments import SegmentSet
from segops.schemas.state import encode_profile
from segops.testing import definition, segments

from .helpers import MONDAY, D, H, M
from .oracle import ChangeSummary, Oracle
from .strategies import BASE_MS, streams
from .test_equivalence import segment_sets

#: As much as the oracle looks ahead.
HOURS_MS = 25 * HOUR_MS


def lived(
    engine: Engine, steps: list[tuple[str, Any]], clock_ms: int, profile_id: str = "user_id:u1"
) -> Profile:
    """Return a profile after its events, and after its timers up to ``clock_ms``."""
    profile = engine.new_profile(profile_id)
    for kind, arg in steps:
        if kind == "event":
            engine.on_event(profile, arg, clock_ms=-(10**15))
    engine.on_timer(profile, clock_ms=clock_ms)
    return profile


def end_of(steps: list[tuple[str, Any]]) -> int:
    return max((arg if kind == "clock" else arg.time_ms for kind, arg in steps), default=BASE_MS)


def flows(changes: list[ChangeSummary], step_ms: int) -> dict[str, dict[int, Flow]]:
    """Return the changes by segment and by the hour or day in which they happened."""
    found: dict[str, dict[int, Flow]] = {}
    for change in changes:
        flow = found.setdefault(change.segment, {}).setdefault(
            change.occurred_at // step_ms * step_ms, Flow()
        )
        if change.action == "entered":
            flow.entered += 1
        else:
            flow.left += 1
    return found


# -- forecast --------------------------------------------------------------------------------------------


@given(segment_sets(), streams())
def test_forecast_equals_the_future_found_by_brute_force(
    segments: SegmentSet, steps: list[tuple[str, Any]]
) -> None:
    engine, oracle, now_ms = Engine(segments), Oracle(segments.definitions), end_of(steps)
    for kind, arg in steps:
        if kind == "event":
            oracle.on_event(arg, -(10**15))
    oracle.on_clock(now_ms)
    profile = lived(engine, steps, now_ms)
    before = encode_profile(profile)
    forecaster = Forecaster(engine, (), from_ms=now_ms)
    forecaster.visit(profile, now_ms)
    found = forecaster.result()
    assert encode_profile(profile) == before
    assert {key for key, each in found.segments.items() if each.members} == oracle.members
    expected = flows(oracle.on_clock(found.hours_until - 1), HOUR_MS)
    assert {key: each.hours for key, each in found.segments.items() if each.hours} == expected


@given(segment_sets(), streams())
def test_forecast_of_days_equals_what_timers_do(segments: SegmentSet, steps: list[tuple[str, Any]]) -> None:
    engine, now_ms = Engine(segments), end_of(steps)
    profile = lived(engine, steps, now_ms)
    forecaster = Forecaster(engine, (), from_ms=now_ms)
    forecaster.visit(profile, now_ms)
    found = forecaster.result()
    changes = engine.on_timer(profile, clock_ms=found.days_until - 1).changes
    happened = [ChangeSummary(c.segment_key, c.action, "time", c.occurred_at, None, None) for c in changes]
    assert {k: each.days for k, each in found.segments.items() if each.days} == flows(happened, DAY_MS)


@given(segment_sets(), streams(), st.data())
def test_forecast_of_some_segments_equals_that_of_all(
    segments: SegmentSet, steps: list[tuple[str, Any]], data: Any
) -> None:
    engine, now_ms = Engine(segments), end_of(steps)
    profile = lived(engine, steps, now_ms)
    keys = data.draw(st.lists(st.sampled_from(sorted(segments.by_key)), min_size=1, unique=True))
    some, whole = (Forecaster(engine, chosen, from_ms=now_ms) for chosen in (keys, ()))
    for forecaster in (some, whole):
        forecaster.visit(profile, now_ms)
    assert some.result().segments == {key: whole.result().segments[key] for key in sorted(keys)}


def test_forecast_goes_beyond_the_first_change_of_a_membership() -> None:
    rules: dict[str, Any] = {
        "active": {"did": "A", "within": "2h", "membership": {"min_stay": "3h"}},
        "quiet": {"all": [{"known_for": "1h"}, {"not": {"in_segment": "active"}}]},
        "late": {"all": [{"in_segment": "quiet"}, {"did": "A", "within": "5h"}]},
    }
    engine = Engine(segments(**rules))
    profile = lived(engine, [("event", Event("A", MONDAY + 5 * M, "m1", {}))], MONDAY + 5 * M)
    forecaster = Forecaster(engine, (), from_ms=MONDAY + 5 * M)
    forecaster.visit(profile, MONDAY + 5 * M)
    hours = {key: each.hours for key, each in forecaster.result().segments.items()}
    assert hours == {
        "active": {MONDAY + 3 * H: Flow(0, 1)},
        "quiet": {MONDAY + 3 * H: Flow(1, 0)},
        "late": {MONDAY + 3 * H: Flow(1, 0), MONDAY + 5 * H: Flow(0, 1)},
    }


def test_forecast_of_one_segment_leaves_out_the_others() -> None:
    engine = Engine(segments(one={"did": "A", "within": "2h"}, two={"did": "A", "within": "3h"}))
    profile = lived(engine, [("event", Event("A", MONDAY, "m1", {}))], MONDAY)
    forecaster = Forecaster(engine, ("two",), from_ms=MONDAY)
    forecaster.visit(profile, MONDAY)
    found = forecaster.result().segments
    assert set(found) == {"two"}
    assert (found["two"].members, found["two"].hours) == (1, {MONDAY + 3 * H: Flow(0, 1)})


def test_forecast_ends_with_its_last_day() -> None:
    engine = Engine(segments(in_time={"known_for": "30d"}, too_late={"known_for": "31d"}))
    profile = lived(engine, [("event", Event("A", MONDAY, "m1", {}))], MONDAY)
    forecaster = Forecaster(engine, (), from_ms=MONDAY)
    forecaster.visit(profile, MONDAY)
    found = forecaster.result()
    assert found.days_until == MONDAY + 31 * D
    assert found.segments["in-time"].days == {MONDAY + 30 * D: Flow(1, 0)}
    assert found.segments["too-late"].days == {}


def test_profile_with_too_many_changes_is_cut_and_counted() -> None:
    rule = {"did": "A", "within": "1s", "count": {"eq": 1}}
    engine = Engine(segments(rule=rule))
    profile = engine.new_profile("user_id:u1")
    for number in range(MAX_INSTANTS):
        engine.on_event(profile, Event("A", MONDAY, f"m{number}", {}), clock_ms=MONDAY)
    stubborn = Flickering(engine.segments)
    forecaster = Forecaster(stubborn, (), from_ms=MONDAY)
    profile.flips, profile.due_ms = {"rule": MONDAY + 1}, MONDAY + 1
    forecaster.visit(profile, MONDAY)
    found = forecaster.result()
    assert found.cut == 1
    total = sum(flow.entered + flow.left for flow in found.segments["rule"].days.values())
    assert total == 0 and stubborn.fired == MAX_INSTANTS


class Flickering(Engine):
    """An engine by which a timer is due every second."""

    fired = 0

    def on_timer(self, profile: Profile, *, clock_ms: int) -> Any:
        self.fired += 1
        result = super().on_timer(profile, clock_ms=clock_ms)
        result.changes = ()
        profile.due_ms = clock_ms + 1_000
        return result


def test_merged_forecast_covers_what_both_cover() -> None:
    engine = Engine(segments(old={"known_for": "1h"}))
    clocks = (MONDAY + 59 * M, MONDAY + 61 * M)
    results = []
    for number, clock_ms in enumerate(clocks):
        events = [("event", Event("A", MONDAY + number * 2 * H - 30 * M, "m1", {}))]
        forecaster = Forecaster(engine, (), from_ms=clock_ms)
        forecaster.visit(lived(engine, events, clock_ms), clock_ms)
        results.append(forecaster.result())
    merged = results[0].merged(results[1])
    assert merged == results[1].merged(results[0])
    assert (merged.hours_from, merged.hours_until) == (MONDAY + H, MONDAY + 25 * H)
    assert merged.segments["old"].hours == {MONDAY + 2 * H: Flow(1, 0)}


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
        if halves[0].wants(profile.id):
            halves[number % 2].visit(profile, MONDAY + H)
    return profiles, halves[0].result().merged(halves[1].result())


def test_estimate_counts_the_profiles_that_publication_would_take() -> None:
    profiles, found = estimated(RULE)
    published = Engine(SegmentSet([*segments(**LIVE).definitions, definition("draft", RULE)]))
    for profile in profiles:
        published.on_definitions(profile, clock_ms=MONDAY + H)
    assert (found.evaluated, found.failed, found.incomplete) == (40, 0, [])
    assert found.holds == sum("draft" in profile.members for profile in profiles) > 0


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


def test_empty_partitions_merge() -> None:
    engine = Engine(segments(**LIVE))
    empty: list[Forecast] = [Forecaster(engine, (), from_ms=MONDAY).result() for _ in range(2)]
    assert empty[0].merged(empty[1]) == empty[0]
