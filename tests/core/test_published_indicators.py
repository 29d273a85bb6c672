"""Published indicators: which values are published, at which instant, and the timers between."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from segops.core.engine import Engine
from segops.core.errors import DefinitionError
from segops.core.events import IndicatorValue
from segops.core.indicators import INDICATOR_PREFIX
from segops.core.rules.analysis import lint
from segops.core.rules.figures import PublishedFigure
from segops.core.rules.parsing import Context, read_indicators, read_published, read_rfm, read_rule
from segops.core.scans import Forecaster, Planner, edit_of
from segops.core.segments import Definition, SegmentSet
from segops.core.step import StepResult
from segops.core.views.indicators import IndicatorView
from segops.core.views.profile import view_profile
from segops.schemas.state import decode_profile, encode_profile
from segops.testing import Customer

from .indicator_oracle import IndicatorOracle, PublishedSummary
from .strategies import RFM, streams
from .strategies_areas import area_context
from .strategies_indicators import blocks

HOUR, DAY = 3_600_000, 86_400_000


def parse(block: dict[str, Any]) -> dict[str, PublishedFigure]:
    context = area_context("test", read_rfm(RFM, "rfm", Context("test")))
    return read_published(block, read_indicators(block, "indicators", context), "indicators", context)


def indicator_set(block: dict[str, Any], *, version: int = 1, former: SegmentSet | None = None) -> SegmentSet:
    definitions = [
        Definition(f"{INDICATOR_PREFIX}{key}", key, node, version=version)
        for key, node in parse(block).items()
    ]
    return SegmentSet(definitions, former)


def summary(value: IndicatorValue) -> PublishedSummary:
    return PublishedSummary(value.indicator, value.value, value.reason, value.occurred_at, value.event_id)


def customer(**block: Any) -> Customer:
    found = Customer()
    found.engine = Engine(indicator_set(block))
    found.profile = found.engine.new_profile(found.profile.id)
    return found


def values(result: StepResult) -> list[tuple[Any, int]]:
    assert not result.failures
    return [(each.value, each.occurred_at) for each in result.values]


def later(found: Customer, clock_ms: int) -> list[tuple[Any, int]]:
    found.clock_ms = clock_ms
    return values(found.engine.on_timer(found.profile, clock_ms=clock_ms))


@given(blocks, streams(), st.booleans())
def test_published_values_are_those_of_the_oracle(
    block: dict[str, Any], steps: list[tuple[str, Any]], watermark: bool
) -> None:
    """At each published instant the value is that of the slow evaluator, and no other instant publishes."""
    note(block)
    engine, oracle = Engine(indicator_set(block)), IndicatorOracle(parse(block))
    profile, clock_ms = engine.new_profile("user_id:u1"), -(10**15)
    for kind, arg in steps:
        if kind == "clock" or watermark:
            clock_ms = max(clock_ms, arg if kind == "clock" else arg.time_ms)
        if kind == "clock":
            result, expected = engine.on_timer(profile, clock_ms=clock_ms), oracle.on_clock(clock_ms)
        else:
            result = engine.on_event(profile, arg, clock_ms=clock_ms)
            expected = oracle.on_event(arg, clock_ms)
        assert not result.failures
        assert [summary(each) for each in result.values] == expected, (kind, arg)
        assert profile.due_ms == min(profile.flips.values(), default=None)
        # Each step starts from the stored profile alone.
        profile = decode_profile(encode_profile(profile))


def test_value_is_published_when_it_changes_by_an_event_or_by_time() -> None:
    ann = customer(spent={"sum": "total", "of": "Buy", "within": "1h"})
    assert values(ann.send("View", 0)) == [(0, 0)]
    assert values(ann.send("Buy", 5, total=0.1)) == [(0.1, 5)]
    assert values(ann.send("Buy", 6, total=0.2)) == [(0.3, 6)]
    assert values(ann.send("View", 7)) == []
    assert later(ann, HOUR + 4) == []
    assert later(ann, DAY) == [(0.2, HOUR + 5), (0, HOUR + 6)]
    assert ann.profile.due_ms is None


def test_small_changes_add_up_until_they_are_published() -> None:
    ann = customer(views={"did": "View", "change_by": 3})
    assert values(ann.send("View", 0)) == [(1, 0)]
    found = [values(ann.send("View", number)) for number in range(1, 7)]
    assert found == [[], [], [(4, 3)], [], [], [(7, 6)]]


def test_at_most_one_value_per_period_and_the_last_is_never_lost() -> None:
    ann = customer(views={"did": "View", "at_most": 1, "per": "1h"})
    assert values(ann.send("View", 0)) == [(1, 0)]
    for number in range(1, 100):
        assert values(ann.send("View", number)) == []
    assert ann.profile.due_ms == HOUR
    assert later(ann, HOUR - 1) == []
    assert later(ann, HOUR) == [(100, HOUR)]
    assert values(ann.send("View", HOUR + 1)) == []
    assert later(ann, 9 * HOUR) == [(101, 2 * HOUR)]
    assert values(ann.send("View", 9 * HOUR)) == [(102, 9 * HOUR)]


def test_value_that_returns_within_its_period_is_not_published_again() -> None:
    ann = customer(views={"did": "View", "within": "10m", "at_most": 1, "per": "1h"})
    assert values(ann.send("page", 0)) == [(0, 0)]
    assert values(ann.send("View", 1)) == []
    assert later(ann, DAY) == []


def test_days_are_published_each_day_or_by_the_difference() -> None:
    ann = customer(idle={"days_since_last": "Buy"})
    assert values(ann.send("page", 0)) == []
    assert values(ann.send("Buy", 5)) == [(0, 5)]
    assert later(ann, 3 * DAY) == [(1, 5 + DAY), (2, 5 + 2 * DAY)]
    bob = customer(idle={"days_since_last": "Buy", "change_by": 30})
    assert values(bob.send("Buy", 5)) == [(0, 5)]
    assert later(bob, 100 * DAY) == [(30 * n, 5 + 30 * n * DAY) for n in (1, 2, 3)]
    assert values(bob.send("Buy", 100 * DAY)) == [(0, 100 * DAY)]


def test_missing_value_is_published_as_null() -> None:
    ann = customer(plan={"trait": "plan"}, rate={"ratio": {"of": {"did": "Open"}, "to": {"did": "Mail"}}})
    assert values(ann.send("identify", 0, traits={"plan": "pro"})) == [("pro", 0)]
    assert values(ann.send("identify", 1, traits={"plan": None})) == [(None, 1)]
    assert ann.profile.published == {}
    assert values(ann.send("identify", 2, traits={"plan": None})) == []
    assert values(ann.send("Mail", 3)) == [(0, 3)]


def test_values_of_other_types_differ() -> None:
    ann = customer(plan={"trait": "plan", "change_by": 2})
    found = [values(ann.send("identify", n, traits={"plan": each})) for n, each in enumerate(PLANS)]
    published = [[value for value, _ in each] for each in found]
    assert published == [[1], [True], ["1"], [[1]], [], [{"a": 1}], [4], []]


PLANS: list[Any] = [1, True, "1", [1], [1], {"a": 1}, 4, 5]


def test_numbers_beyond_floats_are_the_nearest() -> None:
    ann = customer(most={"sum": "p", "of": "A"}, ten={"ratio": {"of": {"did": "A"}, "to": {"trait": "t"}}})
    ann.send("A", 0, p=1.7e308)
    assert values(ann.send("A", 1, p=1.7e308)) == [(1.7976931348623157e308, 1)]
    assert values(ann.send("identify", 2, traits={"t": 6})) == [(0.3333333333333333, 2)]


def test_tier_and_digit() -> None:
    ann = customer(tier={"rfm": "tier"}, digit={"rfm": "recency"})
    assert values(ann.send("Order Completed", 0, order_id="o", revenue=10)) == [(4, 0), ("new", 0)]
    expected = [(3, 2_000), (2, 5_000), (1, 9_000), ("hibernating", 9_000)]
    assert later(ann, DAY)[:4] == expected


def test_new_version_publishes_once_more_and_a_retired_indicator_is_withdrawn() -> None:
    ann = customer(views={"did": "View"}, plan={"trait": "plan"})
    ann.send("View", 0)
    former = ann.engine.segments
    engine = Engine(indicator_set({"views": {"did": "View"}}, version=2, former=former))
    (value,) = engine.on_definitions(ann.profile, clock_ms=5).values
    assert (value.value, value.indicator_version, value.reason, value.occurred_at) == (1, 2, "definition", 5)
    assert engine.on_definitions(ann.profile, clock_ms=6).values == ()
    (gone,) = Engine(SegmentSet.EMPTY).on_definitions(ann.profile, clock_ms=7).values
    assert (gone.indicator, gone.value, gone.indicator_version) == ("views", None, 2)
    assert (ann.profile.published, ann.profile.flips) == ({}, {})


def test_unchanged_indicators_are_compiled_once() -> None:
    former = indicator_set({"a": {"did": "A"}, "b": {"did": "B"}})
    after = indicator_set({"a": {"did": "A"}, "b": {"did": "C"}, "c": {"did": "C"}}, former=former)
    assert after.indicators[0].rule is former.indicators[0].rule
    assert after.changed_since[former.version] == {"indicator:b", "indicator:c"}


def test_rule_and_indicators_stand_side_by_side() -> None:
    segment = Customer(vip={"did": "Buy"}).engine.segments.definitions
    both = Engine(SegmentSet([*segment, *indicator_set({"n": {"did": "Buy"}}).all_definitions]))
    profile = both.new_profile("user_id:u1")
    ann = Customer()
    ann.engine, ann.profile = both, profile
    result = ann.send("Buy", 0)
    assert [change.segment_key for change in result.changes] == ["vip"]
    assert values(result) == [(1, 0)]


def test_failing_figure_is_counted_and_keeps_what_was_published(monkeypatch: pytest.MonkeyPatch) -> None:
    ann = customer(views={"did": "View"})
    ann.send("View", 0)

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("segops.core.indicators.Indicator.value", fail)
    result = ann.send("View", 1)
    assert result.failures == ["indicator:views"]
    assert ann.profile.published["indicator:views"].value == 1


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"change_by": 0}, "x.change_by: expected a number above 0, got 0"),
        ({"change_by": "5"}, "x.change_by: expected a number above 0, got '5'"),
        ({"rfm": "tier", "change_by": 1}, "x.change_by: unknown key; a tier is not a number"),
        ({"at_most": 1}, "x: expected at_most and per together"),
        ({"per": "1h"}, "x: expected at_most and per together"),
        ({"at_most": 2, "per": "1h"}, "x.at_most: expected 1, got 2"),
        ({"at_most": True, "per": "1h"}, "x.at_most: expected 1, got True"),
        ({"at_most": 1, "per": "0s"}, "x.per: expected a duration above 0"),
        ({"at_most": 1, "per": 5}, "x.per: expected"),
        ({"publish": 1}, "x.publish: expected true or false, got 1"),
        ({"publish": False, "change_by": 1}, "x.change_by: unknown key; an indicator that is not published"),
    ],
    ids=str,
)
def test_mistakes(form: dict[str, Any], expected: str) -> None:
    form = form if "rfm" in form else {"did": "A", **form}
    with pytest.raises(DefinitionError) as found:
        parse({"x": form})
    (issue,) = found.value.issues
    assert f"{issue.path}: {issue.reason}".startswith(f"indicators.{expected}")


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"rfm": "rank"}, "x.rfm: expected one of recency, frequency, monetary, tier, got 'rank'"),
        ({"ratio": {"of": {"did": "A"}}}, "x.ratio: expected a map with of and to"),
        ({"ratio": {"of": {"did": "A"}, "to": {"did": "A"}}}, "x.ratio: expected two different figures"),
        (
            {"ratio": {"of": {"did": "A"}, "to": {"days_since_last": "A"}}},
            "x.ratio: expected no figure in days",
        ),
    ],
    ids=str,
)
def test_mistakes_in_new_figures(form: dict[str, Any], expected: str) -> None:
    with pytest.raises(DefinitionError) as found:
        parse({"x": form})
    (issue,) = found.value.issues
    assert f"{issue.path}: {issue.reason}".startswith(f"indicators.{expected}")


def test_indicator_that_is_not_published_is_no_definition() -> None:
    assert parse({"x": {"did": "A", "publish": False}}) == {}
    assert list(parse({"x": {"did": "A", "publish": True}})) == ["x"]


def test_profile_view_shows_values_and_what_was_published() -> None:
    ann = customer(views={"did": "View", "within": "1h", "at_most": 1, "per": "10m"}, plan={"trait": "plan"})
    ann.send("View", 0)
    ann.send("View", 1)
    plan, views = view_profile(ann.engine.segments, ann.profile, 5).indicators
    assert plan == IndicatorView("plan", "trait plan", 1, None, None, None, None)
    assert views == IndicatorView("views", "number of View within 1h", 1, 2, 1, 0, 600_000)


def test_plans_and_forecasts_leave_indicators_as_they_are() -> None:
    indicator = indicator_set({"n": {"did": "Buy", "within": "1h"}}).all_definitions
    segment = Customer(buyers={"did": "Buy", "within": "2h"}).engine.segments.definitions
    engine = Engine(SegmentSet([*segment, *indicator]))
    ann = Customer()
    ann.engine, ann.profile = engine, engine.new_profile("user_id:u1")
    ann.send("Buy", 0)
    before = encode_profile(ann.profile)
    more = indicator_set({"n": {"did": "Buy"}, "m": {"did": "Buy"}}).all_definitions
    changed = Customer(buyers={"did": "Buy", "within": "3h"}).engine.segments.definitions
    for edit in ([*more], [*more, *changed]):
        planner = Planner(edit_of(edit, ["indicator:n"], engine.segments))
        planner.visit(ann.profile, 5)
        assert set(planner.result().segments) == {each.key for each in edit if not each.is_indicator}
    forecaster = Forecaster(engine, (), from_ms=5)
    forecaster.visit(ann.profile, 5)
    assert set(forecaster.result().segments) == {"buyers"}
    assert sum(flow.left for flow in forecaster.result().segments["buyers"].hours.values()) == 1
    assert encode_profile(ann.profile) == before


@pytest.mark.parametrize(
    "form",
    [
        {"compare": [{"ratio": {"of": {"did": "A"}, "to": {"did": "B"}}}, "eq", 0.5]},
        {"not": {"compare": [{"ratio": {"of": {"did": "A"}, "to": {"did": "B"}}}, "gte", 0]}},
        {"compare": [{"rfm": "tier"}, "eq", {"trait": "tier"}]},
    ],
    ids=str,
)
def test_new_figures_are_not_taken_for_what_they_cannot_be(form: dict[str, Any]) -> None:
    found = lint(read_rule(form, "when", Context()), "when")
    assert not found.never and not found.always
