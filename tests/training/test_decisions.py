"""Decisions: what they see, how they are labelled, and what limits do to them, against the whole stream."""

from __future__ import annotations

from collections.abc import Sequence
from math import log1p

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segops.core.events import Event
from segops.core.training.decisions import QUIET_MS, Decisions, DecisionState, Task
from segops.training.snapshot import restore, snapshot_of

from .helpers import DAY_MS, HOUR_MS, TASK, event, known, observed, observer

STEPS = st.lists(
    st.tuples(
        st.integers(0, 60 * HOUR_MS) | st.integers(0, 90_000),
        st.sampled_from(["View", "View", "Buy"]),
        st.sampled_from(["a", "b", "c"]),
    ),
    min_size=1,
    max_size=40,
)


def stream(steps: Sequence[tuple[int, str, str]]) -> list[tuple[str, Event]]:
    at_ms, found = DAY_MS, []
    for number, (gap_ms, name, user) in enumerate(steps):
        at_ms += gap_ms
        found.append((f"user_id:{user}", event(name, at_ms, number, user, price=number)))
    return found


@given(STEPS)
@settings(max_examples=40)
def test_a_label_is_what_follows_within_the_horizon(steps: list[tuple[int, str, str]]) -> None:
    events = stream(steps)
    end_ms = events[-1][1].time_ms + 20 * DAY_MS
    found = observed(events, end_ms)
    for each in known(found):
        times = [e.time_ms for p, e in events if p == each.profile and e.name == "Buy"]
        assert each.observed == any(each.at_ms < t <= each.at_ms + DAY_MS for t in times)
        assert each.at_ms + DAY_MS < end_ms
    assert all(each.at_ms + DAY_MS >= end_ms for each in found.decisions[0].pending)
    times_of = [each.at_ms for each in known(found)]
    assert times_of == sorted(times_of)


@given(STEPS, st.integers(0, 39))
@settings(max_examples=40)
def test_no_decision_sees_what_came_after_it(steps: list[tuple[int, str, str]], at: int) -> None:
    """The structural guard against leaks: a stream that ends earlier has the same decisions up to then."""
    events = stream(steps)
    cut = events[: at % len(events) + 1]
    whole, part = observed(events, events[-1][1].time_ms), observed(cut, cut[-1][1].time_ms)
    decisions = [*known(part), *part.decisions[0].pending]
    same = [*known(whole), *whole.decisions[0].pending][: len(decisions)]
    assert [(d.profile, d.at_ms, d.vector) for d in decisions] == [
        (d.profile, d.at_ms, d.vector) for d in same
    ]


def test_a_vector_holds_what_was_applied_and_nothing_else() -> None:
    events = [("user_id:u", event("View", DAY_MS + n * HOUR_MS, n, price=n)) for n in range(40)]
    found = observed(events, 60 * DAY_MS)
    taken = [each for each in known(found) if each.at_ms < events[-1][1].time_ms]
    assert taken
    for each in taken:
        before = [e for _, e in events if e.time_ms <= each.at_ms]
        within = [e for e in before if each.at_ms - DAY_MS < e.time_ms]
        assert each.vector[1] == len(before)
        assert each.vector[0] == pytest.approx(log1p(len(within)))
        assert each.vector[3] == before[-1].properties["price"]


def test_decisions_are_taken_in_quiet_at_growing_distances() -> None:
    found = observed([("user_id:u", event("View", DAY_MS, 1))], 200 * DAY_MS)
    quiet = [each.at_ms - DAY_MS for each in known(found) if each.at_ms > DAY_MS]
    assert len(quiet) == len(QUIET_MS)
    for after_ms, middle_ms in zip(quiet, QUIET_MS, strict=True):
        assert middle_ms / 2 <= after_ms < middle_ms * 1.5
    assert [each.vector[0] > 0 for each in known(found) if each.at_ms > DAY_MS][:1] == [True]
    assert known(found)[-1].vector[0] == 0


def test_an_event_begins_the_quiet_again() -> None:
    late_ms = DAY_MS + 10 * HOUR_MS
    events = [("user_id:u", event("View", at_ms, n)) for n, at_ms in enumerate((DAY_MS, late_ms))]
    found = observed(events, 200 * DAY_MS)
    between = [each for each in known(found) if DAY_MS < each.at_ms < late_ms]
    assert [each.vector[1] for each in between] == [1, 1]  # 1 and 4 hours after the first event
    after = [each.at_ms - late_ms for each in known(found) if each.at_ms > late_ms]
    assert len(after) == len(QUIET_MS) and after[0] < 1.5 * HOUR_MS


def test_what_follows_a_visitor_is_what_follows_the_user_that_he_turns_out_to_be() -> None:
    def visit(number: int, at_ms: int, name: str = "View", user: str | None = None) -> tuple[str, Event]:
        profile = "anonymous_id:a" if user is None else f"user_id:{user}"
        return profile, Event(name, at_ms, f"v{number}", {}, user_id=user, anonymous_id="a")

    before = [visit(number, DAY_MS + number) for number in range(40)]
    events = [*before, visit(40, 2 * DAY_MS - HOUR_MS, "Login", "u"), visit(41, 2 * DAY_MS - 1, "Buy", "u")]
    found = observed(events, 4 * DAY_MS)
    early = [each for each in known(found) if each.at_ms < DAY_MS + 40]
    assert early and all(each.observed for each in early)
    assert found.replay.counts["merged"] == 1
    # ... and an order that the visitor placed counts for the user, whose profile it is part of
    user = [("user_id:u", Event("View", DAY_MS + n, f"w{n}", {}, user_id="u")) for n in range(40)]
    events = [*user, visit(50, DAY_MS + HOUR_MS, "Buy"), visit(51, DAY_MS + 2 * HOUR_MS, "Login", "u")]
    found = observed(events, 4 * DAY_MS)
    early = [each for each in known(found) if each.at_ms < DAY_MS + 40]
    assert early and all(each.observed for each in early)


def test_beyond_the_limit_a_sample_stays_and_what_is_dropped_is_counted() -> None:
    events = [
        (f"user_id:u{n % 50}", event("View", DAY_MS + n * 60_000, n, f"u{n % 50}")) for n in range(2_000)
    ]
    whole, part = observed(events, 90 * DAY_MS), observed(events, 90 * DAY_MS, decisions=150)
    assert len(known(part)) <= 150
    of_whole = {(d.profile, d.at_ms) for d in known(whole)}
    assert {(d.profile, d.at_ms) for d in known(part)} < of_whole
    assert 0 < part.decisions[0].dropped < len(known(whole))
    assert min(d.at_ms for d in known(part)) < DAY_MS + 1_000 * 60_000 < max(d.at_ms for d in known(part))


@given(STEPS, st.integers(0, 39))
@settings(max_examples=25)
def test_a_restart_from_a_snapshot_changes_nothing(steps: list[tuple[int, str, str]], at: int) -> None:
    events = stream(steps)
    cut, end_ms = at % len(events), events[-1][1].time_ms + 3 * DAY_MS
    whole, first, second = observed(events, end_ms), observer(), observer()
    for profile, each in events[:cut]:
        first.event(profile, each)
    stored = msgspec.msgpack.encode(snapshot_of(first, "of", {0: cut}))
    restore(second, msgspec.msgpack.decode(stored, type=type(snapshot_of(first, "of", {}))))
    for profile, each in events[cut:]:
        second.event(profile, each)
    second.replay.clock_ms = end_ms
    second.finish()
    assert known(second) == known(whole)
    assert list(second.decisions[0].pending) == list(whole.decisions[0].pending)


def test_duplicates_and_late_events_take_no_label_away() -> None:
    buy, view = event("Buy", DAY_MS + 2, 2), event("View", DAY_MS, 1)
    events = [("user_id:u", each) for each in (view, event("View", DAY_MS + 3, 3), buy, buy)]
    found = observed(events, 90 * DAY_MS)
    assert found.counts["duplicate"] == 1
    for each in known(found):
        assert each.observed == (each.at_ms < DAY_MS + 2)


def test_an_erased_person_is_forgotten() -> None:
    events = [(f"user_id:{user}", event("Buy", DAY_MS + n, n, user)) for n, user in enumerate("ab" * 30)]
    found = observed(events)
    found.event("user_id:b", event("View", 3 * DAY_MS, 90, "b"))
    found.erase("user_id:a")
    assert {each.profile for each in known(found)} == {"user_id:b"}
    assert list(found.replay.profiles) == ["user_id:b"]
    assert b"user_id:a" not in msgspec.msgpack.encode(snapshot_of(found, "of", {}))


def test_only_a_sample_of_profiles_is_followed_beyond_the_limit() -> None:
    events = [
        (f"user_id:u{n % 400}", event("View", DAY_MS + n * 60_000, n, f"u{n % 400}")) for n in range(1_200)
    ]
    found, whole = observed(events, profiles=120), observed(events)
    assert len(found.replay.profiles) <= 120 and found.counts["profile"] > 0
    assert found.counts["skipped"] + found.counts["applied"] == len(events)
    for name, profile in found.replay.profiles.items():
        assert profile.features == whole.replay.profiles[name].features


def test_old_decisions_expire() -> None:
    events = [("user_id:u", event("View", DAY_MS + n * HOUR_MS, n)) for n in range(100)]
    found = observed(events, 90 * DAY_MS)
    found.decisions[0].expire(3 * DAY_MS)
    assert known(found) and all(each.at_ms >= 3 * DAY_MS for each in known(found))


def test_states_of_other_tasks_are_apart() -> None:
    week = Task("convert_7d", ("Buy",), 7 * DAY_MS)
    events = [
        *[("user_id:u", event("View", DAY_MS + n, n)) for n in range(40)],
        ("user_id:u", event("Buy", 4 * DAY_MS, 99)),
    ]
    found = observed(events, 90 * DAY_MS, tasks=(TASK, week))
    day, seven = (list(of.known) for of in found.decisions)
    assert not any(each.observed for each in day if each.at_ms < 2 * DAY_MS)
    assert all(each.observed for each in seven if each.at_ms < 2 * DAY_MS)
    assert isinstance(found.decisions[0].state, DecisionState) and isinstance(found.decisions[0], Decisions)
