"""The catalogue as it is shown, as one map, and as the draft of a tracking plan."""

from __future__ import annotations

from typing import Any

import pytest

from segops.catalogue.counters import Catalogue
from segops.catalogue.inference import drafted_plans
from segops.catalogue.service import source_of
from segops.catalogue.views import catalogue_form, currency_of, views
from segops.core.rules.parsing import Context, Reader
from segops.tracking.compiler import compile_plan
from segops.tracking.parsing import read_plan

from .helpers import DAY_MS, MANY, counted, event


def shop() -> Catalogue:
    """Return the catalogue of a small shop: orders of 40 people from the website, some of the app."""
    orders = [
        event(
            "Order Completed",
            day * DAY_MS,
            revenue=20.5 + n,
            currency="EUR" if n % 4 else "GBP",
            order_id=f"o{n}",
            coupon=None if n % 2 else f"Code {chr(97 + n // 26)}{chr(97 + n % 26)}x",
            customer={"city": "Paris"},
        )
        for day in range(2)
        for n in range(40)
    ]
    web = [("website", each, MANY[n % 40]) for n, each in enumerate(orders)]
    app = [("app", event("Order Completed", 3 * DAY_MS, revenue=5), MANY[0])]
    traits = {"country": "FR", "email": "ann@shop.example", "created_at": "2026-01-01", "tags": ["a"]}
    identified = [("website", event("identify", 0, traits, **traits), who) for who in MANY[:40]]
    return counted([*web, *app, *identified])


def test_events_of_all_sources_are_shown_together_or_apart() -> None:
    entries = shop().entries.values()
    events, traits = views(entries, profiles=3)
    assert [(each.event, each.count, each.sources) for each in events] == [
        ("Order Completed", 81, ["app", "website"]),
        ("identify", 40, ["website"]),
    ]
    assert events[0].days == {"1970-01-01": 40, "1970-01-02": 40, "1970-01-04": 1}
    assert events[0].per_day == pytest.approx(81 / 7)
    assert traits is not None and traits.count == 40
    alone, none = views(entries, source="app", profiles=3)
    assert [(each.event, each.count) for each in alone] == [("Order Completed", 1)]
    assert none is None


def test_catalogue_is_one_map() -> None:
    events, traits = views(shop().entries.values(), profiles=3)
    form = catalogue_form(events, traits, further={"zone": "UTC", "currency": currency_of(events)})
    assert form["events"].keys() == {"Order Completed"}
    assert form["events"]["Order Completed"] == {
        "coupon": "string",
        "currency": ["EUR", "GBP"],
        "customer.city": ["Paris"],
        "order_id": "string",
        "revenue": "number",
    }
    assert form["traits"] == {"country": "iso2", "created_at": "date", "email": "string", "tags": "list"}
    assert (form["zone"], form["currency"]) == ("UTC", "EUR")


def test_more_profiles_may_be_asked_for_than_when_it_was_counted() -> None:
    events, _ = views(shop().entries.values(), profiles=65)
    assert all(each.values is None and each.range is None for view in events for each in view.properties)


def plan_of(draft: dict[str, Any]) -> Any:
    return compile_plan(read_plan(Reader(draft, "plans[0]", Context("draft"))))


def test_draft_of_a_plan_accepts_what_it_was_drafted_from() -> None:
    drafts = drafted_plans(shop().entries.values(), None, profiles=3)
    assert [each["source"] for each in drafts] == ["app", "website"]
    schema = drafts[1]["events"]["Order Completed"]["schema"]
    assert schema["required"] == ["coupon", "currency", "customer", "order_id", "revenue"]
    assert schema["properties"]["currency"] == {"enum": ["EUR", "GBP"]}
    assert schema["properties"]["coupon"] == {"type": ["null", "string"]}
    plan = plan_of(drafts[1])
    good = {"revenue": 1, "currency": "EUR", "order_id": "o", "coupon": None, "customer": {}}
    assert plan.check("track", "Order Completed", {"properties": good}) is None
    found = plan.check("track", "Order Completed", {"properties": {**good, "revenue": "1"}})
    assert list(map(str, found.violations)) == ["properties.revenue: expected number, got string"]
    assert plan.check("identify", "", {"traits": {"country": 5}}) is not None


def test_draft_requires_nothing_of_a_rare_event() -> None:
    (draft,) = drafted_plans(shop().entries.values(), "app", profiles=3)
    assert "required" not in draft["events"]["Order Completed"]["schema"]


def test_events_without_a_source_of_the_collector_have_no_draft() -> None:
    catalogue = counted([("-", event(), "u"), ("orders.v1", event(), "u")])
    assert drafted_plans(catalogue.entries.values(), None, profiles=3) == []


def test_source_of_an_event() -> None:
    assert source_of([("x", b"y"), ("segops-collector-source", b"website")]) == "website"
