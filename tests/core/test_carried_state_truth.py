"""A changed threshold within the stored capacity decides as if in force from the start."""

from __future__ import annotations

from typing import Any

from hypothesis import given, note
from hypothesis import strategies as st

from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.features import CAPACITIES
from segops.core.profile import Profile
from segops.core.rules.counts import boundaries
from segops.core.rules.parsing import Reader
from segops.core.segments import SegmentSet
from segops.core.values import format_instant
from segops.schemas.state import decode_profile, encode_profile
from tests.rest import examples

from .oracle import MembershipState, Oracle
from .strategies import BASE_MS, composite
from .test_equivalence import make_definition, seen_of

EVERYTHING = 10**6
LIMITS = (1, 2, 3, 4, 5, 6, 7, 8, 16, 17, 257, 300)
FIGURES: dict[str, dict[str, Any]] = {
    "count": {"did": "A", "within": "9s"},
    "of some": {"did": ["A", "B"], "where": {"p": {"in": ["x", "y"]}}, "within": "9s"},
    "of a date": {"did": "A", "where": {"q": {"in_last": "7s"}}, "within": "9s"},
    "distinct": {"distinct": "p", "of": "A", "within": "9s"},
    "distinct ever": {"distinct": "p", "of": "A"},
    "distinct today": {"distinct": "p", "of": "A", "calendar": {"this": "day"}},
}


def limited(figure: str, test: dict[str, Any]) -> dict[str, Any]:
    return {**FIGURES[figure], "is" if "distinct" in figure else "count": test}


def entries_needed(test: dict[str, Any]) -> int:
    """Return the number of entries that decides a predicate."""
    return max(boundaries(Reader(test, "is").predicate()), default=1)


def capacity_of(tests: list[dict[str, Any]]) -> int:
    """Return the number of entries that is stored for these predicates."""
    most = max(map(entries_needed, tests))
    return next((capacity for capacity in CAPACITIES if capacity >= most), EVERYTHING)


@composite
def limits(draw: Any, most: int) -> dict[str, Any]:
    """Draw a predicate that at most ``most`` entries decide."""
    k = draw(st.sampled_from([limit for limit in LIMITS if limit <= most]))
    low = draw(st.integers(0, k - 1))
    forms: list[dict[str, Any]] = [
        {"gte": k},
        {"lt": k},
        {"lte": k - 1},
        {"eq": k - 1},
        {"between": [low, k - 1]},
    ]
    return draw(st.sampled_from(forms if k > 1 else [{"gte": 1}, {"eq": 0}]))


@composite
def histories(draw: Any, *, raised: bool = False) -> tuple[str, list[tuple[str, Any]]]:
    """Draw a figure and steps: events in order and late, ticks, and changes of the predicates.

    ``raised``: predicates may need more entries than those before.
    """
    figure, most, at = draw(st.sampled_from(sorted(FIGURES))), 1 if raised else EVERYTHING, BASE_MS
    steps: list[tuple[str, Any]] = []
    for number in range(draw(st.integers(2, 30))):
        kind = "tests" if number == 0 else draw(st.sampled_from(["event"] * 4 + ["clock", "tests"]))
        at += draw(st.sampled_from([0, 1, 1, 500, 900, 3_000]))
        if kind == "tests":
            tests = draw(st.lists(limits(most), min_size=1, max_size=3))
            most = draw(st.sampled_from((1, 4, 16))) if raised else min(most, capacity_of(tests))
            steps.append((kind, tests))
        elif kind == "clock":
            steps.append((kind, at))
        else:
            time_ms = at - draw(st.sampled_from([0, 0, 0, 1, 2_000, 8_000]))
            p = draw(st.sampled_from("xyzuvw"))
            name = draw(st.sampled_from("AAAB"))
            date = format_instant(BASE_MS + 1_000 * draw(st.integers(0, 9)))
            steps.append((kind, Event(name, time_ms, f"m{number}", {"p": p, "q": date})))
    return figure, [*steps, ("clock", at + 30_000)]


class ProfileAndOracle:
    """A profile under changing definitions, beside the oracle, which keeps all events."""

    def __init__(self, figure: str) -> None:
        self.figure = figure
        self.clock_ms = BASE_MS - 100_000
        self.oracle = Oracle([])
        self.engine = Engine(SegmentSet.EMPTY)
        self.profile: Profile = self.engine.new_profile("user_id:u1")

    def step(self, kind: str, arg: Any) -> None:
        if kind == "tests":
            self.adopt(arg)
        else:
            self.clock_ms = max(self.clock_ms, arg if kind == "clock" else arg.time_ms)
            self.advance(kind, arg)
        assert set(self.profile.members) == self.oracle.members
        self.profile = self.engine.open(decode_profile(encode_profile(self.profile)))

    def adopt(self, tests: list[dict[str, Any]]) -> None:
        forms = [limited(self.figure, test) for test in tests]
        found = SegmentSet([make_definition(f"s{number}", form) for number, form in enumerate(forms)])
        self.switch(found)
        self.oracle = Oracle(found.definitions, self.oracle.history)
        if self.profile.first_ms is None:
            return
        now_ms = max(self.clock_ms, self.profile.latest_ms)
        outside = {definition.key: MembershipState() for definition in found.definitions}
        self.oracle.memberships, self.oracle.evaluated_ms = self.oracle._evaluate(outside, now_ms), now_ms

    def switch(self, segments: SegmentSet) -> None:
        self.engine = Engine(segments)
        if self.profile.first_ms is None:
            self.profile.evaluated_by = self.engine.version
        else:
            self.engine.on_definitions(self.profile, clock_ms=self.clock_ms)

    def advance(self, kind: str, arg: Any) -> None:
        if kind == "clock":
            result = self.engine.on_timer(self.profile, clock_ms=self.clock_ms)
            expected = self.oracle.on_clock(self.clock_ms)
        else:
            result = self.engine.on_event(self.profile, arg, clock_ms=self.clock_ms)
            expected = self.oracle.on_event(arg, self.clock_ms)
        assert not result.failures
        assert [seen_of(change, change.occurred_at) for change in result.changes] == expected


@examples(50, of=200)
@given(histories())
def test_changed_threshold_within_capacity_decides_as_if_in_force_from_the_start(
    life: tuple[str, list[tuple[str, Any]]],
) -> None:
    figure, steps = life
    note(figure)
    profile = ProfileAndOracle(figure)
    for kind, arg in steps:
        note(f"{kind} {arg}")
        profile.step(kind, arg)


def former_profile(figure: str, tests: list[dict[str, Any]], events: list[Event]) -> Profile:
    """Return a profile as former versions stored it: one feature per capacity class."""
    every = Profile("user_id:u1")
    for test in tests:
        engine = Engine(SegmentSet([make_definition("s", limited(figure, test))]))
        alone = engine.new_profile("user_id:u1")
        for event in events:
            engine.on_event(alone, event, clock_ms=event.time_ms)
        (feature,) = engine.segments.features.values()
        former = dict(zip((*CAPACITIES, None), feature.former_ids, strict=True))[feature.capacity]
        if feature.id in alone.features:
            every.features[former] = alone.features[feature.id]
    return every


@examples(40, of=100)
@given(histories(), st.lists(limits(EVERYTHING), min_size=1, max_size=4))
def test_former_states_per_capacity_class_read_as_one(
    life: tuple[str, list[tuple[str, Any]]], tests: list[dict[str, Any]]
) -> None:
    figure, steps = life
    events = [arg for kind, arg in steps if kind == "event"]
    segments = SegmentSet([make_definition(f"s{i}", limited(figure, test)) for i, test in enumerate(tests)])
    engine = Engine(segments)
    single = engine.new_profile("user_id:u1")
    for event in events:
        engine.on_event(single, event, clock_ms=event.time_ms)
    former = former_profile(figure, tests, events)
    former.evaluated_by, former.first_ms = engine.version, single.first_ms
    opened = engine.open(decode_profile(encode_profile(former)))
    assert opened.features.keys() == single.features.keys()
    now_ms = max([BASE_MS, *(event.time_ms for event in events)])
    for segment in segments.segments:
        for later in (0, 1_000, 5_000, 9_000):
            assert segment.rule.holds(opened, now_ms + later) is segment.rule.holds(single, now_ms + later)
        member = segment.rule.holds(single, now_ms)
        assert segment.rule.next_flip(opened, now_ms, member) == segment.rule.next_flip(
            single, now_ms, member
        )
