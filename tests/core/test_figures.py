"""Figures compared with each other: mistakes, exactness, edges, and features shared with nodes."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from segops.core.engine import Engine
from segops.core.errors import DefinitionError
from segops.core.events import Event
from segops.core.rules import figures, model
from segops.core.rules.analysis import lint
from segops.core.rules.blocks import reads_rfm
from segops.core.rules.execution import features_of, figure_value
from segops.core.rules.execution import figures as compiled
from segops.core.rules.parsing import FIGURES, Context, read_rule
from segops.core.rules.wording import label
from segops.core.scoring import SCORERS
from segops.core.segments import Definition, SegmentSet
from segops.core.values import format_instant
from segops.core.views.explain import explain
from segops.schemas.state import encode_profile

DAY_MS = 86_400_000
T = 1_760_000_000_000
DID_A, DID_B = {"did": "A", "within": "1h"}, {"did": "B", "within": "1h"}

#: Head -> the shortest figure.
FORMS: dict[str, dict[str, Any]] = {
    "did": {"did": "A"},
    **{
        head: {head: "p", "of": "A"}
        for head in ("sum", "avg", "min", "max", "distinct", "latest", "earliest", "most_frequent")
    },
    "trait": {"trait": "p"},
    "score": {"score": "recency_days"},
    "rfm": {"rfm": "monetary"},
    "days_since_first": {"days_since_first": "A"},
    "days_since_last": {"days_since_last": "A"},
    "ratio": {"ratio": {"of": {"did": "A"}, "to": {"did": "C"}}},
    "score_percentile": {"score_percentile": "recency_days"},
    "distance_to": {"distance_to": {"lat": 0, "lon": 0}},
    "indicator": {"indicator": "plan"},
}


def read(form: dict[str, Any]) -> model.Node:
    context = Context()
    context.indicators = {"plan": figures.TraitFigure(("plan",))}
    return read_rule(form, "when", context)


def engine_of(**forms: dict[str, Any]) -> Engine:
    return Engine(SegmentSet([Definition(key, key, read(form)) for key, form in forms.items()]))


def mistakes(form: dict[str, Any]) -> list[str]:
    with pytest.raises(DefinitionError) as found:
        read(form)
    return [f"{issue.path}: {issue.reason}" for issue in found.value.issues]


def test_shortest_forms_cover_every_figure() -> None:
    assert set(FORMS) == set(FIGURES)
    types = set(figures.Figure.__args__) | {figures.Number}
    assert types == set(compiled._READINGS)
    assert set(compiled.SCORES) == set(SCORERS)


@pytest.mark.parametrize("form", FORMS.values(), ids=str)
def test_every_figure_can_be_compared_and_divided(form: dict[str, Any]) -> None:
    other = {"did": "B"}
    for node in (
        read({"compare": [form, "gte", other]}),
        read({"ratio": {"of": other, "to": form, "is": {"lt": 2}}}),
    ):
        engine = Engine(SegmentSet([Definition("a", "A", node)]))
        profile = engine.new_profile("user_id:u1")
        result = engine.on_event(profile, Event("A", T, "m1", {"p": 5}, {"p": 5}), clock_ms=T)
        assert not result.failures
        assert label(node)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (
            {"compare": DID_A},
            ["when.compare: expected a list of a figure, an operator and a figure or number"],
        ),
        ({"compare": [DID_A, "gt"]}, ["when.compare: expected a figure, an operator and a figure or number"]),
        (
            {"compare": [DID_A, "above", "pro"]},
            [
                "when.compare[1]: expected one of eq, ne, lt, lte, gt, gte, got 'above'",
                "when.compare[2]: expected a figure or a number, got 'pro'",
            ],
        ),
        ({"compare": [5, "gt", DID_A]}, ["when.compare[0]: expected a figure, such as"]),
        ({"compare": [DID_A, "gt", True]}, ["when.compare[2]: expected a figure or a number, got True"]),
        ({"compare": [DID_A, "gt", float("inf")]}, ["when.compare[2]: expected a finite number, got inf"]),
        ({"compare": [DID_A, "gt", DID_A]}, ["when.compare: expected two different figures"]),
        (
            {"compare": [{"known_for": "1d"}, "gt", 1]},
            ["when.compare[0]: expected a figure with exactly one of did"],
        ),
        ({"compare": [{}, "gt", 1]}, ["when.compare[0]: expected a figure with exactly one of did"]),
        (
            {"compare": [{"did": "A", "count": {"gte": 2}, "within": "0h"}, "gt", 1]},
            [
                "when.compare[0].count: unknown key; expected one of did, where, within, between, since",
                "when.compare[0].within: expected a duration above 0",
            ],
        ),
        ({"compare": [{"sum": "p"}, "gt", 1]}, ["when.compare[0].of: expected an event name"]),
        ({"compare": [{"score": "churn"}, "gt", 1]}, ["when.compare[0].score: unknown score 'churn'"]),
        ({"compare": [{"rfm": "champions"}, "gt", 1]}, ["when.compare[0].rfm: expected one of recency"]),
        ({"ratio": {"of": DID_A, "to": DID_B}}, ["when.ratio: expected a map with of, to and is"]),
        ({"ratio": {"of": DID_A, "to": 5, "is": {"gt": 1}}}, ["when.ratio.to: expected a figure, such as"]),
        (
            {"ratio": {"of": DID_A, "to": DID_A, "is": {"gt": 1}}},
            ["when.ratio: expected two different figures"],
        ),
        (
            {"ratio": {"of": {"days_since_last": "A"}, "to": {"score": "recency_days"}, "is": {"gt": 1}}},
            ["when.ratio: expected at most one figure in days"],
        ),
        ({"most_frequent": "p", "of": "A"}, ["when.is: expected a map of operators"]),
        (
            {"most_frequent": "p", "of": "A", "is": {"eq": 1}, "since_last": "B"},
            ["when.since_last: possible only beside did, did_not, sum, avg,"],
        ),
        (
            {"compare": [{"did": "A", "since_last": "B"}, "gt", {"sum": "p", "of": "A", "since_last": "B"}]},
            [
                "when.compare[0].since_last: possible only beside did, did_not, sum,",
                "when.compare[2].since_last: possible only beside did, did_not, sum,",
            ],
        ),
        (
            {"compare": [{"sum": "p", "of": "A", "as": "money", "money": {"currency": "eur"}}, "gt", 1]},
            [
                "when.compare[0].as: expected one of number",
                "when.compare[0].money.currency: expected a currency code",
            ],
        ),
        (
            {"compare": [{"latest": "p", "of": "A", "money": {"currency": "EUR"}}, "gt", 1]},
            ["when.compare[0].money: unknown key"],
        ),
        (
            {"compare": [{"did": "A", "time_of_day": {"from": "9"}}, "gt", {"trait": ["properties", "p"]}]},
            ["when.compare[0].time_of_day", "when.compare[2].trait"],
        ),
    ],
    ids=str,
)
def test_mistakes_name_place_and_reason(form: dict[str, Any], expected: list[str]) -> None:
    found = mistakes(form)
    assert len(found) == len(expected)
    for text, begin in zip(found, expected, strict=True):
        assert text.startswith(begin)


@pytest.mark.parametrize(
    ("form", "path"),
    [
        ({"compare": [{"did": "A"}, "lt", 0]}, "when.compare"),
        ({"compare": [{"did": "A"}, "eq", 0.5]}, "when.compare"),
        ({"ratio": {"of": DID_A, "to": DID_B, "is": {"gt": 2, "lt": 1}}}, "when.ratio.is"),
        ({"compare": [{"did": "A", "where": {"p": {"gt": 2, "lt": 1}}}, "gt", 1]}, "when.compare[0].where.p"),
        (
            {"ratio": {"of": DID_A, "to": {**DID_B, "where": {"p": {"gt": 2, "lt": 1}}}, "is": {"gt": 1}}},
            "when.ratio.to.where.p",
        ),
        ({"all": [{"compare": [{"did": "A"}, "gt", 5]}, {"compare": [{"did": "A"}, "lt", 3]}]}, "when"),
    ],
    ids=str,
)
def test_what_can_never_hold_is_found(form: dict[str, Any], path: str) -> None:
    assert [found.path for found in lint(read(form), "when").never] == [path]


def test_what_always_holds_is_found_and_what_may_fail_is_not() -> None:
    assert [found.path for found in lint(read({"compare": [{"did": "A"}, "gte", 0]}), "when").always] == [
        "when.compare"
    ]
    both = {"all": [{"compare": [{"did": "A"}, "gt", 5]}, {"compare": [{"did": "B"}, "lt", 3]}]}
    assert lint(read(both), "when").never == []


def test_figure_shares_the_feature_of_a_node() -> None:
    node = read({"did": "A", "count": {"gte": 3}, "within": "1h"})
    pair = read({"compare": [DID_A, "gt", DID_B]})
    assert {each.id for each in features_of(node)} < {each.id for each in features_of(pair)}
    total = {"sum": "p", "of": "A", "as": "number", "money": {"currency": "EUR"}, "within": "1h"}
    (of_node,) = features_of(read({**total, "is": {"gte": 3}}))
    assert [each.id for each in features_of(read({"compare": [total, "gt", 3]}))] == [of_node.id]
    engine = engine_of(few=node_form(3), pair={"compare": [DID_A, "gt", DID_B]})
    assert len(engine.segments.features) == 2
    profile = engine.new_profile("user_id:u1")
    for number in range(6):
        engine.on_event(profile, Event("A", T + number, f"m{number}", {}), clock_ms=T + number)
    left = read_figure("pair", engine)
    assert figure_value(left, profile, T + 5) == 6
    assert set(profile.members) == {"few", "pair"}
    assert profile.flips == {"few": T + 3 + 3_600_000, "pair": T + 5 + 3_600_000}


def node_form(least: int) -> dict[str, Any]:
    return {"did": "A", "count": {"gte": least}, "within": "1h"}


def read_figure(key: str, engine: Engine) -> figures.Figure | figures.Number:
    (definition,) = (each for each in engine.segments.definitions if each.key == key)
    return figures.figures_of(definition.when)[0]


@pytest.mark.parametrize("number", [10**7, 10**12, 1.5e300, 10**400])
@pytest.mark.parametrize("first", [True, False])
def test_huge_number_of_days_has_no_instant_after_the_year_9999(number: float, first: bool) -> None:
    """Any customer can send such a trait: the profile must remain storable, and its instants writable."""
    days: list[Any] = [{"days_since_last": "A"}, {"trait": "p"}]
    of, to = days if first else reversed(days)
    engine = engine_of(
        a={"compare": [of, "lt", to]},
        b={"ratio": {"of": of, "to": to, "is": {"eq": 0.2}}},
        c={"ratio": {"of": of, "to": to, "is": {"lt": 9e-300}}},
    )
    profile = engine.new_profile("user_id:u1")
    engine.on_event(profile, Event("A", T, "m1", {}, {"p": number}), clock_ms=T)
    encode_profile(profile)
    explain(engine.segments, profile, T)
    assert all(format_instant(at) for at in profile.flips.values())


def test_values_are_exact() -> None:
    form = {"compare": [{"sum": "p", "of": "A"}, "eq", {"trait": "p"}]}
    engine = engine_of(a=form)
    profile = engine.new_profile("user_id:u1")
    for number, value in enumerate((0.1, 0.2)):
        event = Event("A", T + number, f"m{number}", {"p": value}, {"p": 0.3})
        engine.on_event(profile, event, clock_ms=T + number)
    assert figure_value(read_figure("a", engine), profile, T + 2) == Fraction(3, 10)
    assert set(profile.members) == {"a"}


def test_two_figures_in_days_flip_twice_a_day_and_otherwise_have_no_timer() -> None:
    form = {"compare": [{"days_since_last": "A"}, "gt", {"days_since_last": "B"}]}
    engine = engine_of(a=form)
    profile = engine.new_profile("user_id:u1")
    engine.on_event(profile, Event("A", T, "m1", {}), clock_ms=T)
    engine.on_event(profile, Event("B", T + 10, "m2", {}), clock_ms=T + 10)
    assert profile.due_ms == T + DAY_MS
    changes = engine.on_timer(profile, clock_ms=T + 2 * DAY_MS + 10).changes
    assert [(change.member, change.occurred_at - T) for change in changes] == [
        (True, DAY_MS),
        (False, DAY_MS + 10),
        (True, 2 * DAY_MS),
        (False, 2 * DAY_MS + 10),
    ]
    at = T + 3 * DAY_MS + 1
    engine.on_event(profile, Event("B", at, "m3", {}), clock_ms=at)
    assert set(profile.members) == {"a"}
    assert profile.due_ms is None


def test_explain_shows_both_values_and_the_ratio() -> None:
    ratio = {"ratio": {"of": {"did": "A"}, "to": {"did": "B"}, "is": {"gte": 0.5}}}
    engine = engine_of(a={"compare": [DID_A, "gt", DID_B]}, b=ratio, c={"compare": [{"did": "A"}, "gte", 2]})
    profile = engine.new_profile("user_id:u1")
    for number, name in enumerate("AABB"):
        engine.on_event(profile, Event(name, T + number, f"m{number}", {}), clock_ms=T + number)
    parts = [each.rule for each in explain(engine.segments, profile, T + 5).segments]
    assert [(part.holds, part.value, part.threshold) for part in parts] == [
        (False, [2, 2], "> number of B within 1h"),
        (True, 1, "≥ 0.5"),
        (True, 2, "≥ 2"),
    ]
    assert parts[1].label == "ratio of (number of A) to (number of B) ≥ 0.5"


def test_rule_with_a_digit_depends_on_the_rfm_block() -> None:
    assert reads_rfm(read({"not": {"compare": [{"rfm": "recency"}, "gt", {"rfm": "monetary"}]}}))
    assert not reads_rfm(read({"compare": [DID_A, "gt", DID_B]}))


def test_text_where_a_number_is_divided_is_counted() -> None:
    engine = engine_of(a={"ratio": {"of": {"trait": "spent"}, "to": {"did": "A"}, "is": {"gt": 1}}})
    profile = engine.new_profile("user_id:u1")
    result = engine.on_event(profile, Event("identify", T, "m1", {}, {"spent": "12"}), clock_ms=T)
    assert [(skip.path, skip.found) for skip in result.skipped] == [("spent", "text")]


#: Rule, how its identity begins, and the id of its feature: published versions and stored states have them.
FORMER: tuple[tuple[dict[str, Any], str, int], ...] = (
    ({"did": "A", "count": {"gte": 3}, "within": "1h"}, "2f08a311ba16daed", 584619091925292070),
    (
        {"did": ["A", "B"], "where": {"o.r": {"in_next": "3d"}}, "between": {"from": "2h", "to": "1h"}},
        "f431e4ef8a50cb90",
        7421568731288575915,
    ),
    ({"sum": "p", "of": "A", "is": {"gte": 0.3}, "within": "1h"}, "80caa4f272264dbf", 1888144190836372188),
    (
        {"avg": "p", "of": "A", "is": {"gt": 10}, "calendar": {"this": "week", "zone": "Europe/Paris"}},
        "44c5f93da48c4bc6",
        3855620967587931659,
    ),
    ({"distinct": "p", "of": "A", "is": {"gte": 2}, "within": "1h"}, "1da27ede98c03448", 4947866116428809870),
    ({"latest": "p", "of": "A", "is": {"eq": "x"}}, "b7118d8d784de568", 994808632712500083),
    (
        {"earliest": "p", "of": "A", "is": {"exists": True}, "since": "2026-01-01"},
        "701e07b7e0e70bde",
        93721763353715172,
    ),
    ({"first": "A", "is": {"older_than": "1d"}}, "8799274da5159dce", 2106271683385028218),
    ({"has_been": {"trait": "p", "is": {"eq": 1}}, "for": "1d"}, "6ebfd9aaacb047dc", 6105732441247624579),
    ({"sequence": [{"did": "A"}, {"did_not": "B", "within": "1h"}]}, "5eef599129574616", 4238172995739534912),
    ({"rfm": "champions"}, "16b61e59335f5d1f", 6432038196426499036),
)


@pytest.mark.parametrize(("form", "identity", "feature_id"), FORMER, ids=str)
def test_rules_without_figures_keep_identity_and_state(
    form: dict[str, Any], identity: str, feature_id: int
) -> None:
    node = read(form)
    assert model.identity(node).startswith(identity)
    assert [feature.id for feature in features_of(node)] == [feature_id]
