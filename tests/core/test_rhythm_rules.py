"""Rules on days, sessions and periods: mistakes, words, contradictions, views, compatibility."""

from __future__ import annotations

from typing import Any

import pytest

from segops.core.features import Feature
from segops.core.features.sessions import MAX_SESSIONS
from segops.core.rules import model
from segops.core.rules.analysis import linter
from segops.core.rules.execution import features_of
from segops.core.rules.parsing import Context, read_rule
from segops.core.rules.wording import feature_label, label, threshold
from segops.core.values import format_instant
from segops.core.views.explain import explain
from segops.core.views.profile import view_profile
from segops.core.windows import Calendar, Within
from segops.testing import Customer, Flip

from .helpers import MONDAY, D, H, M, holds_at, issues_of
from .test_rhythm import FIGURES, PERIODS, SESSIONS, STAGE

T = MONDAY
NOW_OF = "a session or period is decided when its events arrive; use fixed dates (before, after)"


# -- mistakes ----------------------------------------------------------------------------------------------

OF = {"of": "A"}


@pytest.mark.parametrize(
    ("rule", "issue"),
    [
        ({"active_days": "A"}, ".is: expected a map of operators, such as {gte: 3}, got None"),
        ({"active_days": "A", "is": {"gte": 2.5}}, ".is.gte: expected an integer, got 2.5"),
        ({"active_days": "A", "is": {"lt": 0}}, ".is: never holds: a count is an integer of at least 0"),
        (
            {"active_weeks": "A", "is": {"gte": 2}, "zone": "X"},
            ".zone: unknown time zone 'X' (e.g. Europe/Paris)",
        ),
        (
            {"active_months": [], "is": {"gte": 2}},
            ".active_months: expected an event name, any_event, or a non-empty list of event names",
        ),
        ({"sessions": "A", "is": {"gte": 2}, "gap": "0s"}, ".gap: expected a duration above 0, got '0s'"),
        (
            {"regularly": "A", "every": "7d", "k": 1, "of": 4, "where": {"d": {"older_than": "1d"}}},
            f".where: {NOW_OF}",
        ),
        (
            {"lifecycle": {**OF, "period": "1d", "is": "new", "where": {"d": {"in_next": "1d"}}}},
            f".lifecycle.where: {NOW_OF}",
        ),
        ({"sessions": "A", "is": {"gte": 2}, "where": {"d": {"in_last": "1d"}}}, f".where: {NOW_OF}"),
        (
            {"session": "length", **OF, "is": {"gte": 2}},
            ".session: expected duration, events, {first: PATH} or {last: PATH}, got 'length'",
        ),
        (
            {"session": {"first": ""}, **OF, "is": {"eq": 2}},
            ".session.first: expected a property path, such as cart.total, got ''",
        ),
        ({"session": "events", **OF, "is": {"lt": 1}}, ".is: never holds: a session has at least one event"),
        ({"session": "events", **OF, "is": {"gte": 1.5}}, ".is.gte: expected an integer, got 1.5"),
        (
            {"session": "duration", **OF, "is": {"gte": 5}},
            ".is.gte: expected a duration in ms, s, m, h, d or w, such as 48h, got 5",
        ),
        (
            {"session": "duration", **OF, "is": {"lt": "0s"}},
            ".is.lt: never holds: a session lasts 0ms or more",
        ),
        (
            {"session": "duration", **OF, "is": {"between": ["2m"]}},
            ".is.between: expected two durations, such as [5m, 10m]",
        ),
        (
            {"session": "duration", **OF, "is": {"between": ["2m", "1m"]}},
            ".is.between: never holds: 2m is above 1m",
        ),
        (
            {"session": "duration", **OF, "is": {}},
            ".is: expected a map with any of lt, lte, gt, gte, between",
        ),
        (
            {"session": "events", **OF, "is": {"gte": 2}, "which": "next"},
            ".which: expected one of current, last, got 'next'",
        ),
        (
            {"regularly": "A", "every": "7d", "k": 5, "of": 4},
            ".k: expected an integer from 1 to of (4), got 5",
        ),
        (
            {"regularly": "A", "every": "7d", "k": 1, "of": 61},
            ".of: expected an integer from 2 to 60, got 61",
        ),
        (
            {"regularly": "A", "k": 1, "of": 4},
            ".every: expected a duration in ms, s, m, h, d or w, such as 48h, got None",
        ),
        (
            {"lifecycle": "A"},
            ".lifecycle: expected a map with of, period and is, such as {of: page, period: 28d, is: dormant}",
        ),
        (
            {"lifecycle": {**OF, "period": "1d", "is": "old"}},
            ".lifecycle.is: unknown stage 'old'; expected one of new, active, resurrected, dormant",
        ),
        (
            {"lifecycle": {**OF, "period": "1d", "is": []}},
            ".lifecycle.is: expected a stage or a list of stages",
        ),
        (
            {"lifecycle": {**OF, "period": "1d", "is": "new", "within": "1d"}},
            ".lifecycle.within: unknown key; expected one of of, period, is, where, time_of_day",
        ),
    ],
)
def test_mistake_is_reported_with_its_path(rule: dict[str, Any], issue: str) -> None:
    assert issues_of(rule) == [f"f: when{issue}"]


# -- words -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "text", "wanted"),
    [
        (
            {"active_days": "A", "is": {"gte": 3}, "zone": "Europe/Paris", "within": "7d"},
            "active days of A (Europe/Paris) ≥ 3 within 1w",
            "≥ 3",
        ),
        ({"sessions": ["A", "B"], "is": {"eq": 2}}, "sessions of A or B with a gap of 30m = 2", "= 2"),
        (
            {"session": "duration", "of": "A", "is": {"between": ["90s", "5m"]}, "gap": "1h"},
            "duration of the current session of A with a gap of 1h from 90s to 5m",
            "from 90s to 5m",
        ),
        (
            {"session": {"last": "url"}, "of": "A", "which": "last", "is": {"eq": "/a"}},
            "last url of the last session of A with a gap of 30m = /a",
            "= /a",
        ),
        ({"regularly": "A", "every": "1d", "k": 3, "of": 4}, "did A in 3 of the last 4 periods of 1d", "≥ 3"),
        (
            {"lifecycle": {"of": "A", "where": {"p": 1}, "period": "28d", "is": ["new", "active"]}},
            "lifecycle of A where p = 1 by periods of 4w active or new",
            "active or new",
        ),
    ],
)
def test_node_is_put_into_words(rule: dict[str, Any], text: str, wanted: str) -> None:
    node = read_rule(rule, "when", Context())
    assert (label(node), threshold(node)) == (text, wanted)


@pytest.mark.parametrize(
    ("feature", "text"),
    [
        (
            Feature("distinct", ("A",), (), Within(D), days=Calendar("week", "UTC")),
            "active weeks of A (UTC) within 1d",
        ),
        (SESSIONS, "sessions of A with a gap of 10ms"),
        (FIGURES, "current and last session of A with p with a gap of 10ms"),
        (PERIODS, "regularly A in periods of 10ms"),
        (STAGE, "lifecycle of A by periods of 10ms"),
    ],
)
def test_feature_is_put_into_words(feature: Feature, text: str) -> None:
    assert feature_label(feature) == text


def test_explanation_names_the_figure_and_its_limit() -> None:
    customer = Customer(
        days={"active_days": "A", "is": {"gte": 2}},
        visit={"session": "duration", "of": "A", "is": {"gte": "10m"}},
        stage={"lifecycle": {"of": "A", "period": "1d", "is": "active"}},
        weekly={"regularly": "A", "every": "7d", "k": 1, "of": 2},
    )
    customer.send("A", T)
    customer.send("A", T + 2 * M)
    shown = explain(customer.engine.segments, customer.profile, T + 2 * M)
    found = {each.segment_key: each.rule for each in shown.segments}
    assert {key: rule.value for key, rule in found.items()} == {
        "days": 1,
        "visit": "2m",
        "stage": "new",
        "weekly": 1,
    }
    assert found["visit"].note == f"only the latest {MAX_SESSIONS} sessions are kept"
    assert found["weekly"].changes_at == T + 14 * D + 2 * M


# -- the linter --------------------------------------------------------------------------------------------

QUIET = {"lifecycle": {"of": "A", "period": "7d", "is": "dormant"}}


@pytest.mark.parametrize(
    "rules",
    [
        [{"active_days": "A", "is": {"gte": 3}}, {"active_days": "A", "is": {"lt": 2}}],
        [
            {"active_days": "A", "is": {"gte": 3}, "within": "7d"},
            {"did": "A", "count": {"lt": 3}, "within": "7d"},
        ],
        [{"sessions": "A", "is": {"gte": 1}, "within": "7d"}, {"did_not": "A", "within": "8d"}],
        [
            {"session": "duration", **OF, "is": {"gte": "5m"}},
            {"session": "duration", **OF, "is": {"lt": "5m"}},
        ],
        [
            {"regularly": "A", "every": "1d", "k": 3, "of": 4},
            {"did": "A", "count": {"lte": 2}, "within": "4d"},
        ],
        [
            {"regularly": "A", "every": "1d", "k": 3, "of": 4},
            {"not": {"regularly": "A", "every": "1d", "k": 2, "of": 4}},
        ],
        [QUIET, {"lifecycle": {"of": "A", "period": "7d", "is": ["new", "active"]}}],
        [QUIET, {"did": "A", "within": "7d"}],
        [{"lifecycle": {"of": "A", "period": "7d", "is": "new"}}, {"did_not": "A", "within": "7d"}],
    ],
)
def test_contradiction_is_found(rules: list[dict[str, Any]]) -> None:
    assert linter.lint(read_rule({"all": rules}, "when", Context()), "when").never


@pytest.mark.parametrize(
    "rules",
    [
        [
            {"active_days": "A", "is": {"gte": 3}},
            {"active_days": "A", "is": {"lt": 2}, "zone": "Europe/Paris"},
        ],
        [{"sessions": "A", "is": {"eq": 0}, "within": "1h"}, {"did": "A", "within": "1h"}],
        [{"session": "events", **OF, "is": {"gte": 5}}, {"session": "duration", **OF, "is": {"lt": "5m"}}],
        [QUIET, {"did": "A", "within": "8d"}],
    ],
)
def test_rules_that_can_hold_together_pass(rules: list[dict[str, Any]]) -> None:
    assert not linter.lint(read_rule({"all": rules}, "when", Context()), "when").never


# -- compatibility -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "identity", "ids"),
    [
        (
            {"did": ["A", "B"], "where": {"p": {"gte": 2}, "q.r": "x"}, "count": {"gte": 3}, "within": "7d"},
            "f488eeecfafc48e4",
            [1687132467390944104],
        ),
        (
            {"did_not": "A", "calendar": {"this": "day", "zone": "Europe/Paris"}},
            "5fb2a0cbc1857284",
            [4414181235823277357],
        ),
        (
            {"sum": "total", "of": "A", "is": {"gte": 10}, "since": "2026-01-05"},
            "9d1af316f0a69ed6",
            [2842992730709315355],
        ),
        (
            {"distinct": "p.q", "of": "A", "is": {"gte": 2}, "within": "7d"},
            "54a56c317eee2009",
            [822414091512214838],
        ),
        ({"first": "A", "is": {"older_than": "1d"}}, "8799274da5159dce", [2106271683385028218]),
        (
            {"has_been": {"trait": "p", "is": {"eq": 1}}, "for": "1d"},
            "6ebfd9aaacb047dc",
            [6105732441247624579],
        ),
        ({"rfm": ["champions"]}, "16b61e59335f5d1f", [6432038196426499036]),
    ],
)
def test_rules_of_earlier_versions_keep_their_identity_and_features(
    rule: dict[str, Any], identity: str, ids: list[int]
) -> None:
    node = read_rule(rule, "when", Context())
    assert model.identity(node)[:16] == identity
    assert [feature.id for feature in features_of(node)] == ids


# -- the profile view --------------------------------------------------------------------------------------


def test_profile_view_shows_both_sessions() -> None:
    customer = Customer(page={"session": {"first": "p"}, "of": "A", "gap": "1h", "is": {"eq": 1}})
    customer.send("A", T, p=1)
    customer.send("A", T + 2 * H)
    (view,) = view_profile(customer.engine.segments, customer.profile, T + 2 * H).features
    times = {"begin": format_instant(T), "end": format_instant(T)}
    assert view.value["last"] == {**times, "events": 1, "first": 1, "last": 1}
    assert view.value["current"]["events"] == 1


# -- real rules --------------------------------------------------------------------------------------------


def test_third_visit_is_that_of_the_third_session() -> None:
    customer = Customer(third={"sessions": "page", "gap": "30m", "is": {"gte": 3}, "within": "30d"})
    times = [10 * H, 10 * H + 20 * M, 11 * H + 30 * M, 34 * H]
    found = [customer.did("page", T + time_ms) for time_ms in times]
    assert found == [[], [], [], [Flip("entered", "third", T + 34 * H)]]


def test_three_days_of_seven_are_not_three_events() -> None:
    rule = {"active_days": "Opened", "zone": "Europe/Paris", "is": {"gte": 3}, "within": "7d"}
    customer = Customer(three=rule)
    found = [customer.did("Opened", T + time_ms) for time_ms in (10 * H, 11 * H, 34 * H, 58 * H)]
    assert found == [[], [], [], [Flip("entered", "three", T + 58 * H)]]
    assert customer.wait(T + 30 * D) == [Flip("exited", "three", T + 7 * D + 11 * H)]


def test_any_number_of_events_is_that_of_a_session_that_has_not_ended() -> None:
    context = Context()
    node = read_rule({"session": "events", "of": "A", "is": {"gte": 0}}, "when", context)
    assert not context.warnings
    assert not linter.lint(node, "when").always
    assert holds_at({"session": "events", "of": "A", "is": {"gte": 0}}, T, ("A", T))
    assert not holds_at({"session": "events", "of": "A", "is": {"gte": 0}}, T + 30 * M, ("A", T))
