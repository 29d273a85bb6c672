"""Flapping equals a slow recount by the reference evaluator, which judges all events at each repeat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import reduce
from itertools import accumulate
from typing import Any

import msgspec
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.profile import Profile
from segops.core.rules.reference import History
from segops.core.scans import (
    FOLLOWED_SHARE,
    MAX_FOLLOWED,
    MAX_WATCHES,
    Edit,
    Flapping,
    FollowedSample,
    FollowedSamples,
    Plan,
    Planner,
    SegmentFlapping,
    edit_of,
    followed_share,
    in_sample,
)
from segops.core.segments import SegmentSet
from segops.schemas.state import encode_profile
from segops.testing import definition, segments
from tests.rest import examples

from .helpers import MONDAY, D, M
from .oracle import Oracle
from .strategies import streams
from .test_equivalence import make_definition, segment_sets

#: All profiles of a few belong to the sample.
ALL = 1.0


def repeated(edit: Edit, sample: FollowedSample, profiles: Sequence[Profile], now_ms: int) -> Flapping:
    """Plan an edit again, check that it leaves the profiles as they are, and return the flapping so far."""
    planner = Planner(edit, followed=sample)
    for profile in profiles:
        before = encode_profile(profile)
        planner.visit(profile, now_ms)
        assert encode_profile(profile) == before
    found = planner.result().flapping
    assert found is not None
    return found


class Recount:
    """Counts the switches of one profile from one repeat to the next, by the reference evaluator."""

    def __init__(self, after: SegmentSet, profile_id: str) -> None:
        self._oracle = Oracle(after.definitions, History(profile_id))
        self._times: list[int] = []
        self._former: set[str] | None = None
        self.ever: set[str] = set()
        self.switches = Counter[str]()

    def add(self, event: Event) -> None:
        if all(event.message_id != known.message_id for known in self._oracle.history.events):
            self._times.append(event.time_ms)
            self._oracle.history.add(event, max(self._times))

    def repeat(self, now_ms: int) -> None:
        oracle = self._oracle
        oracle.memberships = oracle._evaluate(oracle.memberships, max([now_ms, *self._times]))
        members = oracle.members
        self.switches.update(members ^ (members if self._former is None else self._former))
        self._former, self.ever = members, self.ever | members


def with_same_features(after: SegmentSet) -> SegmentSet:
    """Return copies under other keys, so that profiles hold what the segments need."""
    copies = []
    for each in after.definitions:
        written = msgspec.json.encode(each.written).replace(b'"in_segment":"s', b'"in_segment":"x-s')
        form = msgspec.json.decode(written)
        copies.append(make_definition(f"x-{each.key}", form["when"], form["membership"]))
    return SegmentSet(copies)


def check(after: SegmentSet, lives: Sequence[list[tuple[str, Any]]], data: Any) -> None:
    """Let profiles live, repeat the plan of some segments at drawn moments, and compare with the recount."""
    live = with_same_features(after)
    engine, edit, sample = Engine(live), edit_of(after.definitions, [], live), FollowedSample(ALL)
    profiles = [engine.new_profile(f"user_id:u{number}") for number in range(len(lives))]
    recounts = [Recount(after, each.id) for each in profiles]
    now_ms, repeats, found = -(10**15), 0, None
    for position in range(max(map(len, lives))):
        for profile, recount, steps in zip(profiles, recounts, lives, strict=True):
            kind, arg = steps[position] if position < len(steps) else ("", None)
            if kind == "event":
                engine.on_event(profile, arg, clock_ms=-(10**15))
                recount.add(arg)
            now_ms = max(now_ms, arg if kind == "clock" else arg.time_ms) if kind else now_ms
        known = [profile for profile in profiles if profile.first_ms is not None]
        if len(known) == len(lives) and data.draw(st.integers(0, 3), "repeat"):
            repeats += 1
            for profile, recount in zip(profiles, recounts, strict=True):
                engine.on_timer(profile, clock_ms=now_ms)
                recount.repeat(now_ms)
            found = repeated(edit, sample, profiles, now_ms)
    if found is None:
        return
    note(f"{repeats} repeats, {[each.switches for each in recounts]}")
    assert (found.profiles, found.repeats, found.share) == (len(lives), repeats, ALL)
    for key in after.by_key:
        members = [each for each in recounts if key in each.ever]
        numbers = [each.switches[key] for each in members]
        assert found.segments[key] == SegmentFlapping(
            len(members), sum(numbers), sum(number > 1 for number in numbers), max(numbers, default=0)
        )


@examples(30, of=150)
@given(segment_sets(), st.lists(streams(), min_size=1, max_size=2), st.data())
def test_flapping_equals_the_recount_by_the_reference_evaluator(
    after: SegmentSet, lives: list[list[tuple[str, Any]]], data: Any
) -> None:
    check(after, lives, data)


_durations = st.integers(1, 9).map(lambda seconds: f"{seconds}s")
_policies = st.fixed_dictionaries(
    {}, optional={"min_stay": _durations, "cool_down": _durations, "max_entries": st.integers(1, 2)}
).filter(bool)


@examples(30, of=150)
@given(_policies, st.lists(st.integers(500, 6_000), min_size=4, max_size=12), st.data())
def test_flapping_of_a_segment_with_a_policy_equals_the_recount(
    policy: dict[str, Any], pauses: list[int], data: Any
) -> None:
    steps: list[tuple[str, Any]] = []
    for number, at_ms in enumerate(accumulate(pauses, initial=MONDAY)):
        steps.append(("event", Event("A", at_ms, f"m{number}", {})) if number % 2 == 0 else ("clock", at_ms))
    recent = make_definition("s0", {"did": "A", "within": "2s"}, policy)
    other = make_definition("s1", {"all": [{"did": "A"}, {"not": {"in_segment": "s0"}}]})
    check(SegmentSet([recent, other]), [steps], data)


# -- one profile, followed ---------------------------------------------------------------------------------

VIEWED: dict[str, Any] = {"did": "Viewed", "within": "1h"}


def rounds(membership: dict[str, Any] | None = None, hours: Sequence[int] = (0, 2, 4, 6)) -> Flapping:
    """Return the flapping by repeats every half an hour; each view, at some hours, is counted for an hour."""
    before = segments(views={"did": "Viewed", "within": "1h"})
    engine, profile = Engine(before), Engine(before).new_profile("user_id:u1")
    rule = VIEWED if membership is None else {**VIEWED, "membership": membership}
    edit = edit_of([definition("new", rule)], [], before)
    sample, found = FollowedSample(ALL), None
    for half in range(2 * hours[-1] + 6):
        now_ms = MONDAY + half * 30 * M + 1
        engine.on_timer(profile, clock_ms=now_ms)
        if half % 2 == 0 and half // 2 in hours:
            engine.on_event(profile, Event("Viewed", now_ms, f"m{half}", {}), clock_ms=now_ms)
        found = repeated(edit, sample, [profile], now_ms)
    assert found is not None
    return found


def test_profile_that_enters_and_leaves_several_times_flaps() -> None:
    found = rounds()
    # In the first repeat it is a member, which is no entry: then four exits and three entries.
    assert found.segments["new"] == SegmentFlapping(members=1, changes=7, flapping=1, most=7)
    assert (found.repeats, found.from_ms) == (18, MONDAY + 1)


def test_profile_that_only_leaves_does_not_flap() -> None:
    assert rounds(hours=[0]).segments["new"] == SegmentFlapping(members=1, changes=1, flapping=0, most=1)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"min_stay": "1d"}, SegmentFlapping(1, 0, 0, 0)),
        ({"cool_down": "5h"}, SegmentFlapping(1, 3, 1, 3)),  # leaves, enters at 6 h, leaves
        ({"max_entries": 2}, SegmentFlapping(1, 3, 1, 3)),
    ],
)
def test_policies_hold_from_repeat_to_repeat(policy: dict[str, Any], expected: SegmentFlapping) -> None:
    assert rounds(policy).segments["new"] == expected


def test_hysteresis_holds_from_repeat_to_repeat() -> None:
    live = segments(recent={"score": "recency_days", "is": {"lt": 4}})
    engine = Engine(live)
    profile = engine.new_profile("user_id:u1")
    drafts = {
        "plain": {"score": "recency_days", "is": {"lt": 5}},
        "calm": {"score": "recency_days", "enter": {"lt": 5}, "exit": {"gte": 12}},
    }
    edit = edit_of([definition(key, form) for key, form in drafts.items()], [], live)
    sample = FollowedSample(ALL)
    for day in range(0, 24, 3):
        now_ms = MONDAY + day * D
        engine.on_timer(profile, clock_ms=now_ms)
        if day % 9 == 0:
            order = Event("Order Completed", now_ms, f"m{day}", {"total": 1})
            engine.on_event(profile, order, clock_ms=now_ms)
        found = repeated(edit, sample, [profile], now_ms)
    assert found.segments["plain"] == SegmentFlapping(members=1, changes=4, flapping=1, most=4)
    assert found.segments["calm"] == SegmentFlapping(members=1, changes=0, flapping=0, most=0)


def test_edited_segment_begins_with_the_memberships_in_force() -> None:
    live = segments(buyers={"did": "Order", "within": "7d"}, gone={"did": "Order", "within": "6d"})
    engine = Engine(live)
    profile = engine.new_profile("user_id:u1")
    engine.on_event(profile, Event("Order", MONDAY, "m1", {}), clock_ms=MONDAY)
    edit = edit_of([definition("buyers", {"did": "Order", "within": "6d"}, version=2)], ["gone"], live)
    sample = FollowedSample(ALL)
    repeated(edit, sample, [profile], MONDAY)
    found = repeated(edit, sample, [profile], MONDAY + 6 * D)  # in force, it is a member for another day
    assert found.segments == {"buyers": SegmentFlapping(members=1, changes=1, flapping=0, most=1)}


def test_new_profile_enters_and_a_profile_that_is_gone_is_forgotten() -> None:
    live = segments(views={"did": "Viewed", "within": "1h"})
    engine = Engine(live)
    profiles = [engine.new_profile(f"user_id:u{number}") for number in range(2)]
    for number, profile in enumerate(profiles):
        engine.on_event(profile, Event("Viewed", MONDAY, f"m{number}", {}), clock_ms=MONDAY)
    edit, sample = edit_of([definition("new", VIEWED)], [], live), FollowedSample(ALL)
    assert repeated(edit, sample, profiles[:1], MONDAY).segments["new"] == SegmentFlapping(members=1)
    both = repeated(edit, sample, profiles, MONDAY + M)
    assert (both.profiles, both.segments["new"]) == (2, SegmentFlapping(members=2, changes=1, most=1))
    rest = repeated(edit, sample, profiles[1:], MONDAY + 2 * M)
    assert (rest.profiles, rest.segments["new"]) == (1, SegmentFlapping(members=1, changes=1, most=1))


# -- samples -----------------------------------------------------------------------------------------------


def test_sample_is_drawn_by_the_hash_of_the_profile() -> None:
    live = segments(known={"known_for": "0s"})
    engine = Engine(live)
    profiles = [engine.new_profile(f"user_id:u{number}") for number in range(3_000)]
    for profile in profiles:
        engine.on_event(profile, Event("Viewed", MONDAY, "m", {}), clock_ms=MONDAY)
    edit = edit_of([definition("new", {"known_for": "1s"})], [], live)
    found = repeated(edit, FollowedSample(FOLLOWED_SHARE), profiles, MONDAY)
    assert found.profiles == sum(in_sample(each.id, FOLLOWED_SHARE) for each in profiles) > 0


def test_share_is_one_percent_of_as_many_as_can_be_followed() -> None:
    assert followed_share(0) == followed_share(100 * MAX_FOLLOWED) == FOLLOWED_SHARE
    assert followed_share(10**9) * 10**9 == pytest.approx(MAX_FOLLOWED)


def test_partition_remembers_the_latest_watches() -> None:
    samples = FollowedSamples()
    first = samples.of("0", 0.01)
    for number in range(1, MAX_WATCHES):
        samples.of(str(number), 0.01)
    assert samples.of("0", 0.01) is first
    samples.of("another", 0.01)  # in place of that asked for least lately, "1"
    assert samples.of("0", 0.01) is first
    samples.forget("0")
    samples.forget("unknown")
    assert samples.of("0", 0.01) is not first


_figures = st.builds(SegmentFlapping, *[st.integers(0, 9)] * 4)


@given(
    st.lists(
        st.builds(
            Flapping,
            st.just(0.01),
            st.integers(0, 9),
            st.integers(1, 9),
            st.integers(0, 9),
            st.dictionaries(st.sampled_from("abc"), _figures),
        ),
        min_size=1,
        max_size=4,
    ),
    st.data(),
)
def test_merging_does_not_depend_on_the_order(figures: list[Flapping], data: Any) -> None:
    whole = reduce(Flapping.merged, figures)
    shuffled: list[Flapping] = data.draw(st.permutations(figures))
    assert reduce(Flapping.merged, shuffled) == whole
    assert whole.profiles == sum(each.profiles for each in figures)
    assert whole.repeats == min(each.repeats for each in figures)
    assert whole.from_ms == max(each.from_ms for each in figures)


def test_partition_that_follows_nothing_leaves_the_flapping_unknown() -> None:
    known, unknown = Plan({}, flapping=Flapping(0.01, 1, 1, 0, {})), Plan({})
    assert known.merged(unknown).flapping is unknown.merged(known).flapping is None
    assert known.merged(known).flapping == Flapping(0.01, 2, 1, 0, {})
