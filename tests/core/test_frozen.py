"""Frozen nodes and figures: refreshes by the clocks of a zone, state, merges, explanations, mistakes."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from segops.core.backfill import missing
from segops.core.engine import Engine
from segops.core.errors import DefinitionError
from segops.core.events import Event
from segops.core.features.frozen import copied
from segops.core.features.states import Entries, Entry, Frozen, Keys, Session, Sessions
from segops.core.refresh import UNITS, Refresh
from segops.core.rules.analysis.cost import costs
from segops.core.rules.execution import figure_value
from segops.core.rules.execution.figures import reading_of
from segops.core.rules.figures import Figure
from segops.core.rules.parsing import Context, read_indicators
from segops.core.rules.wording import feature_label, figure_text, label
from segops.core.segments import Definition, SegmentSet
from segops.core.values import format_instant, parse_instant
from segops.core.views.explain import RulePart, explain
from segops.schemas.segments import inline
from segops.schemas.state import decode_profile, encode_profile
from segops.testing import Customer, segments

from .helpers import MONDAY as T
from .helpers import H
from .strategies import streams
from .strategies_frozen import frozen_rules
from .test_equivalence import assert_agreement, make_definition


def read(form: dict[str, Any], indicators: dict[str, Any] | None = None) -> Definition:
    """Return the definition of a segment as a file has it."""
    return inline([{"key": "rule", "when": form}], "test", "segments", indicators=indicators)[0]


DAY = 24 * H
DAILY = {"every": "day", "at": "03:00"}


def ms(text: str) -> int:
    found = parse_instant(text)
    assert found is not None
    return found


# -- refreshes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refresh", "now", "latest", "following"),
    [
        (Refresh("hour"), "2026-01-05T07:59:59.999", "2026-01-05T07:00", "2026-01-05T08:00"),
        (Refresh("day"), "2026-01-05", "2026-01-05", "2026-01-06"),
        (Refresh("day", 3 * H), "2026-01-05T02:59:59.999", "2026-01-04T03:00", "2026-01-05T03:00"),
        (Refresh("week", 3 * H), "2026-01-05T02:00", "2025-12-29T03:00", "2026-01-05T03:00"),
        (Refresh("month", H), "2026-01-01T00:30", "2025-12-01T01:00", "2026-01-01T01:00"),
        (Refresh("month", 0, "Asia/Tokyo"), "2026-01-31T15:00", "2026-01-31T15:00", "2026-02-28T15:00"),
        # Clocks are put forward at 02:00, and back at 03:00.
        (Refresh("day", 2 * H, "Europe/Paris"), "2026-03-29T01:00", "2026-03-29T01:00", "2026-03-30T00:00"),
        (Refresh("day", 2 * H, "Europe/Paris"), "2026-10-25T00:30", "2026-10-25T00:00", "2026-10-26T01:00"),
        (Refresh("day", 2 * H, "Europe/Paris"), "2026-10-25T01:30", "2026-10-25T00:00", "2026-10-26T01:00"),
        # Samoa had no 30 December 2011.
        (Refresh("day", 3 * H, "Pacific/Apia"), "2011-12-30T13:00", "2011-12-30T13:00", "2011-12-31T13:00"),
        (Refresh("day", 3 * H, "Pacific/Apia"), "2011-12-30T12:59", "2011-12-29T13:00", "2011-12-30T13:00"),
    ],
)
def test_refreshes_follow_the_clocks_of_the_zone(
    refresh: Refresh, now: str, latest: str, following: str
) -> None:
    assert refresh.latest(ms(now)) == ms(latest)
    assert refresh.following(ms(now)) == ms(following)


zones = st.sampled_from(["UTC", "Europe/Paris", "Pacific/Apia", "Asia/Kathmandu", "Australia/Lord_Howe"])
refreshes = st.builds(
    lambda every, minute, zone: Refresh(every) if every == "hour" else Refresh(every, minute * 60_000, zone),
    st.sampled_from(UNITS),
    st.integers(0, 1_439),
    zones,
)


@given(refreshes, st.integers(ms("1972-02-01"), ms("2100-01-01")))
def test_refreshes_are_one_after_another(refresh: Refresh, now_ms: int) -> None:
    latest, following = refresh.latest(now_ms), refresh.following(now_ms)
    assert following is not None
    assert latest <= now_ms < following <= latest + 32 * DAY
    assert refresh.latest(latest) == refresh.latest(following - 1) == latest
    assert (
        refresh.latest(following) == refresh.upcoming(following) == refresh.upcoming(latest + 1) == following
    )


def test_refreshes_exist_at_every_instant() -> None:
    for now_ms in (-(10**15), 10**15):
        refresh = Refresh("week", H, "Asia/Tokyo")
        assert isinstance(refresh.latest(now_ms), int)
    assert refresh.following(10**15) is None
    assert refresh.upcoming(10**15) is None


# -- state -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state",
    [
        Keys(0, ["sa"]),
        Entries([Entry(1, ["a"], ())]),
        Sessions([Session(1, 2, 2)]),
        Frozen(0, Keys(0, ["sa"]), None),
    ],
)
def test_copied_state_is_equal_and_apart(state: Any) -> None:
    copy = copied(state)
    assert copy == state and copy is not state
    for name in state.__struct_fields__:
        value = getattr(state, name)
        assert getattr(copy, name) is not value or not isinstance(value, (list, set, Keys))
    if isinstance(state, Sessions):
        state.sessions[0].events = 9
        assert copy != state


def test_refresh_is_part_of_the_identity_and_the_former_one_is_not_held() -> None:
    rule = {"did": "Buy", "count": {"gte": 2}, "within": "7d"}
    plain, daily, weekly, more = (
        segments(rule=form).features
        for form in (
            rule,
            {**rule, "refresh": DAILY},
            {**rule, "refresh": {"every": "week"}},
            {**rule, "count": {"gte": 9}, "refresh": DAILY},
        )
    )
    assert len(plain.keys() | daily.keys() | weekly.keys() | more.keys()) == 4
    assert missing(daily, more) == more
    same = {**rule, "refresh": {**DAILY, "zone": "UTC"}}
    assert read(same).identity == read({**rule, "refresh": DAILY}).identity
    assert read(same).identity != read(rule).identity


def test_frozen_node_costs_both_of_its_states() -> None:
    def size(**more: Any) -> int:
        return (
            costs(segments(rule={"did": "Buy", "count": {"gte": 4}, "within": "7d", **more}))
            .segments[0]
            .state_bytes
        )

    assert 40 < size(refresh=DAILY) - size() < 80


def test_events_in_between_change_nothing_and_set_no_timer() -> None:
    customer = Customer(rule={"did": "Buy", "count": {"gte": 2}, "within": "7d", "refresh": DAILY})
    customer.send("Buy", T + H)
    assert customer.profile.due_ms is None
    customer.send("Buy", T + 2 * H)
    assert customer.profile.due_ms == T + 3 * H
    customer.wait(T + DAY)
    assert customer.profile.due_ms == T + 7 * DAY + 3 * H


# -- against the slow evaluator ----------------------------------------------------------------------------


@given(st.lists(frozen_rules(), min_size=1, max_size=2), streams(), st.booleans())
def test_frozen_nodes_equal_the_reference(
    forms: list[dict[str, Any]], steps: list[tuple[str, Any]], watermark: bool
) -> None:
    note(str(forms))
    known = SegmentSet([make_definition(f"s{number}", form) for number, form in enumerate(forms)])
    assert_agreement(known, steps, watermark)


# -- merges ------------------------------------------------------------------------------------------------


def merged(
    rule: dict[str, Any], mine: list[tuple[str, int]], theirs: list[tuple[str, int]], at_ms: int
) -> Engine:
    """Return an engine that merged a visitor into a user at an instant, with the survivor as ``profile``."""
    engine = Engine(segments(rule=rule))
    profiles = []
    for key, events in (("user_id:u1", mine), ("anonymous_id:a1", theirs)):
        profile = engine.new_profile(key)
        for message, time_ms in events:
            engine.on_event(profile, Event("Buy", time_ms, message, {"total": 5}), clock_ms=time_ms)
        engine.on_timer(profile, clock_ms=at_ms)
        profiles.append(decode_profile(encode_profile(profile)))
    survivor, source = profiles
    engine.on_merge(survivor, [source], clock_ms=at_ms)
    engine.profile = survivor  # type: ignore[attr-defined]
    return engine


@pytest.mark.parametrize(
    ("window", "more"),
    [({}, {}), ({"within": "7d"}, {}), ({"calendar": {"this": "week"}}, {}), ({}, {"where": {"total": 5}})],
    ids=str,
)
def test_merge_keeps_what_both_had_at_the_refresh(window: dict[str, Any], more: dict[str, Any]) -> None:
    """Buy m1 is of both before the refresh, m2 of both but of one of them after it, m3 after it."""
    mine = [("m1", T + H), ("m2", T + 2 * H), ("m3", T + 4 * H)]
    theirs = [("m1", T + H), ("m2", T + 5 * H)]
    rule = {"did": "Buy", "count": {"eq": 2}, "refresh": DAILY, **window, **more}
    engine = merged(rule, mine, theirs, T + 6 * H)
    profile = engine.profile  # type: ignore[attr-defined]
    assert set(profile.members) == {"rule"}
    assert profile.due_ms == T + DAY + 3 * H
    assert [change.action for change in engine.on_timer(profile, clock_ms=T + 2 * DAY).changes] == ["exited"]


def test_profile_without_the_node_takes_it_from_the_source() -> None:
    engine = merged({"did": "Buy", "refresh": DAILY}, [], [("m1", T + H)], T + 4 * H)
    profile = engine.profile  # type: ignore[attr-defined]
    assert set(profile.members) == {"rule"}


# -- figures -----------------------------------------------------------------------------------------------


def indicator(form: dict[str, Any]) -> Figure:
    return read_indicators({"it": form}, "indicators", Context())["it"]


@pytest.mark.parametrize(
    ("form", "values"),
    [
        ({"sum": "total", "of": "Buy"}, [0, 5, 10]),
        ({"days_since_last": "Buy"}, [None, 0, 0, 1, 2]),
        ({"did": "Buy", "within": "1d"}, [0, 1, 1, 0]),
    ],
)
def test_figure_has_the_values_of_its_refreshes(form: dict[str, Any], values: list[Any]) -> None:
    figure = indicator({**form, "refresh": DAILY})
    engine = Engine(segments(rule={"compare": [form, "gt", {"did": "View"}], "refresh": DAILY}))
    profile = engine.new_profile("user_id:u1")
    for number, time_ms in enumerate((T + 2 * H, T + 4 * H)):
        engine.on_event(profile, Event("Buy", time_ms, f"m{number}", {"total": 5}), clock_ms=time_ms)
        assert figure_value(figure, profile, time_ms) == values[number]
    found = list(islice(reading_of(figure).series(profile, T + 4 * H), len(values) - 1))
    assert [value for _, value in found] == values[1:]
    assert [at for at, _ in found][1:] == [T + day * DAY + 3 * H for day in range(1, len(found))]


def test_words_say_when_it_is_computed() -> None:
    form = {"did": "Buy", "within": "7d", "refresh": {"every": "week", "at": "03:00", "zone": "Europe/Paris"}}
    refreshed = "refreshed every week at 03:00 (Europe/Paris)"
    assert label(read(form).when) == f"did Buy within 1w {refreshed}"
    assert figure_text(indicator(form)) == f"number of Buy within 1w {refreshed}"
    (feature,) = segments(rule=form).features.values()
    assert feature_label(feature) == f"count of Buy within 1w, {refreshed}"


def explained(rule: dict[str, Any], *times: int, now_ms: int) -> RulePart:
    customer = Customer(rule=rule)
    for time_ms in times:
        customer.send("Buy", time_ms, total=5)
    customer.wait(now_ms)
    return explain(customer.engine.segments, customer.profile, now_ms).segments[0].rule


@pytest.mark.parametrize(
    ("rule", "value", "threshold", "changes_at"),
    [
        ({"did": "Buy", "count": {"gte": 2}, "within": "1d"}, 1, "≥ 2", None),
        ({"sum": "total", "of": "Buy", "is": {"gte": 9}}, 5, "≥ 9", T + DAY + 3 * H),
        (
            {"last": "Buy", "is": {"older_than": "1d"}},
            format_instant(T + H),
            "older than 1d",
            T + 2 * DAY + 3 * H,
        ),
        ({"compare": [{"did": "Buy"}, "gt", 1]}, 1, "> 1", T + DAY + 3 * H),
    ],
)
def test_explanation_says_as_of_when(
    rule: dict[str, Any], value: Any, threshold: str, changes_at: int | None
) -> None:
    part = explained({**rule, "refresh": DAILY}, T + H, T + 4 * H, now_ms=T + 5 * H)
    assert (part.value, part.threshold, part.holds, part.changes_at) == (value, threshold, False, changes_at)
    assert part.note is not None
    first, second = format_instant(T + 3 * H), format_instant(T + DAY + 3 * H)
    assert part.note.startswith(f"as of {first}, until {second}")


# -- mistakes ----------------------------------------------------------------------------------------------

NO_FIGURE = "a trait, score or distance is not frozen: none is a figure over events"
BUY = {"did": "Buy"}


@pytest.mark.parametrize(
    ("form", "path", "reason"),
    [
        ({**BUY, "refresh": "daily"}, "refresh", "expected a map with every, such as"),
        ({**BUY, "refresh": {"every": "year"}}, "refresh.every", "expected one of hour, day, week, month"),
        ({**BUY, "refresh": {"every": "day", "at": "3"}}, "refresh.at", "expected a time of day in quotes"),
        (
            {**BUY, "refresh": {"every": "day", "at": "24:00"}},
            "refresh.at",
            "from 00:00 to 23:59, got '24:00'",
        ),
        ({**BUY, "refresh": {"every": "day", "zone": "Mars"}}, "refresh.zone", "unknown time zone 'Mars'"),
        (
            {**BUY, "refresh": {"every": "hour", "at": "00:10"}},
            "refresh",
            "expected no at or zone with every",
        ),
        ({**BUY, "refresh": {"every": "day", "on": "mon"}}, "refresh.on", "unknown key"),
        ({"trait": "p", "is": {"eq": 1}, "refresh": DAILY}, "refresh", "unknown key"),
        ({"compare": [BUY, "gt", {"trait": "p"}], "refresh": DAILY}, "refresh", NO_FIGURE),
        ({"compare": [BUY, "gt", {"score": "recency_days"}], "refresh": DAILY}, "refresh", NO_FIGURE),
        ({"compare": [{**BUY, "refresh": DAILY}, "gt", {"did": "A"}]}, "compare", "the same refresh"),
        (
            {"compare": [{**BUY, "refresh": DAILY}, "gt", {**BUY, "refresh": DAILY}]},
            "compare",
            "two different",
        ),
        (
            {"compare": [{**BUY, "refresh": DAILY}, "gt", 1], "refresh": DAILY},
            "refresh",
            "the figure has a refresh of its own",
        ),
        ({"compare": [{"trait": "p", "refresh": DAILY}, "gt", 1]}, "compare[0].refresh", "unknown key"),
        (
            {"rfm": {"enter": "champions", "exit": "hibernating"}, "refresh": DAILY},
            "refresh",
            "expected no refresh beside enter and exit",
        ),
        ({"indicator": "plan", "is": {"eq": 1}, "refresh": DAILY}, "refresh", NO_FIGURE),
        ({"indicator": "spent", "is": {"eq": 1}, "refresh": DAILY}, "refresh", "has a refresh of its own"),
    ],
    ids=str,
)
def test_mistake_is_reported_at_its_place(form: dict[str, Any], path: str, reason: str) -> None:
    blocks = {"plan": {"trait": "plan"}, "spent": {"sum": "total", "of": "Buy", "refresh": DAILY}}
    with pytest.raises(DefinitionError) as found:
        read(form, blocks)
    (issue,) = found.value.issues
    assert issue.path.endswith(f"when.{path}") and reason in issue.reason


def test_indicator_in_days_with_several_tests_is_frozen() -> None:
    found = read(
        {"indicator": "idle", "is": {"between": [1, 2]}, "refresh": DAILY},
        indicators={"idle": {"days_since_last": "Buy"}},
    )
    assert label(found.when) == "all of"


def test_contradictions_of_one_refresh_are_found() -> None:
    both = [{**BUY, "count": {"gte": 3}, "refresh": DAILY}, {**BUY, "count": {"lt": 3}, "refresh": DAILY}]
    with pytest.raises(DefinitionError, match="exclude each other"):
        read({"all": both})
    read({"all": [both[0], {**both[1], "refresh": {"every": "week"}}]})
