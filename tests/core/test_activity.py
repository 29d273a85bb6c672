"""The activity of a profile follows from the days of its events, in whatever order they arrive."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from segops.core.activity import (
    DAY_MS,
    NEW,
    RESURRECTED,
    RETURNING,
    activity_of,
    merged_former_day,
    split_activity,
)
from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.merge import merge, redirect
from segops.core.profile import Profile
from segops.testing import segments

ENGINE = Engine(segments(any={"did": "A"}))
DAYS = st.integers(-40, 80)
TIMES = st.lists(st.builds(lambda day, ms: day * DAY_MS + ms, DAYS, st.integers(0, DAY_MS - 1)), max_size=8)


def lived(times: list[int], name: str) -> Profile:
    profile = ENGINE.new_profile(name)
    for number, time_ms in enumerate(times):
        ENGINE.on_event(profile, Event("A", time_ms, f"{name}{number}", {}), clock_ms=-(10**14))
    return profile


def expected(times: list[int]) -> tuple[int, int] | None:
    days = sorted({time_ms // DAY_MS for time_ms in times})
    if not days:
        return None
    if len(days) == 1:
        return days[0], NEW
    return days[-1], RESURRECTED if days[-1] - days[-2] > 30 else RETURNING


def found(profile: Profile) -> tuple[int, int] | None:
    activity = activity_of(profile)
    return None if activity is None else split_activity(activity)


@given(TIMES)
def test_the_order_of_events_does_not_matter(times: list[int]) -> None:
    assert found(lived(times, "u")) == expected(times)


@given(TIMES, TIMES)
def test_merged_profiles_have_the_activity_of_one(mine: list[int], theirs: list[int]) -> None:
    survivor, source = lived(mine, "s"), lived(theirs, "l")
    days = sorted({time_ms // DAY_MS for time_ms in (*mine, *theirs)})
    assert merged_former_day(survivor, source) == (days[-2] if len(days) > 1 else None)
    state = redirect(source, "s")
    assert activity_of(source) is None
    merge(survivor, state, ENGINE.segments.features, max([*mine, *theirs, 0]))
    assert found(survivor) == expected([*mine, *theirs])


def test_a_profile_of_a_version_that_did_not_note_days_returns() -> None:
    assert found(Profile("u", first_ms=0, latest_ms=90 * DAY_MS)) == (90, RETURNING)
    assert found(Profile("u", first_ms=90 * DAY_MS, latest_ms=90 * DAY_MS)) == (90, NEW)


def test_thirty_days_without_an_event_are_an_absence() -> None:
    for gap, kind in ((30, RETURNING), (31, RESURRECTED)):
        assert found(lived([0, gap * DAY_MS], "u")) == (gap, kind)
