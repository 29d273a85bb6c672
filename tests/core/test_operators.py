"""The operators of predicates: their meaning, missing values, and the exact edges of dates."""

from __future__ import annotations

from typing import Any

import pytest

from segops.core.errors import DefinitionError
from segops.core.operators import EDGES, OPERATORS, next_anniversary
from segops.core.rules.parsing import Reader
from segops.core.values import format_instant
from segops.testing import at

from .helpers import MONDAY as NOW
from .helpers import D, H

SAMPLES: dict[str, Any] = {
    "eq": 1,
    "ne": 1,
    "in": [1],
    "not_in": [1],
    "lt": 1,
    "lte": 1,
    "gt": 1,
    "gte": 1,
    "between": [1, 2],
    "contains": "a",
    "starts_with": "a",
    "ends_with": "a",
    "matches": "a",
    "includes": "a",
    "any": {"a": 1},
    "all": {"a": 1},
    "none": {"a": 1},
    "count": {"lt": 5},
    "exists": True,
    "before": "2026-01-01",
    "after": "2020-01-01",
    "in_last": "1d",
    "in_next": "1d",
    "older_than": "1d",
    "newer_than": "1d",
    "anniversary_in_next": "1d",
    "age_in_years": {"gte": 1},
    "weekday": "mon",
    "month": [1, 12],
}


def holds(test: dict[str, Any], value: Any, now_ms: int = NOW) -> bool:
    return Reader(test, "is").predicate().holds(value, now_ms)


@pytest.mark.parametrize(
    ("test", "value", "expected"),
    [
        ({"eq": 20}, 20.0, True),
        ({"eq": 20.0}, 20, True),
        ({"eq": 0.1}, 0.1, True),
        ({"eq": 1}, True, False),
        ({"eq": True}, 1, False),
        ({"eq": True}, True, True),
        ({"eq": False}, 0, False),
        ({"eq": "1"}, 1, False),
        ({"eq": "a"}, "A", False),
        ({"eq": ""}, "", True),
        ({"eq": "a"}, ["a"], False),
        ({"ne": 1}, 2, True),
        ({"ne": 1}, 1.0, False),
        ({"ne": 1}, "1", False),
        ({"ne": 1}, True, False),
        ({"ne": True}, False, True),
        ({"ne": "a"}, ["b"], False),
        ({"in": [1, "a"]}, "a", True),
        ({"in": [1, "a"]}, 1.0, True),
        ({"in": [1, "a"]}, True, False),
        ({"in": [1, "a"]}, "1", False),
        ({"not_in": [1, 2]}, 3, True),
        ({"not_in": [1, 2]}, 2.0, False),
        ({"not_in": [1, 2]}, "3", False),
        ({"not_in": [1, "a"]}, "b", True),
        ({"not_in": [1, 2]}, True, False),
        ({"not_in": [True]}, False, True),
        ({"lt": 5}, 4.999, True),
        ({"lt": 5}, 5, False),
        ({"lt": 5}, "4", False),
        ({"lt": 5}, False, False),
        ({"lt": "b"}, "a", True),
        ({"lte": 5}, 5.0, True),
        ({"lte": 5}, 5.001, False),
        ({"gt": 5}, 5, False),
        ({"gt": 5}, 5.001, True),
        ({"gte": 5}, 5, True),
        ({"gte": 0}, True, False),
        ({"gte": "b"}, "b", True),
        ({"gte": "b"}, "a", False),
        ({"between": [10, 20]}, 10, True),
        ({"between": [10, 20]}, 20.0, True),
        ({"between": [10, 20]}, 9.999, False),
        ({"between": [10, 20]}, 20.001, False),
        ({"between": ["b", "d"]}, "c", True),
        ({"between": [0, 20]}, "10", False),
        ({"contains": "an"}, "banana", True),
        ({"contains": "AN"}, "banana", False),
        ({"contains": "a"}, ["a"], False),
        ({"contains": "1"}, 1, False),
        ({"starts_with": "ba"}, "banana", True),
        ({"starts_with": "an"}, "banana", False),
        ({"ends_with": "na"}, "banana", True),
        ({"ends_with": "an"}, "banana", False),
        ({"matches": "an+"}, "banana", True),
        ({"matches": "^an"}, "banana", False),
        ({"matches": "(?i)^BA"}, "banana", True),
        ({"matches": "1"}, 1, False),
        ({"includes": "a"}, ["b", "a"], True),
        ({"includes": 20}, [20.0], True),
        ({"includes": 1}, [True], False),
        ({"includes": "a"}, "a", False),
        ({"includes": "a"}, [], False),
        ({"any": {"a": 1, "b": 2}}, [{"a": 1}, {"b": 2}], False),
        ({"any": {"a": 1, "b": 2}}, [{"a": 1}, {"a": 1.0, "b": 2}], True),
        ({"any": {"a": {"exists": False}}}, [1], True),
        ({"any": {"a": {"any": {"b.c": 1}}}}, [{"a": [{"b": {"c": 1}}]}], True),
        ({"all": {"a": 1}}, [{"a": 1}, {}], False),
        ({"all": {"a": 1}}, [], True),
        ({"none": {"a": 1}}, [{"a": 2}, 1], True),
        ({"none": {"a": 1}}, [], True),
        ({"none": {"a": 1}}, "a", False),
        ({"count": {"eq": 2, "where": {"a": {"gte": 1}}}}, [{"a": 1}, {"a": 0}, {"a": 2}], True),
        ({"count": {"eq": 0}}, [], True),
        ({"count": {"gte": 1}}, [None], True),
        ({"exists": True}, False, True),
        ({"exists": True}, [], True),
        ({"exists": False}, "", False),
        ({"gte": 1, "lt": 3}, 2, True),
        ({"gte": 1, "lt": 3}, 3, False),
        ({"gte": 1, "lt": 3}, 0, False),
    ],
)
def test_meaning_of_an_operator(test: dict[str, Any], value: Any, expected: bool) -> None:
    assert holds(test, value) is expected


def test_samples_cover_every_operator() -> None:
    assert SAMPLES.keys() == OPERATORS.keys()


@pytest.mark.parametrize("name", SAMPLES)
def test_operators_are_false_on_a_missing_value(name: str) -> None:
    assert holds({name: SAMPLES[name]}, None) is False


def test_only_exists_false_holds_on_a_missing_value() -> None:
    assert holds({"exists": False}, None)
    assert not holds({"exists": False, "ne": 1}, None)


@pytest.mark.parametrize("name", sorted(set(OPERATORS) - {"exists"}))
@pytest.mark.parametrize("value", [True, {"a": 1}], ids=["boolean", "object"])
def test_operators_do_not_hold_across_types(name: str, value: Any) -> None:
    assert not holds({name: SAMPLES[name]}, value)


def ms(offset: int) -> str:
    return format_instant(NOW + offset)


@pytest.mark.parametrize(
    ("test", "first", "last"),
    [
        ({"in_last": "1d"}, -D + 1, 0),
        ({"newer_than": "1d"}, -D + 1, 0),
        ({"in_next": "1d"}, 1, D),
        ({"before": ms(0)}, None, -1),
        ({"after": ms(0)}, 1, None),
        ({"older_than": "1d"}, None, -D),
        ({"older_than": "0d"}, None, 0),
    ],
)
def test_date_operator_holds_between_exact_edges(
    test: dict[str, Any], first: int | None, last: int | None
) -> None:
    if first is not None:
        assert holds(test, ms(first))
        assert not holds(test, ms(first - 1))
    if last is not None:
        assert holds(test, ms(last))
        assert not holds(test, ms(last + 1))


@pytest.mark.parametrize("name", ["in_last", "newer_than", "in_next", "older_than"])
def test_edges_of_a_date_are_the_changes_of_its_verdict(name: str) -> None:
    test = Reader({name: "1d"}, "is").predicate()
    changes = _verdict_changes(test, ms(0))
    now, found = NOW - 2 * D, []
    while (edge := test.next_edge(ms(0), now)) is not None:
        found.append(edge)
        now = edge
    assert set(changes) <= set(found)
    assert changes


def _verdict_changes(test: Any, value: str) -> list[int]:
    interesting = [NOW + shift + step for shift in (-D, 0, D) for step in (-1, 0, 1)]
    return [t for t in interesting if test.holds(value, t) != test.holds(value, t - 1)]


def test_only_age_operators_change_with_time() -> None:
    ages = {"in_last", "in_next", "newer_than", "older_than", "anniversary_in_next", "age_in_years"}
    assert set(EDGES) == ages
    assert Reader({"before": "2026-01-01"}, "is").predicate().next_edge("2025-01-01", NOW) is None


@pytest.mark.parametrize(
    ("written", "instant"),
    [
        ("2025-10-13", NOW),
        ("2025-10-13T00:00:00", NOW),
        ("2025-10-13T00:00:00Z", NOW),
        ("2025-10-13T02:00:00+02:00", NOW),
        ("2025-10-12T19:00:00.001-05:00", NOW + 1),
    ],
)
def test_date_is_parsed_as_an_instant_in_utc(written: str, instant: int) -> None:
    assert holds({"before": ms(1) if instant == NOW else ms(2)}, written)
    assert not holds({"before": format_instant(instant)}, written)
    assert not holds({"after": format_instant(instant)}, written)


@pytest.mark.parametrize("value", ["soon", "", "2025-13-01", 1_760_313_600_000, ["2025-10-13"]])
def test_date_operators_are_false_on_invalid_dates(value: Any) -> None:
    names = ("before", "after", "weekday", "month", *EDGES)
    assert not any(holds({name: SAMPLES[name]}, value) for name in names)


@pytest.mark.parametrize(
    ("born", "zone", "now", "coming"),
    [
        ("1990-06-15", "UTC", "2026-06-14T23:59:59.999Z", "2026-06-15T00:00:00Z"),
        ("1990-06-15", "UTC", "2026-06-15T00:00:00Z", "2027-06-15T00:00:00Z"),
        ("1992-02-29", "UTC", "2026-01-01", "2026-03-01"),
        ("1992-02-29", "UTC", "2028-01-01", "2028-02-29"),
        ("1992-02-29", "UTC", "2028-02-29T00:00:00Z", "2029-03-01"),
        ("1990-01-01", "UTC", "2026-12-31T12:00:00Z", "2027-01-01"),
        ("1990-12-31", "UTC", "2026-12-31T12:00:00Z", "2027-12-31"),
        ("1990-07-01", "Europe/Paris", "2026-06-01", "2026-06-30T22:00:00Z"),
        ("1990-12-01", "Europe/Paris", "2026-06-01", "2026-11-30T23:00:00Z"),
        ("1990-01-01", "Pacific/Auckland", "2026-12-31T10:59:59.999Z", "2026-12-31T11:00:00Z"),
        ("1990-01-01", "Pacific/Auckland", "2026-12-31T11:00:00Z", "2027-12-31T11:00:00Z"),
        ("1990-06-15T23:30:00Z", "Europe/Paris", "2026-01-01", "2026-06-15T23:30:00Z"),
        ("2030-06-15", "UTC", "2026-01-01", "2026-06-15"),
    ],
)
def test_anniversary_ignores_the_year(born: str, zone: str, now: str, coming: str) -> None:
    assert next_anniversary(born, zone, at(now)) == at(coming)


def test_anniversary_holds_from_its_lead_time_until_it_begins() -> None:
    test = {"anniversary_in_next": "7d", "zone": "Europe/Paris"}
    begins = at("2026-06-14T22:00:00Z")
    assert holds(test, "1990-06-15", begins - 7 * D)
    assert not holds(test, "1990-06-15", begins - 7 * D - 1)
    assert holds(test, "1990-06-15", begins - 1)
    assert not holds(test, "1990-06-15", begins)


@pytest.mark.parametrize(
    ("born", "zone"),
    [("0001-01-01T00:00:00Z", "America/New_York"), ("9999-12-31T23:59:59Z", "Asia/Tokyo")],
)
def test_date_at_the_end_of_the_calendar_is_handled(born: str, zone: str) -> None:
    assert holds({"anniversary_in_next": "366d", "zone": zone}, born) in (True, False)


@pytest.mark.parametrize(
    "unsafe", [r"(a)\1", "(?=a)", "(?<!a)b", "a{1001}", "((a{99}){99}){99}", "(", "[z-a]"]
)
def test_nonlinear_regular_expression_is_rejected(unsafe: str) -> None:
    with pytest.raises(DefinitionError, match="invalid regular expression"):
        Reader({"matches": unsafe}, "is").predicate()


def test_catastrophic_regular_expression_runs_in_linear_time() -> None:
    assert not holds({"matches": "^(a+)+$"}, "a" * 5_000 + "!")


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ({}, "at least one operator"),
        ({"equals": 1}, "unknown operator"),
        ({"eq": None}, "expected a number, a string or a boolean, got None"),
        ({"eq": [1]}, "expected a number, a string or a boolean, got "),
        ({"eq": float("nan")}, "expected a finite number"),
        ({"in": []}, "expected a non-empty list of values"),
        ({"in": 5}, "expected a non-empty list of values"),
        ({"lt": True}, "expected a number or a string, got True"),
        ({"between": [2, 1]}, "never holds"),
        ({"between": [1, "2"]}, "one type"),
        ({"between": [1]}, "two values"),
        ({"contains": 5}, "expected a string"),
        ({"exists": 1}, "true or false"),
        ({"before": "soon"}, "ISO-8601"),
        ({"in_last": "0d"}, "expected a duration above 0"),
        ({"in_last": 7}, "expected a duration"),
        ({"in_last": "7 days"}, "expected a duration"),
        ({"anniversary_in_next": "7d", "zone": "Paris"}, "unknown time zone 'Paris'"),
        ({"eq": 1, "zone": "Europe/Paris"}, "unknown operator"),
    ],
)
def test_invalid_operand_is_rejected_with_the_reason(test: dict[str, Any], reason: str) -> None:
    with pytest.raises(DefinitionError, match=reason):
        Reader(test, "is").predicate()


def test_age_is_not_affected_by_daylight_saving_time() -> None:
    # Daylight saving time ends in Europe on 26 October 2025; a day is 24 hours nevertheless.
    assert holds({"in_last": "1d"}, "2025-10-25T12:00:00+02:00", at("2025-10-25T10:00:00Z") + 24 * H - 1)
    assert not holds({"in_last": "1d"}, "2025-10-25T12:00:00+02:00", at("2025-10-26T10:00:00Z"))
