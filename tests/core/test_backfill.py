"""Backfill: which features are missing, rows of events, the fold, and its installation in a profile."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from segops.core.backfill import Collector, Folded, Row, fold, install, missing, waiting
from segops.core.engine import Engine, message_hash
from segops.core.events import Event
from segops.core.features import Feature, reducer_of
from segops.core.features.states import Counted, EventTimes, Keys, Tally, Total
from segops.core.links import begin_waiting
from segops.core.profile import HeldEvent, MergedSource, Profile
from segops.core.segments import SegmentSet
from segops.core.windows import ALWAYS, Within
from segops.schemas.rows import decode_row, encode_row
from segops.testing import segments

from .backfilling import rows_of
from .helpers import D, H

NOW = 10 * D


def features_of(**rules: dict[str, Any]) -> dict[int, Feature]:
    return segments(**rules).features


def count(capacity: int | None = 4, *, window: Any = Within(D), **more: Any) -> Feature:  # noqa: B008
    return Feature("count", ("A",), (), window, capacity=capacity, **more)


def by_id(*features: Feature) -> dict[int, Feature]:
    return {feature.id: feature for feature in features}


def did(number: int, time_ms: int, name: str = "A", **properties: Any) -> Event:
    return Event(name, time_ms, f"m{number}", properties)


def folded_into(profile: Profile, features: dict[int, Feature], events: list[Event], now_ms: int) -> Folded:
    found = fold(profile, rows_of(features, events), features, now_ms=now_ms)
    install(profile, found, features)
    return found


# -- what is missing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule",
    [
        {"did": "A", "within": "1d"},
        {"sum": "p", "of": "A", "is": {"gte": 1}},
        {"did": "A", "between": {"from": "2d", "to": "1d"}},
        {"has_been": {"trait": "p", "is": {"eq": 1}}, "for": "1d"},
        {"changed": {"trait": "p", "to": 1}},
        {"near": {"lat": 0, "lon": 0, "radius": "1km"}, "anytime": True, "within": "1d"},
        {"sequence": [{"did": "A"}, {"did": "B"}]},
        {"rfm": ["champions"]},
    ],
)
def test_feature_of_every_family_is_missing_if_profiles_lack_it(rule: dict[str, Any]) -> None:
    wanted = features_of(rule=rule)
    assert len(wanted) == 1
    assert missing({}, wanted) == wanted
    assert missing(wanted, wanted) == {}


@pytest.mark.parametrize(
    "rule", [{"score": "recency_days", "is": {"gte": 3}}, {"known_for": "1d"}, {"has_identifier": "email"}]
)
def test_rule_on_the_profile_itself_misses_nothing(rule: dict[str, Any]) -> None:
    assert missing({}, features_of(rule=rule)) == {}


@pytest.mark.parametrize(
    ("former", "wanted", "is_missing"),
    [(4, 16, True), (16, 4, False), (4, 4, False), (257, None, True), (None, 257, False)],
)
def test_count_is_missing_if_its_capacity_was_raised(
    former: int | None, wanted: int | None, is_missing: bool
) -> None:
    wider = by_id(count(wanted))
    assert missing(by_id(count(former)), wider) == (wider if is_missing else {})


def test_count_that_keeps_every_event_misses_none_of_them() -> None:
    rule = {"did": "A", "within": "9d", "where": {"p": {"in_last": "1d"}}}
    former, wanted = (features_of(rule={**rule, "count": {"gte": k}}) for k in (2, 20))
    assert former != wanted
    assert missing(former, wanted) == {}


def test_segments_wait_for_missing_features_and_for_segments_that_wait() -> None:
    often = {"did": "A", "within": "9d"}
    former = features_of(old={**often, "count": {"gte": 3}})
    found = segments(
        old={**often, "count": {"gte": 3}},
        more={**often, "count": {"gte": 9}},
        new={"did": "B"},
        beside={"in_segment": "old"},
        behind={"in_segment": "new"},
        far={"not": {"in_segment": "behind"}},
    )
    assert waiting(found, former) == {"more", "new", "behind", "far"}
    assert waiting(found, found.features) == set()


# -- rows ----------------------------------------------------------------------------------------------


def test_row_has_the_values_of_the_features_that_select_the_event() -> None:
    features = {name: next(iter(features_of(rule=rule))) for name, rule in RULES.items()}
    collector = Collector(features_of(**RULES))
    properties = {"p": 5, "q": "x", "order_id": 7, "revenue": 2.5}
    event = Event("Order Completed", 1, "m1", properties, {"plan": "pro"})
    row = collector.row(event, arrival_ms=3, partition=2, offset=9)
    assert row is not None
    assert (row.time_ms, row.arrival_ms, row.partition, row.offset) == (1, 3, 2, 9)
    assert row.message == message_hash("m1")
    assert row.values == {
        features["count"]: None,
        features["sum"]: 5,
        features["timed"]: (None, ("x",)),
        features["steps"]: (1, (5,)),
        features["orders"]: ("orders", "7", Decimal("2.5"), 0),
        features["history"]: "pro",
    }


RULES: dict[str, dict[str, Any]] = {
    "count": {"did": "Order Completed", "where": {"q": "x"}},
    "other": {"did": "Order Completed", "where": {"q": "y"}},
    "sum": {"sum": "p", "of": "Order Completed", "is": {"gte": 1}},
    "timed": {"did": "Order Completed", "where": {"q": {"in_last": "1d"}}},
    "steps": {"sequence": [{"did": "Order Completed"}, {"did": "B", "where": {"p": {"same_as": 1}}}]},
    "orders": {"rfm": ["champions"]},
    "history": {"has_been": {"trait": "plan", "is": {"eq": "pro"}}, "for": "1d"},
}


@pytest.mark.parametrize(
    "event",
    [
        Event("B", 1, "m", {"p": 5}),
        Event("A", 1, "m", {}),
        Event("A", 1, "m", {"p": "five"}),
        Event("B", 1, "m", {}, {"other": 1}),
    ],
)
def test_event_without_a_readable_value_has_no_row(event: Event) -> None:
    rules = {"sum": {"sum": "p", "of": "A", "is": {"gte": 1}}, "history": RULES["history"]}
    assert Collector(features_of(**rules)).row(event, arrival_ms=1, partition=0, offset=0) is None


@pytest.mark.parametrize("traits", [{"plan": None}, {"plan": {}}])
def test_removal_of_a_trait_is_a_value_of_its_history(traits: dict[str, Any]) -> None:
    features = features_of(rule={"has_been": {"trait": "plan.name", "is": {"eq": "pro"}}, "for": "1d"})
    row = Collector(features).row(Event("B", 1, "m", {}, traits), arrival_ms=1, partition=0, offset=0)
    assert row is not None
    assert row.values == dict.fromkeys(features)


def test_typical_row_has_50_to_100_bytes() -> None:
    features = features_of(
        often={"did": "Order Completed", "count": {"gte": 3}, "within": "90d"},
        spent={"sum": "revenue", "of": "Order Completed", "is": {"gte": 100}},
        kinds={"distinct": "category", "of": "Order Completed", "is": {"gte": 3}},
    )
    event = Event("Order Completed", NOW, "m1", {"revenue": 19.99, "category": "shoes"})
    row = Collector(features).row(event, arrival_ms=1_760_000_000_000, partition=3, offset=123_456_789)
    assert row is not None
    assert 50 <= len(encode_row(row)) <= 100
    assert decode_row(encode_row(row)) == row


def test_sum_of_integers_beyond_64_bits_stays_exact_in_rows() -> None:
    features = features_of(spent={"sum": "p", "of": "A", "is": {"gte": 1}})
    profile = Profile("user_id:u1")
    folded_into(profile, features, [did(1, 1, p=10**30), did(2, 2, p=1), did(3, 3, p=-(10**30))], NOW)
    assert list(profile.features.values()) == [Total(0, 3, Decimal(1))]


# -- the fold ------------------------------------------------------------------------------------------


def test_fold_depends_on_the_set_of_rows_only() -> None:
    features = features_of(**RULES)
    events = [
        Event("Order Completed", NOW - (n * 7 % 5) * H, f"m{n % 7}", {"p": n, "q": "x", "order_id": n % 3})
        for n in range(12)
    ]
    rows = [row for row in rows_of(features, events) if row is not None]
    expected = fold(Profile("a"), rows, features, now_ms=NOW)
    assert set(expected.states) == set(features) - {next(iter(features_of(other=RULES["other"])))} - {
        next(iter(features_of(history=RULES["history"])))
    }
    mixed = random.Random(1)
    for _ in range(20):
        mixed.shuffle(rows)
        assert fold(Profile("a"), [*rows, *rows[:5]], features, now_ms=NOW) == expected


def test_of_rows_with_one_message_the_first_to_arrive_counts() -> None:
    feature = count()
    rows = [
        Row(time_ms, arrival, 1, 0, 0, {feature.id: None}) for arrival, time_ms in ((2, 5), (1, 6), (3, 4))
    ]
    assert fold(Profile("a"), rows, by_id(feature), now_ms=7).states == {feature.id: EventTimes([6])}


def test_rows_of_one_arrival_collected_for_different_features_are_one() -> None:
    one, two = count(), count(window=ALWAYS)
    rows = [Row(5, 1, 1, 0, 0, {feature.id: None}) for feature in (one, two)]
    states = fold(Profile("a"), rows, by_id(one, two), now_ms=7).states
    assert states == {one.id: EventTimes([5]), two.id: Tally(0, 1)}


def test_values_of_other_features_are_ignored() -> None:
    assert fold(Profile("a"), [Row(5, 1, 1, 0, 0, {99: None})], by_id(count()), now_ms=7) == Folded({})


def test_order_of_one_instant_is_that_of_the_source() -> None:
    feature = Feature("latest", ("A",), (), ALWAYS, path=("p",))
    places = [(1, 0, "c"), (0, 7, "b"), (0, 6, "a")]
    rows = [
        Row(5, 9, at, partition, offset, {feature.id: p}) for at, (partition, offset, p) in enumerate(places)
    ]
    (state,) = fold(Profile("a"), rows, by_id(feature), now_ms=7).states.values()
    assert reducer_of(feature).read(state, 7) == "c"


def test_held_events_are_left_out_until_they_are_applied() -> None:
    feature, profile = count(), Profile("anonymous_id:a")
    begin_waiting(profile, "user_id:u1", explicit=False, clock_ms=5)
    assert profile.links is not None
    profile.links.held.append(HeldEvent(5, did(2, 5)))
    rows = rows_of(by_id(feature), [did(1, 4), did(2, 5)])
    assert fold(profile, rows, by_id(feature), now_ms=7).states == {feature.id: EventTimes([4])}


@pytest.mark.parametrize("by_source", [False, True])
def test_held_event_that_repeats_an_applied_one_is_not_left_out(by_source: bool) -> None:
    """It counts where it was applied: by the profile, or by a source that is yet to be merged."""
    feature, profile, source = count(), Profile("anonymous_id:a"), Profile("anonymous_id:b")
    begin_waiting(profile, "user_id:u1", explicit=False, clock_ms=5)
    assert profile.links is not None
    profile.links.held.append(HeldEvent(5, did(2, 5)))
    profile.links.sources.append(MergedSource(6, source))
    (source if by_source else profile).seen = {message_hash("m2"): 5}
    rows = rows_of(by_id(feature), [did(1, 4), did(2, 5)])
    for each, times in ((profile, [4] if by_source else [4, 5]), (source, [4, 5] if by_source else [4])):
        states = fold(each, rows, by_id(feature), now_ms=7, holder=profile).states
        assert states == {feature.id: EventTimes(times)}


def test_feature_without_an_event_in_its_window_has_no_state() -> None:
    rules: dict[str, dict[str, Any]] = {
        "count": {"did": "A", "within": "1d"},
        "often": {"did": "A", "count": {"gte": 300}, "within": "1d"},
        "kinds": {"distinct": "p", "of": "A", "within": "1d", "is": {"gte": 2}},
        "past": {"did": "A", "between": {"from": "2d", "to": "1d"}},
        "steps": {"sequence": [{"did": "A"}, {"did": "B"}], "within": "1d"},
    }
    features = features_of(**rules)
    assert (
        fold(Profile("a"), rows_of(features, [did(1, NOW - 3 * D, p=1)]), features, now_ms=NOW).states == {}
    )


# -- the limit -----------------------------------------------------------------------------------------


def size_of(states: dict[int, Any]) -> int:
    return sum(len(msgspec.msgpack.encode(state)) + 9 for state in states.values())


def test_limit_keeps_small_features_whole_and_the_newest_rows_of_large_ones() -> None:
    small = count(window=ALWAYS)
    large = Feature("sum", ("A",), (), Within(D), path=("p",))
    largest = Feature("earliest", ("A",), (), Within(D), path=("p",))
    features = by_id(small, large, largest)
    rows = rows_of(features, [did(n, NOW - 500 + n, p=n + 0.25) for n in range(500)])
    whole = fold(Profile("a"), rows, features, now_ms=NOW, max_bytes=10**6)
    assert whole == fold(Profile("a"), rows, features, now_ms=NOW)
    assert whole.complete_since_ms == {}
    cut = fold(Profile("a"), rows, features, now_ms=NOW, max_bytes=4_000)
    assert 3_500 < size_of(cut.states) <= 4_000
    assert cut.states[small.id] == Tally(0, 500)
    assert cut.complete_since_ms.keys() == {large.id, largest.id}
    for feature in (large, largest):
        newest = [row for row in rows if row.time_ms >= cut.complete_since_ms[feature.id]]
        assert (
            cut.states[feature.id]
            == fold(Profile("a"), newest, by_id(feature), now_ms=NOW).states[feature.id]
        )
    rows.reverse()
    assert fold(Profile("a"), rows, features, now_ms=NOW, max_bytes=4_000) == cut


def test_limit_without_any_room_leaves_every_state_out_and_says_so() -> None:
    feature = count()
    rows = rows_of(by_id(feature), [did(1, NOW - 2), did(2, NOW - 1)])
    for max_bytes in (0, -5):
        found = fold(Profile("a"), rows, by_id(feature), now_ms=NOW, max_bytes=max_bytes)
        assert found == Folded({}, {}, {feature.id: NOW})


# -- the installation ----------------------------------------------------------------------------------


def test_count_with_a_raised_capacity_keeps_what_the_profile_knows_from_before_the_history() -> None:
    profile, wide = Profile("user_id:u1"), count(16)
    profile.features = {wide.id: EventTimes([1, 2, 3, 4])}
    folded_into(profile, by_id(wide), [did(n, n) for n in (3, 4, 5)], 9)
    assert profile.features == {wide.id: EventTimes([1, 2, 3, 4, 5])}


def test_count_raised_above_the_greatest_capacity_changes_its_form() -> None:
    profile, wide = Profile("user_id:u1"), count(None)
    profile.features = {wide.id: EventTimes([1, 2])}
    folded_into(profile, by_id(wide), [did(2, 2), did(3, 3)], 9)
    assert reducer_of(wide).read(profile.features[wide.id], 9)[0] == 3


def test_distinct_values_with_a_raised_capacity_are_united() -> None:
    feature = Feature("distinct", ("A",), (), ALWAYS, path=("p",), capacity=16)
    profile = Profile("user_id:u1", features={feature.id: Keys(0, ["sa", "sb"])})
    folded_into(profile, by_id(feature), [did(1, 1, p="b"), did(2, 2, p="c")], 9)
    assert profile.features == {feature.id: Keys(0, ["sa", "sb", "sc"])}


def test_any_other_state_is_replaced() -> None:
    feature = count(None, window=ALWAYS)
    profile = Profile("user_id:u1", features={feature.id: Tally(0, 7), 99: Tally(0, 1)})
    folded_into(profile, by_id(feature), [did(1, 1)], 9)
    assert profile.features == {feature.id: Tally(0, 1), 99: Tally(0, 1)}
    install(profile, Folded({}), by_id(feature))
    assert profile.features == {99: Tally(0, 1)}


@pytest.mark.parametrize("profile_id", ["anonymous_id:a", "user_id:u1"])
def test_notes_say_what_each_remembered_message_added_to_accumulators(profile_id: str) -> None:
    rules: dict[str, dict[str, Any]] = {
        "ever": {"did": "A"},
        "spent": {"sum": "p", "of": "A", "is": {"gte": 1}},
        "once": {"did": "A", "until": "1970-01-01T00:00:00.003Z"},
        "recent": {"did": "A", "within": "1d"},
        "visit": {"session": "events", "of": "A", "is": {"gte": 2}},
        "visits": {"sessions": "A", "is": {"gte": 2}},
        "entry": {"session": {"first": "p"}, "of": "A", "is": {"gte": 2}},
    }
    events = [did(1, 1, p=5), did(2, 2), did(3, 5, p=0.5), Event("B", 6, "m4", {})]
    live, later = Engine(segments(**rules)), Engine(SegmentSet.EMPTY)
    expected, profile = live.new_profile(profile_id), later.new_profile(profile_id)
    for event in events:
        live.on_event(expected, event, clock_ms=event.time_ms)
        later.on_event(profile, event, clock_ms=event.time_ms)
    folded_into(profile, live.segments.features, events, 6)
    assert sorted_notes(profile) == sorted_notes(expected)
    folded_into(profile, live.segments.features, events, 6)  # counts nothing twice
    assert sorted_notes(profile) == sorted_notes(expected)


def test_sessions_between_two_ages_are_folded() -> None:
    live = Engine(segments(visits={"sessions": "A", "between": {"from": "3d", "to": "1d"}, "is": {"gte": 1}}))
    expected, profile = live.new_profile("user_id:u1"), Profile("user_id:u1")
    events = [did(1, 1), did(2, 2)]
    for event in events:
        live.on_event(expected, event, clock_ms=event.time_ms)
    folded_into(profile, live.segments.features, events, 2)
    assert profile.features == expected.features


def sorted_notes(profile: Profile) -> dict[int, Counted]:
    return {
        message: Counted(note.time_ms, sorted(note.tallies), dict(sorted(note.totals.items())))
        for message, note in profile.counted.items()
    }


def test_message_that_the_profile_no_longer_remembers_is_not_noted() -> None:
    feature, profile = count(None, window=ALWAYS), Profile("anonymous_id:a")
    folded_into(profile, by_id(feature), [did(1, 1)], 6)
    assert profile.features == {feature.id: Tally(0, 1)}
    assert profile.counted == {}
