"""A profile folded at any instant equals one whose features were live from the start."""

from __future__ import annotations

from typing import Any

from hypothesis import given, note
from hypothesis import strategies as st

from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.features import Feature
from segops.core.merge import merge
from segops.core.profile import Profile
from segops.core.segments import SegmentSet
from segops.schemas.state import decode_profile, encode_profile
from tests.rest import examples

from .backfilling import readings, switched
from .oracle import MembershipState, Oracle
from .strategies import BASE_MS, streams
from .test_carried_state_truth import ProfileAndOracle, histories
from .test_equivalence import make_definition, seen_of, segment_sets

Steps = list[tuple[str, Any]]


class Life:
    """A profile by some segments; events advance the clock."""

    def __init__(self, segments: SegmentSet, profile_id: str = "user_id:u1") -> None:
        self.engine = Engine(segments)
        self.profile: Profile = self.engine.new_profile(profile_id)
        self.clock_ms = BASE_MS - 100_000
        self.events: list[Event] = []

    def step(self, kind: str, arg: Any) -> list[Any]:
        self.clock_ms = max(self.clock_ms, arg if kind == "clock" else arg.time_ms)
        if kind == "clock":
            return list(self.engine.on_timer(self.profile, clock_ms=self.clock_ms).changes)
        self.events.append(arg)
        result = self.engine.on_event(self.profile, arg, clock_ms=self.clock_ms)
        assert not result.failures
        self.profile = decode_profile(encode_profile(self.profile))
        return list(result.changes)

    def switch(self, segments: SegmentSet) -> None:
        """Go over to other segments, by a fold of all events so far."""
        former, self.engine = self.engine.segments, Engine(segments)
        self.profile = switched(self.profile, self.engine, self.events, former=former, clock_ms=self.clock_ms)

    @property
    def now_ms(self) -> int:
        return max(self.clock_ms, self.profile.latest_ms)


def has_orders(features: dict[int, Feature]) -> bool:
    return any(feature.purchases is not None for feature in features.values())


def is_frozen(features: dict[int, Feature]) -> bool:
    return any(feature.refresh is not None for feature in features.values())


def past(segments: SegmentSet, steps: Steps) -> Steps:
    """Return steps that history records completely.

    A repeated message is the same event; and there are no ticks if orders or frozen figures are read, since
    history does not say how far the clock was when an event arrived. For frozen ones no event is late.
    """
    first: dict[str, Event] = {}
    frozen = is_frozen(segments.features)
    ticks = () if frozen or has_orders(segments.features) else ("clock",)
    found = [
        (kind, arg if kind == "clock" else first.setdefault(arg.message_id, arg))
        for kind, arg in steps
        if kind == "event" or kind in ticks
    ]
    return sorted(found, key=lambda step: step[1].time_ms) if frozen else found


def assert_same_readings(segments: SegmentSet, live: Life, folded: Life) -> None:
    for feature in segments.features.values():
        expected = readings(feature, live.profile, live.now_ms)
        assert readings(feature, folded.profile, live.now_ms) == expected, feature


@examples(30, of=100)
@given(segment_sets(), streams(), st.integers(0, 10))
def test_folded_profile_reads_as_one_that_was_live_from_the_start(
    segments: SegmentSet, steps: Steps, cut: int
) -> None:
    note({d.key: d.written for d in segments.definitions})
    live, folded = Life(segments), Life(SegmentSet.EMPTY)
    for step in past(segments, steps[:cut]):
        live.step(*step)
        folded.step(*step)
    folded.switch(segments)
    assert_same_readings(segments, live, folded)
    for step in steps[cut:]:
        live.step(*step)
        folded.step(*step)
    assert_same_readings(segments, live, folded)


@examples(30, of=100)
@given(segment_sets(), streams(), st.integers(0, 10))
def test_folded_profile_has_the_memberships_of_the_slow_evaluator(
    segments: SegmentSet, steps: Steps, cut: int
) -> None:
    note({d.key: d.written for d in segments.definitions})
    life, earlier = Life(SegmentSet.EMPTY), Oracle([])
    for kind, arg in past(segments, steps[:cut]):
        life.step(kind, arg)
        earlier.on_clock(life.clock_ms) if kind == "clock" else earlier.on_event(arg, life.clock_ms)
    life.switch(segments)
    oracle = Oracle(segments.definitions, earlier.history)
    if life.profile.first_ms is not None:
        outside = {definition.key: MembershipState() for definition in segments.definitions}
        oracle.memberships, oracle.evaluated_ms = oracle._evaluate(outside, life.now_ms), life.now_ms
    assert set(life.profile.members) == oracle.members
    for kind, arg in steps[cut:]:
        changes = life.step(kind, arg)
        expected = oracle.on_clock(life.clock_ms) if kind == "clock" else oracle.on_event(arg, life.clock_ms)
        assert [seen_of(change, change.occurred_at) for change in changes] == expected
        assert set(life.profile.members) == oracle.members


@examples(30, of=100)
@given(segment_sets(limited=False), streams(), streams(), st.data())
def test_merge_of_folded_profiles_equals_the_merge_of_live_ones(
    segments: SegmentSet, mine: Steps, theirs: Steps, data: Any
) -> None:
    note({d.key: d.written for d in segments.definitions})
    events, own = (events_of(past(segments, steps)) for steps in (mine, theirs))
    shared = data.draw(st.lists(st.sampled_from(events), max_size=3)) if events else []
    assert_same_merge(segments, events, [*map(renamed, own), *shared])


ACCUMULATORS = SegmentSet(
    make_definition(f"s{number}", form)
    for number, form in enumerate(
        (
            {"did": "A", "count": {"gte": 2}},
            {"did": ["A", "B"], "count": {"gte": 2}, "calendar": {"this": "day"}},
            {"sum": "p", "of": ["A", "B", "C"], "is": {"gte": 2}},
            {"avg": "p", "of": "A", "is": {"gte": 2}, "calendar": {"this": "week"}},
        )
    )
)


@given(streams(), streams(), st.data())
def test_message_of_both_merged_profiles_counts_once_in_accumulators(
    mine: Steps, theirs: Steps, data: Any
) -> None:
    events, own = (events_of(past(ACCUMULATORS, steps)) for steps in (mine, theirs))
    shared = data.draw(st.lists(st.sampled_from(events), min_size=1, max_size=3)) if events else []
    assert_same_merge(ACCUMULATORS, events, [*map(renamed, own), *shared])


def test_order_that_has_left_its_period_is_cancelled_by_a_merge() -> None:
    segments = SegmentSet([make_definition("s0", {"rfm": {"recency": {"gte": 1}}})])
    cancelled = Event("Order Cancelled", BASE_MS, "m1", {"order_id": "o1"})
    completed = Event("Order Completed", BASE_MS, "m2", {"order_id": "o1"})
    assert_same_merge(segments, [cancelled], [completed, Event("A", BASE_MS + 86_400_000, "m3", {})])


def events_of(steps: Steps) -> list[Event]:
    return [arg for kind, arg in steps if kind == "event"]


def assert_same_merge(segments: SegmentSet, mine: list[Event], theirs: list[Event]) -> None:
    """Merge a visitor, who sent ``theirs``, into a user, who sent ``mine``: both live, and both folded."""
    pairs = []
    for begin in (segments, SegmentSet.EMPTY):
        survivor, source = Life(begin), Life(begin, "anonymous_id:a1")
        for life, found in ((survivor, mine), (source, theirs)):
            for event in sorted(found, key=lambda event: event.time_ms):
                life.step("event", event)
        pairs.append((survivor, source))
    for life in pairs[1]:
        life.switch(segments)
    now_ms = max(life.now_ms for life in pairs[0])
    for survivor, source in pairs:
        merge(survivor.profile, source.profile, segments.features, now_ms)
        survivor.clock_ms = now_ms
    assert_same_readings(segments, pairs[0][0], pairs[1][0])


class BackfilledProfile(ProfileAndOracle):
    """A profile that gets the entries beyond the capacity of its former definitions by a fold."""

    def switch(self, segments: SegmentSet) -> None:
        former, self.engine = self.engine.segments, Engine(segments)
        events = self.oracle.history.events
        self.profile = switched(self.profile, self.engine, events, former=former, clock_ms=self.clock_ms)


@examples(30, of=100)
@given(histories(raised=True))
def test_any_threshold_decides_as_if_in_force_from_the_start(
    life: tuple[str, list[tuple[str, Any]]],
) -> None:
    figure, steps = life
    note(figure)
    profile = BackfilledProfile(figure)
    for kind, arg in steps:
        note(f"{kind} {arg}")
        profile.step(kind, arg)


def renamed(event: Event) -> Event:
    return Event(event.name, event.time_ms, f"other {event.message_id}", event.properties, event.traits)
