"""Weekdays, months and ages of dates in a zone, to the millisecond of the birthday."""

from __future__ import annotations

from typing import Any

import pytest

from segops.core.dates import birthday, in_zone, years_since
from segops.core.events import Event
from segops.core.operators import Age, Anniversary, DateNumbers, Predicate, next_anniversary
from segops.core.rules.parsing import Reader
from segops.core.segments import SegmentSet
from segops.testing import Customer, Flip, at

from .helpers import D, issues_of
from .oracle import Oracle
from .strategies import BASE_MS
from .test_equivalence import assert_agreement, make_definition

ADULT = {"trait": "born", "is": {"age_in_years": {"gte": 18}, "zone": "Europe/Paris"}}


def holds(test: dict[str, Any], value: Any, now: str = "2026-01-05") -> bool:
    return Reader(test, "is").predicate().holds(value, at(now))


@pytest.mark.parametrize(
    ("born", "begins"),
    [
        ("2008-06-15", "2026-06-14T22:00:00Z"),
        ("2008-12-15", "2026-12-14T23:00:00Z"),
        ("2008-02-29", "2026-02-28T23:00:00Z"),
        ("2008-06-15T10:00:00.001Z", "2026-06-15T10:00:00.001Z"),
        ("2008-12-31T23:30:00Z", "2026-12-31T23:30:00Z"),
        ("2008-03-30T01:30:00Z", "2026-03-30T01:30:00Z"),
    ],
)
def test_age_rises_at_the_first_millisecond_of_the_birthday_in_the_zone(born: str, begins: str) -> None:
    customer = Customer(adult=ADULT)
    assert customer.did("identify", at("2026-01-05"), traits={"born": born}) == []
    assert customer.profile.due_ms == at(begins)
    assert customer.wait(at(begins) - 1) == []
    assert customer.wait(at(begins)) == [Flip("entered", "adult", at(begins))]
    assert customer.wait(at("2095-01-01")) == []


def test_membership_by_a_single_age_lasts_a_year() -> None:
    customer = Customer(of_30={"trait": "born", "is": {"age_in_years": 30}})
    customer.did("identify", at("2025-12-31"), traits={"born": "1996-02-29"})
    assert customer.wait(at("2030-01-01")) == [
        Flip("entered", "of-30", at("2026-03-01")),
        Flip("exited", "of-30", at("2027-03-01")),
    ]


def test_date_to_come_has_no_age_until_it_begins() -> None:
    customer = Customer(begun={"trait": "starts", "is": {"age_in_years": {"gte": 0}}})
    assert customer.did("identify", at("2026-01-05"), traits={"starts": "2026-02-01"}) == []
    assert customer.wait(at("2026-03-01")) == [Flip("entered", "begun", at("2026-02-01"))]


def test_age_of_a_date_of_an_event_moves_with_time() -> None:
    customer = Customer(child={"did": "Book", "where": {"born": {"age_in_years": {"lt": 2}}}})
    now = at("2026-01-05")
    assert customer.did("Book", now, born="2024-01-07") == [Flip("entered", "child", now)]
    assert customer.wait(now + 9 * D) == [Flip("exited", "child", at("2026-01-07"))]


@pytest.mark.parametrize(
    ("test", "value", "expected"),
    [
        ({"weekday": "mon"}, "2026-01-05", True),
        ({"weekday": ["sat", "sun"]}, "2026-01-05", False),
        ({"weekday": "sun", "zone": "America/New_York"}, "2026-01-05T04:59:59.999Z", True),
        ({"weekday": "mon", "zone": "America/New_York"}, "2026-01-05T05:00:00Z", True),
        ({"weekday": "mon", "zone": "America/New_York"}, "2026-01-05", True),
        ({"month": [1, 12]}, "2026-12-31", True),
        ({"month": 1, "zone": "Asia/Tokyo"}, "2025-12-31T15:00:00Z", True),
        ({"month": 12, "zone": "Asia/Tokyo"}, "2025-12-31T14:59:59.999Z", True),
        ({"month": 1, "weekday": "mon", "zone": "UTC"}, "2026-01-06", False),
        ({"weekday": "mon"}, None, False),
        ({"weekday": "mon"}, 5, False),
        ({"month": 1}, ["2026-01-05"], False),
        ({"month": 1}, "1", False),
    ],
)
def test_weekday_and_month_are_those_of_the_zone(test: dict[str, Any], value: Any, expected: bool) -> None:
    assert holds(test, value) is expected


@pytest.mark.parametrize("born", ["0001-01-01T00:00:00Z", "0001-01-01", "9999-12-31T23:59:59Z", "9999-12-31"])
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_dates_at_the_ends_of_the_calendar_have_ages(born: str, zone: str) -> None:
    date = in_zone(born, zone)
    assert date is not None
    for years in (0, 1, 399, 400, 9_998):
        birthday_ms = birthday(date, years)
        assert (years_since(date, birthday_ms), years_since(date, birthday_ms - 1)) == (
            years,
            years - 1 if years else None,
        )


@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris", "Pacific/Auckland"])
@pytest.mark.parametrize("born", ["2000-02-29", "1999-12-31T23:30:00Z", "2001-03-25T01:30:00Z", "2001-10-28"])
def test_ages_rise_at_anniversaries(born: str, zone: str) -> None:
    date, at_ms = in_zone(born, zone), at("2002-01-02")
    assert date is not None
    for _ in range(40):
        coming = next_anniversary(born, zone, at_ms)
        assert coming is not None
        age = years_since(date, coming)
        assert age is not None and years_since(date, coming - 1) == age - 1
        assert birthday(date, age) == coming
        at_ms = coming


def test_one_zone_serves_all_operators_beside_it() -> None:
    form = {
        "anniversary_in_next": "1d",
        "age_in_years": 3,
        "weekday": "tue",
        "month": 2,
        "zone": "Asia/Tokyo",
    }
    assert Reader(form, "is").predicate().ops == (
        ("age_in_years", Age(Predicate((("eq", 3),)), "Asia/Tokyo")),
        ("anniversary_in_next", Anniversary(86_400_000, "Asia/Tokyo")),
        ("month", DateNumbers((2,), "Asia/Tokyo")),
        ("weekday", DateNumbers((2,), "Asia/Tokyo")),
    )


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (
            {"weekday": "monday"},
            "when.is.weekday: expected one of mon, tue, wed, thu, fri, sat, sun, got 'monday'",
        ),
        ({"weekday": []}, "when.is.weekday: expected a non-empty list of days, such as [sat, sun]"),
        ({"weekday": "mon", "zone": "Paris"}, "when.is.zone: unknown time zone 'Paris'"),
        ({"month": 13}, "when.is.month: expected an integer from 1 to 12, got 13"),
        ({"month": ["jan"]}, "when.is.month: expected an integer from 1 to 12, got 'jan'"),
        ({"month": True}, "when.is.month: expected an integer from 1 to 12, got True"),
        ({"age_in_years": {"lt": 0}}, "when.is.age_in_years: never holds"),
        ({"age_in_years": 18.5}, "when.is.age_in_years.eq: expected an integer, got 18.5"),
        ({"age_in_years": {"older_than": "1d"}}, "when.is.age_in_years.older_than: unknown operator"),
        ({"age_in_years": {"gte": 10_000}}, "when.is.age_in_years: expected ages of at most 9,999 years"),
        ({"eq": 5, "zone": "UTC"}, "when.is.zone: unknown operator"),
    ],
)
def test_mistakes_are_refused_with_the_reason(test: dict[str, Any], message: str) -> None:
    found = issues_of({"trait": "born", "is": test})
    assert any(issue.startswith(f"f: {message}") for issue in found), found


def test_step_of_a_sequence_refuses_an_age_and_accepts_a_weekday() -> None:
    step = {"did": "A", "where": {"day": {"weekday": "mon"}}}
    customer = Customer(rule={"sequence": [step]})
    assert customer.did("A", at("2026-01-05"), day="2026-01-05") == [
        Flip("entered", "rule", at("2026-01-05"))
    ]
    issues_of({"sequence": [{"did": "A", "where": {"day": {"age_in_years": 1}}}]})


def test_oracle_knows_how_long_an_age_has_been_reached() -> None:
    """Eighteen years are reached after the event: what the engine does then, the oracle must try as well."""
    born = {"p": "2007-10-09T08:53:20.001Z"}
    held = {"has_been": {"trait": "p", "is": {"age_in_years": 18}}, "for": "500ms"}
    definitions = [make_definition("s0", held)]
    steps = [("event", Event("A", BASE_MS, "m1", {}, born)), ("clock", BASE_MS + 501)]
    assert_agreement(SegmentSet(definitions), steps, watermark=True)
    oracle = Oracle(definitions)
    oracle.on_event(steps[0][1], BASE_MS)
    assert [change.occurred_at for change in oracle.on_clock(BASE_MS + 501)] == [BASE_MS + 501]
