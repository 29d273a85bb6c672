"""The hour and the weekday as features: what clocks show, when scores move by them, and where they end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import cos, pi, sin
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segops.core.clocks import CIRCLES, CLOCK_MS, next_shown, shown
from segops.core.engine import Engine
from segops.core.errors import DefinitionError
from segops.core.events import Event
from segops.core.profile import Profile
from segops.core.rules.execution import compile_rule
from segops.core.rules.model import ScoreNode
from segops.core.segments import SegmentSet
from segops.core.views.scores import score_note
from segops.schemas.models import read_model
from segops.schemas.segments import inline
from segops.testing import at

from .models import IDLE, VIEWS, logistic, models_of

HOUR = 3_600_000
ZONES = ("UTC", "Europe/Paris", "Asia/Kolkata", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu")


def clock(unit: str = "hour", zone: str = "Europe/Paris", **keys: Any) -> dict[str, Any]:
    return {"name": f"{unit}_{keys.get('transform')}", "figure": {"clock": unit, "zone": zone}, **keys}


def rule_of(features: list[dict[str, Any]], weights: list[float], test: dict[str, Any]) -> SegmentSet:
    form = {**logistic("own", features, weights), "kind": "linear"}
    form["parameters"]["intercept"] = 0.0
    written = [{"key": "rule", "when": {"score": "own", "is": test}}]
    return SegmentSet(inline(written, "test", "segments", models=models_of(form)))


def flips_of(of: SegmentSet, times: list[int]) -> tuple[list[int], int]:
    """Return the instants at which the membership changed after the last of these events, and how many."""
    engine, profile = Engine(of), Profile("user_id:u1")
    for number, time_ms in enumerate(times):
        engine.on_event(profile, Event("View", time_ms, f"m{number}", {}), clock_ms=time_ms)
    changes = engine.on_timer(profile, clock_ms=times[-1] + 30 * 24 * HOUR).changes
    return [each.occurred_at for each in changes], len(changes)


@given(
    st.sampled_from(ZONES),
    st.integers(10 * 365 * 96, 67 * 365 * 96).map(lambda n: datetime.fromtimestamp(n * 900, UTC)),
    st.sampled_from(sorted(CIRCLES)),
)
@settings(max_examples=60)
def test_clocks_show_the_hour_and_the_day_until_they_show_another(
    zone: str, when: datetime, unit: str
) -> None:
    at_ms, at_end = int(when.timestamp()) * 1_000, when
    read = {"hour": lambda local: local.hour, "weekday": lambda local: local.isoweekday() - 1}[unit]
    value = read(when.astimezone(ZoneInfo(zone)))
    assert shown(unit, zone, at_ms) == shown(unit, zone, at_ms + 899_999) == value
    while read(at_end.astimezone(ZoneInfo(zone))) == value:
        at_end += timedelta(minutes=15)
    assert next_shown(unit, zone, at_ms) == int(at_end.timestamp()) * 1_000


@pytest.mark.parametrize(
    ("first", "evenings"),
    [
        ("2026-03-27T12:00:00Z", ["17:00", "17:00", "16:00", "16:00", "16:00", "16:00", "16:00"]),
        ("2026-10-23T12:00:00Z", ["16:00", "16:00", "17:00", "17:00", "17:00", "17:00", "17:00"]),
    ],
)
def test_an_evening_begins_by_local_clocks_when_these_are_changed(first: str, evenings: list[str]) -> None:
    """From 18:00 to 24:00 in Paris, on the seven days after an event; the clocks change on the third one."""
    found, _ = flips_of(rule_of([clock()], [1.0], {"gte": 18}), [at(first)])
    day = datetime.fromisoformat(first).replace(hour=0)
    expected = []
    for number, evening in enumerate(evenings):
        hours, minutes = map(int, evening.split(":"))
        begin = day + timedelta(days=number, hours=hours, minutes=minutes)
        expected += [begin, begin + timedelta(hours=6)]
    assert found == [int(each.timestamp()) * 1_000 for each in expected]


def test_clocks_are_missing_seven_days_after_the_latest_event() -> None:
    first = at("2026-01-05T12:00:00.007Z")
    found, _ = flips_of(rule_of([clock(missing=-1)], [1.0], {"lt": 0}), [first])
    assert found == [first + CLOCK_MS]
    again, _ = flips_of(rule_of([clock(missing=-1)], [1.0], {"lt": 0}), [first, first + 5 * HOUR])
    assert again == [first + 5 * HOUR + CLOCK_MS]


_weights = st.sampled_from([-2.0, -0.4, 0.0, 0.3, 1.5])


@settings(max_examples=25)
@given(
    st.lists(_weights, min_size=5, max_size=5),
    st.lists(st.integers(0, 3 * 24 * HOUR), min_size=1, max_size=4),
    st.sampled_from([{"gte": 0.5}, {"lt": -0.2}, {"between": [-0.4, 0.6]}]),
    st.sampled_from(ZONES),
)
def test_verdicts_change_exactly_where_values_do(
    weights: list[float], times: list[int], test: dict[str, Any], zone: str
) -> None:
    waves = [clock("hour", zone, transform=name) for name in ("sine", "cosine_2")]
    of = rule_of([VIEWS, IDLE, *waves, clock("weekday", zone, transform="sine", missing=0.1)], weights, test)
    begin = at("2026-03-27T00:00:00Z")
    times = sorted(begin + each for each in times)
    engine, profile = Engine(of), Profile("user_id:u1")
    for number, time_ms in enumerate(times):
        engine.on_event(profile, Event("View", time_ms, f"m{number}", {}), clock_ms=time_ms)
    now_ms, node = times[-1], of.definitions[0].when
    assert isinstance(node, ScoreNode)
    rule = compile_rule("rule", node, {})
    steps = {now_ms // 900_000 * 900_000 + number * 900_000 for number in range(1, 4 * 24 * 12)}
    steps |= {time_ms + shift * 24 * HOUR for time_ms in times for shift in range(1, 12)}
    expected, known = [], rule.holds(profile, now_ms)
    for step in sorted(each for each in steps if each > now_ms):
        if rule.holds(profile, step) is not known:
            known = not known
            expected.append(step)
    found = list(rule.changes(profile, now_ms))
    changed = [after[0] for before, after in pairwise(found) if before[1] is not after[1]]
    assert [each for each in changed if each <= max(steps)] == expected


def test_a_score_that_no_hour_can_move_over_the_threshold_is_looked_at_once() -> None:
    of = rule_of([VIEWS, clock(transform="sine")], [1.0, 0.2], {"gte": 5})
    profile = Profile("user_id:u1")
    Engine(of).on_event(profile, Event("View", 0, "m", {}), clock_ms=0)
    rule = compile_rule("rule", of.definitions[0].when, {})
    assert list(rule.changes(profile, 0)) == [(0, False)]


@pytest.mark.parametrize(
    ("transform", "unit", "expected"),
    [
        ("sine", "hour", sin(2 * pi * 13 / 24)),
        ("cosine_2", "hour", cos(4 * pi * 13 / 24)),
        ("cosine", "weekday", cos(2 * pi * 6 / 7)),
        ("sine_2", "weekday", sin(4 * pi * 6 / 7)),
        ("none", "hour", 13.0),
    ],
)
def test_waves_go_round_the_day_and_the_week(transform: str, unit: str, expected: float) -> None:
    found, expected = [], round(expected, 9)
    for test in ({"gte": expected}, {"lte": expected}):
        of = rule_of([clock(unit, transform=transform)], [1.0], test)
        profile = Profile("user_id:u1")
        Engine(of).on_event(profile, Event("View", at("2026-03-29T11:59Z"), "m", {}), clock_ms=0)
        found.append(bool(profile.members))
    assert found == [True, True]


def test_the_contribution_of_the_hour_is_explained() -> None:
    of = rule_of([clock(transform="none")], [0.5], {"gte": 1})
    profile = Profile("user_id:u1")
    time_ms = at("2026-01-05T12:00:00Z")
    Engine(of).on_event(profile, Event("View", time_ms, "m", {}), clock_ms=time_ms)
    note = score_note(of.definitions[0].when, profile, time_ms)
    assert note == "own: hour_none +6.5"


@pytest.mark.parametrize(
    ("feature", "reason"),
    [
        ({"figure": {"clock": "minute"}}, "features[0].figure.clock: expected one of hour, weekday"),
        ({"figure": {"clock": "hour", "zone": "Mars"}}, "features[0].figure.zone: unknown time zone 'Mars'"),
        ({"figure": {"clock": "hour", "within": "1d"}}, "features[0].figure.within: unknown key"),
        ({"figure": {"zone": "UTC", "clock": None}}, "features[0].figure.clock: expected one of hour"),
        ({"figure": {"did": "View"}, "transform": "sine"}, "features[0].transform: expected a figure {clock"),
    ],
)
def test_mistakes_are_named(feature: dict[str, Any], reason: str) -> None:
    with pytest.raises(DefinitionError) as error:
        read_model(logistic(features=[{"name": "x", **feature}], weights=[1.0]), "model.json")
    assert reason in str(error.value)


def test_rules_have_no_clock_outside_models() -> None:
    when = {"compare": [{"clock": "hour"}, "gt", 5]}
    with pytest.raises(DefinitionError, match="got clock"):
        inline([{"key": "rule", "when": when}], "test", "segments")
