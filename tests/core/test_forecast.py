"""The forecast of segments equals the future that is found by brute force, and what timers then do."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.profile import Profile
from segops.core.scans import (
    DAY_MS,
    HOUR_MS,
    MAX_INSTANTS,
    Flow,
    Forecast,
    Forecaster,
)
from segops.core.segments import SegmentSet
from segops.schemas.state import encode_profile
from segops.testing import segments
from tests.rest import examples

from .helpers import MONDAY, D, H, M
from .oracle import ChangeSummary, Oracle
from .strategies import BASE_MS, streams
from .test_equivalence import segment_sets


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


@examples(40, of=100)
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


def test_empty_partitions_merge() -> None:
    engine = Engine(segments(old={"known_for": "1h"}))
    empty: list[Forecast] = [Forecaster(engine, (), from_ms=MONDAY).result() for _ in range(2)]
    assert empty[0].merged(empty[1]) == empty[0]
