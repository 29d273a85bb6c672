"""Unreadable values are reported with their type and path, and names that never occur."""

from __future__ import annotations

from typing import Any

import pytest

from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.operators import OPERATORS
from segops.core.operators import Predicate as Ops
from segops.core.skips import FOUND, Skip, expected_kinds, misfit, sentences
from segops.core.survey import Survey
from segops.testing import Customer, segments
from tests.core.helpers import MONDAY as T

SAMPLES: dict[str, Any] = {
    "number": 5,
    "text": "five",
    "boolean": True,
    "list": [5],
    "object": {"a": 5},
}


@pytest.mark.parametrize(
    ("when", "fine"),
    [
        ({"trait": "p", "is": {"gte": 3}}, {"number"}),
        ({"trait": "p", "is": {"eq": "five"}}, {"text"}),
        ({"trait": "p", "is": {"ne": True}}, {"boolean"}),
        ({"trait": "p", "is": {"in": [1, "a"]}}, {"number", "text"}),
        ({"trait": "p", "is": {"between": [1, 2]}}, {"number"}),
        ({"trait": "p", "is": {"contains": "x"}}, {"text"}),
        ({"trait": "p", "is": {"matches": "x"}}, {"text"}),
        ({"trait": "p", "is": {"includes": 5}}, {"list"}),
        ({"trait": "p", "is": {"exists": True}}, set(SAMPLES)),
        ({"has_been": {"trait": "p", "is": {"eq": "five"}}, "for": "1d"}, {"text"}),
    ],
)
def test_trait_of_an_incompatible_type_is_skipped(when: dict[str, Any], fine: set[str]) -> None:
    for found, value in SAMPLES.items():
        skipped = Customer(one=when).send("identify", T, traits={"p": value}).skipped
        assert [*skipped] == ([] if found in fine else [Skip("", "p", found)])


@pytest.mark.parametrize(
    "test",
    [
        {"in_next": "3d"},
        {"before": "2026-01-01"},
        {"anniversary_in_next": "3d"},
        {"age_in_years": 3},
        {"month": 12},
    ],
)
def test_trait_with_an_invalid_date_is_skipped(test: dict[str, Any]) -> None:
    customer = Customer(one={"trait": "born.on", "is": test})
    odd = (("31/12/1990", "no_date"), ("", "no_date"), (1990, "number"), (["1990-01-01"], "list"))
    for value, found in odd:
        skipped = customer.send("identify", T, traits={"born": {"on": value}}).skipped
        assert [*skipped] == [Skip("", "born.on", found)]
    for good in ("1990-12-31", "1990-12-31 10:00 UTC", None):
        assert not customer.send("identify", T, traits={"born": {"on": good}}).skipped
    assert not customer.send("identify", T, traits={"other": 5}).skipped


def test_every_operator_names_its_operand_types() -> None:
    for name in OPERATORS:
        assert bool(expected_kinds(Ops(((name, 5),)))) is (name != "exists")
    assert expected_kinds(Ops((("exists", True), ("gte", 5)))) == {"number"}


def test_value_is_skipped_once_per_event_however_many_rules_read_it() -> None:
    total = {"sum": "p", "of": "A", "is": {"gt": 5}}
    customer = Customer(a=total, b={**total, "within": "1d"}, c={"max": "p", "of": "A", "is": {"gt": 5}})
    assert [*customer.send("A", T, p="7").skipped] == [Skip("A", "p", "text")]


def test_order_amounts_are_skipped_with_the_reason() -> None:
    engine = Engine(segments(rich={"rfm": {"monetary": {"gte": 2}}}))
    for number, (properties, skip) in enumerate(
        [
            ({"revenue": "59.90"}, [Skip("Order Completed", "revenue", "text")]),
            ({"total": [1]}, [Skip("Order Completed", "total", "list")]),
            ({"revenue": 5}, []),
            ({}, []),
        ]
    ):
        profile = engine.new_profile("user_id:u1")
        event = Event("Order Completed", T, str(number), properties)
        assert [*engine.on_event(profile, event, clock_ms=T).skipped] == skip


def test_every_finding_has_a_sentence() -> None:
    odd = [misfit(value, frozenset({"none of these"})) for value in SAMPLES.values()]
    odd += [misfit("x", frozenset({"date"})), "other_currency"]
    assert set(odd) == set(FOUND)
    for found in FOUND:
        many, one = sentences({Skip("A", "a.b", found): 1, Skip("", "p", found): 1_200})
        assert one.startswith("a.b of A: 1 value is ")
        assert many.startswith("trait p: 1,200 values are ")


# -- the survey ----------------------------------------------------------------------------------------


def survey(**rules: dict[str, Any]) -> Survey:
    return Survey(segments(**rules).definitions)


def event(name: str = "A", traits: dict[str, Any] | None = None, **properties: Any) -> Event:
    return Event(name, T, "m", properties, traits)


def test_unreadable_value_in_where_is_reported() -> None:
    found = survey(one={"did": "A", "where": {"price": {"gte": 5}, "on": {"in_next": "3d"}, "sku": "x"}})
    assert set(found.observe(event(price="5", on="soon", sku=5))) == {
        Skip("A", "price", "text"),
        Skip("A", "on", "no_date"),
        Skip("A", "sku", "number"),
    }
    assert found.observe(event(price=5, on="2026-01-01", sku="y")) == []
    assert found.observe(event("B", price="5")) == []


def test_latest_value_of_an_incompatible_type_is_reported() -> None:
    found = survey(
        one={"latest": "plan", "of": "A", "is": {"eq": 5}},
        two={"distinct": "sku", "of": "A", "is": {"gt": 1}},
    )
    assert found.observe(event(plan="5", sku=[1])) == [Skip("A", "plan", "text")]
    assert found.observe(event(plan=5, sku={})) == []


def test_value_of_a_session_of_an_incompatible_type_is_reported() -> None:
    found = survey(
        one={"session": {"first": "url"}, "of": "A", "is": {"starts_with": "/"}},
        two={"active_days": "A", "where": {"app": True}, "is": {"gte": 2}},
        three={"lifecycle": {"of": "B", "where": {"n": 1}, "period": "1d", "is": "new"}},
    )
    assert found.observe(event(url=5, app="yes")) == [Skip("A", "url", "number"), Skip("A", "app", "text")]
    assert list(found.names_never_met()) == ["no event is named B"]


def test_events_paths_and_traits_that_never_occur_are_reported() -> None:
    plan = {"trait": "plan.name", "is": {"eq": "x"}}
    step = {"did": "C", "where": {"a.b": 1, "k": {"same_as": 1}}}
    found = survey(
        a={"did": "A", "where": {"price": {"gte": 5}}},
        b={"all": [{"sum": "total", "of": ["A", "B"], "is": {"gte": 5}}, {"not": plan}]},
        c={"sequence": [{"did": "A"}, step]},
        d={"near": {"lat": 1, "lon": 1, "radius": "5km"}},
        e={"rfm": "champions"},
        f={"has_been": {"trait": "tier", "is": {"eq": "x"}}, "for": "1d"},
    )
    names = ("A", "B", "C", "Order Completed")
    assert list(found.names_never_met()) == [f"no event is named {name}" for name in names]
    found.observe(event(price=5, total=None, traits={"plan": {"size": 5}}))
    found.observe(event("C", a={"b": None}))
    assert list(found.names_never_met()) == ["no event is named B", "no event is named Order Completed"]
    traits = ["no event has the trait plan.name", "no event has the trait tier"]
    assert list(found.paths_never_met()) == [
        "no A has total",
        "no C has a.b",
        "no C has k",
        *traits,
        "no event has a context.location",
    ]
    found.observe(event(total="odd", traits={"plan": {"name": "x"}, "tier": "gold"}))
    located = event("C", a={"b": 1}, k=2)
    located.location = (1.0, 1.0)
    found.observe(located)
    assert list(found.paths_never_met()) == []
