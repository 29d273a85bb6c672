"""Sessions, periods and local days: edges, late events, bounds of the state, and merges."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.features import Feature, reducer_of
from segops.core.features.building import built
from segops.core.features.feature import MAX_ENTRIES, Unfolding
from segops.core.features.merging import merge_state
from segops.core.features.sessions import MAX_SESSIONS
from segops.core.features.states import Counted, Marks, Session, Sessions
from segops.core.values import parse_instant
from segops.core.windows import ALWAYS, Between, Calendar, Fixed, Within, period_key, span
from segops.testing import Customer, Flip
from tests.rest import examples

from .helpers import MONDAY, D, H, holds_at

T = MONDAY
GAP = 10
SESSIONS = Feature("sessions", ("A",), (), ALWAYS, length_ms=GAP)
FIGURES = Feature("session", ("A",), (), ALWAYS, path=("p",), length_ms=GAP)
PERIODS = Feature("periods", ("A",), (), Within(40), length_ms=10)
STAGE = Feature("lifecycle", ("A",), (), ALWAYS, length_ms=10)


def state_of(feature: Feature, *times: int, now_ms: int | None = None) -> Any:
    """Return the state after events that arrive in this order, with their place as the value."""
    reducer, state, at = reducer_of(feature), None, -(10**12)
    for number, time_ms in enumerate(times):
        at = max(at, time_ms, now_ms or at)
        value = (number,) if feature.path else None
        state = reducer.add(state, time_ms, value, at) or state
    return state


def read(feature: Feature, state: Any, now_ms: int) -> Any:
    return reducer_of(feature).read(state, now_ms)


# -- days --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "zone", "times", "number"),
    [
        (
            "day",
            "Europe/Paris",
            ["2026-03-28T22:59:59.999Z", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59.999Z"],
            2,
        ),
        (
            "day",
            "Europe/Paris",
            ["2026-10-24T22:00:00Z", "2026-10-25T22:59:59.999Z", "2026-10-25T23:00:00Z"],
            2,
        ),
        ("day", "Pacific/Apia", ["2011-12-30T09:59:59.999Z", "2011-12-30T10:00:00Z"], 2),
        ("week", "UTC", ["2025-12-29", "2026-01-04T23:59:59.999Z", "2026-01-05"], 2),
        ("month", "Asia/Kolkata", ["2026-01-31T18:29:59.999Z", "2026-01-31T18:30:00Z"], 2),
        ("day", "America/New_York", ["0001-01-01", "0001-01-01T00:00:00.001Z"], 1),
        ("month", "Pacific/Kiritimati", ["9999-12-31T23:59:59.999Z"], 1),
    ],
)
def test_local_period_of_an_instant(unit: str, zone: str, times: list[str], number: int) -> None:
    keys = {period_key(Calendar(unit, zone), parse_instant(time) or 0) for time in times}
    assert len(keys) == number


def test_days_above_every_capacity_are_all_counted() -> None:
    rule = {"active_days": "A", "is": {"gte": 300}, "within": "365d"}
    events = [("A", T + day * D) for day in range(300)]
    assert holds_at(rule, T + 299 * D, *events)
    assert not holds_at(rule, T + 299 * D, *events[1:])


# -- sessions ----------------------------------------------------------------------------------------------


def test_session_ends_at_the_millisecond_without_an_event() -> None:
    customer = Customer(there={"session": "events", "of": "A", "gap": "1h", "is": {"gte": 1}})
    customer.send("A", T)
    customer.send("A", T + H - 1)
    assert customer.wait(T + D) == [Flip("exited", "there", T + 2 * H - 1)]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0, 9], [(0, 9, 2)]),
        ([0, 10], [(0, 0, 1), (10, 10, 1)]),
        ([0, 18, 9], [(0, 18, 3)]),
        ([0, 20, 10], [(0, 0, 1), (10, 10, 1), (20, 20, 1)]),
        ([5, 0, 5], [(0, 5, 3)]),
        ([0, 40, 20, 30, 29], [(0, 0, 1), (20, 30, 3), (40, 40, 1)]),
    ],
)
def test_late_events_extend_and_join_sessions(times: list[int], expected: list[tuple[int, int, int]]) -> None:
    state = state_of(SESSIONS, *times)
    assert [(s.begin_ms, s.last_ms, s.events) for s in state.sessions] == expected


def test_values_of_a_session_are_the_first_and_last_in_order() -> None:
    reducer, state = reducer_of(FIGURES), None
    for time_ms, value in ((5, None), (5, "b"), (5, "c"), (3, None), (9, "d"), (9, "e"), (12, None)):
        state = reducer.add(state, time_ms, (value,), 12)
    assert read(FIGURES, state, 12)[0] == Session(3, 12, 7, (5, "b"), (9, "e"))


def test_sessions_kept_are_bounded() -> None:
    many = range(0, (MAX_ENTRIES + 5) * GAP, GAP)
    assert len(state_of(SESSIONS, *many).sessions) == MAX_ENTRIES
    latest = state_of(FIGURES, *many)
    assert [s.begin_ms for s in latest.sessions] == list(many)[-MAX_SESSIONS:]
    assert reducer_of(FIGURES).add(latest, 0, (1,), many[-1]).sessions == latest.sessions


def test_sessions_leave_the_state_once_no_late_event_can_matter() -> None:
    feature = Feature("sessions", ("A",), (), Within(100), length_ms=GAP)
    state = state_of(feature, 0, 50, 111)
    assert [s.begin_ms for s in state.sessions] == [50, 111]
    assert reducer_of(feature).add(state, 1, None, 111) is None
    joined = reducer_of(feature).add(state_of(feature, 12, 111), 8, None, 111)
    assert read(feature, joined, 111) == 1
    until = Feature("sessions", ("A",), (), Fixed(None, 20), length_ms=GAP)
    assert reducer_of(until).add(None, 20, None, 20) is None


@pytest.mark.parametrize(
    "window", [Within(100), Between(100, 7), Fixed(5, 90), Calendar("day", "UTC"), ALWAYS]
)
@examples(40, of=200)
@given(st.lists(st.integers(0, 150), min_size=1, max_size=25), st.integers(0, 120))
def test_number_of_sessions_is_that_of_times_without_one_shortly_before(
    window: Any, times: list[int], later: int
) -> None:
    feature = Feature("sessions", ("A",), (), window, length_ms=GAP)
    now_ms = max(times) + later
    after, upto = span(window, now_ms)
    begins = {t for t in times if not any(t - GAP < other < t for other in times)}
    expected = sum(after < t <= upto for t in begins)
    assert read(feature, state_of(feature, *times), now_ms) == expected
    assert (
        read(feature, built(reducer_of(feature), [(t, None) for t in sorted(times)], now_ms), now_ms)
        == expected
    )


def test_merge_of_sessions_counts_a_shared_message_once() -> None:
    feature = msgspec.structs.replace(FIGURES, path=None)
    mine, theirs = state_of(feature, 0, 5, 30), state_of(feature, 5, 12, 50)
    shared = [Counted(5, [feature.id]), Counted(12)]
    merged = merge_state(feature, mine, theirs, shared=shared, now_ms=50)
    assert isinstance(merged, Sessions)
    assert [(s.begin_ms, s.last_ms, s.events) for s in merged.sessions] == [
        (0, 12, 3),
        (30, 30, 1),
        (50, 50, 1),
    ]


def test_merge_of_sessions_prefers_the_source_first_and_the_survivor_last() -> None:
    reducer = reducer_of(FIGURES)
    mine, theirs = (reducer.add(None, 5, (value,), 5) for value in ("mine", "theirs"))
    (merged,) = merge_state(FIGURES, mine, theirs, shared=(), now_ms=5).sessions  # type: ignore[union-attr]
    assert (merged.first, merged.last) == ((5, "theirs"), (5, "mine"))


# -- periods -----------------------------------------------------------------------------------------------


def occupied(times: list[int], now_ms: int) -> int:
    ends = [now_ms - number * 10 for number in range(4)]
    return sum(any(end - 10 < t <= end for t in times) for end in ends)


def lifecycle_of(times: list[int], now_ms: int) -> str:
    latest, before = (any(low <= now_ms - t < low + 10 for t in times) for low in (0, 10))
    if not latest:
        return "dormant"
    if before:
        return "active"
    return "resurrected" if any(now_ms - t >= 20 for t in times) else "new"


@pytest.mark.parametrize(
    ("feature", "expected"), [(PERIODS, occupied), (STAGE, lifecycle_of)], ids=["periods", "stage"]
)
@examples(100, of=500)
@given(st.lists(st.integers(0, 90), min_size=1, max_size=30))
def test_marks_read_as_all_times_would_now_and_later(
    feature: Feature, expected: Any, times: list[int]
) -> None:
    state, now_ms, reducer = state_of(feature, *times), max(times), reducer_of(feature)
    assert len(state.times) <= 10
    verdicts = [expected(times, now_ms + later) for later in range(60)]
    assert [reducer.read(state, now_ms + later) for later in range(60)] == verdicts
    changes = list(future(reducer, state, now_ms))
    for later, verdict in enumerate(verdicts):
        assert [value for at, value in changes if at <= now_ms + later][-1] == verdict


def future(reducer: Any, state: Any, now_ms: int) -> Iterator[tuple[int, Any]]:
    """Yield the readings by time alone; those of periods at the instants at which it crosses a number."""
    if isinstance(reducer, Unfolding):
        yield from reducer.future(state, now_ms)
        return
    at: int | None = now_ms
    while at is not None:
        yield at, reducer.read(state, at)
        edges = (reducer.next_crossing(state, k, at) for k in range(1, reducer.number + 1))
        later = min((edge for edge in edges if edge is not None), default=None)
        assert later is None or (later > at and reducer.read(state, later) != reducer.read(state, at))
        at = later


@given(
    st.lists(st.integers(0, 90), min_size=1, max_size=15),
    st.lists(st.integers(0, 90), min_size=1, max_size=15),
)
def test_merged_marks_read_as_all_times_of_both(mine: list[int], theirs: list[int]) -> None:
    now_ms = max(*mine, *theirs)
    for feature, expected in ((PERIODS, occupied), (STAGE, lifecycle_of)):
        states = (state_of(feature, *times, now_ms=now_ms) for times in (mine, theirs))
        merged = merge_state(feature, *states, shared=(), now_ms=now_ms)
        for later in range(0, 60, 7):
            assert read(feature, merged, now_ms + later) == expected([*mine, *theirs], now_ms + later)


def test_marks_are_bounded_however_many_events_there_are() -> None:
    feature = Feature("periods", ("A",), (), Within(60 * 1000), length_ms=1000)
    state = state_of(feature, *range(0, 200_000, 7))
    assert isinstance(state, Marks)
    assert len(state.times) <= 2 * 60 + 2


def test_event_that_decides_nothing_changes_nothing() -> None:
    state = state_of(PERIODS, 0, 9)
    assert reducer_of(PERIODS).add(state, 5, None, 9) is None
    assert reducer_of(PERIODS).add(state, 9, None, 9) is None
    assert state.times == [0, 9]


def test_stages_of_a_customer_follow_one_another_in_time() -> None:
    stages = ("new", "active", "resurrected", "dormant")
    rules = {name: {"lifecycle": {"of": "A", "period": "10d", "is": name}} for name in stages}
    customer = Customer(**rules)
    found = []
    for day in (0, 4, 40):
        found += customer.did("A", T + day * D)
    found += customer.wait(T + 100 * D)
    entered = [(flip.segment, (flip.occurred_at - T) / D) for flip in found if flip.action == "entered"]
    assert entered == [("new", 0), ("active", 10), ("dormant", 14), ("resurrected", 40), ("dormant", 50)]


# -- compatibility -----------------------------------------------------------------------------------------


def test_new_fields_tell_features_apart() -> None:
    plain = Feature("distinct", ("A",), (), ALWAYS)
    weeks, days = (Feature("distinct", ("A",), (), ALWAYS, days=Calendar(u, "UTC")) for u in ("week", "day"))
    longer = Feature("sessions", ("A",), (), ALWAYS, length_ms=GAP + 1)
    ids = [each.id for each in (plain, weeks, days, SESSIONS, longer, FIGURES, PERIODS, STAGE)]
    assert not any(a == b for a, b in itertools.combinations(ids, 2))


def test_events_of_the_latest_sessions_are_noted_for_a_merge() -> None:
    noted = Counted(0)
    for feature, value in ((FIGURES, (0,)), (SESSIONS, None), (PERIODS, None), (STAGE, None)):
        noted.note(feature.id, reducer_of(feature).add(None, 0, value, 0), value)
    assert noted == Counted(0, [FIGURES.id])
