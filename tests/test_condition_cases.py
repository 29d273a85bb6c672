"""Reported cases of conditions on events, from input lines to changes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from segops.replay import Replay
from segops.testing import at, segments

T = at("2026-03-01T10:00:00Z")
SHOES = {"product_id": "a", "category": "shoes", "price": 90}
SOCKS = {"product_id": "b", "category": "socks", "price": 120}
#: Case -> the rule, the lines of two customers, and those who enter, with the time.
CASES: dict[str, tuple[dict[str, Any], list[dict[str, Any]], list[tuple[str, int]]]] = {
    "the same product has the category and the price": (
        {
            "did": "Order Completed",
            "where": {"products": {"any": {"category": "shoes", "price": {"gte": 50}}}},
        },
        [
            {"userId": "k1", "properties": {"products": [SHOES, {**SOCKS, "price": 50}]}},
            {"userId": "k2", "properties": {"products": [{**SHOES, "price": 20}, SOCKS]}},
        ],
        [("user_id:k1", T)],
    ),
    "the campaign of a page": (
        {"did": "page", "where": {"context.campaign.source": "ads"}},
        [
            {
                "type": "page",
                "anonymousId": "v1",
                "context": {"campaign": {"source": "ads", "medium": "cpc"}},
            },
            {"type": "page", "anonymousId": "v2", "context": {"campaign": "ads"}},
        ],
        [("anonymous_id:v1", T)],
    ),
    "the version of the app": (
        {"latest": "context.app.version", "of": "Application Opened", "is": {"starts_with": "2."}},
        [
            {"event": "Application Opened", "userId": "v2", "context": {"app": {"version": "2.4.1"}}},
            {"event": "Application Opened", "userId": "v3", "context": {"os": {"version": "2.4.1"}}},
        ],
        [("user_id:v2", T)],
    ),
    "amounts written as text": (
        {"sum": "revenue", "as": "number", "of": "Order Completed", "is": {"gte": 100}},
        [
            {"userId": "n1", "properties": {"revenue": "59.90"}},
            {"userId": "n1", "properties": {"revenue": "59.90"}},
        ],
        [("user_id:n1", T + 1_000)],
    ),
    "a key with dots": (
        {"did": "Form Sent", "where": {r"form\.data\.category": "shoes"}},
        [
            {"event": "Form Sent", "userId": "f1", "properties": {"form.data.category": "shoes"}},
            {"event": "Form Sent", "userId": "f2", "properties": {"form": {"data": {"category": "shoes"}}}},
        ],
        [("user_id:f1", T)],
    ),
    "the weekend of the shop's zone": (
        {"did": "Order Completed", "time_of_day": {"days": ["sat", "sun"], "zone": "Europe/Paris"}},
        [
            {"userId": "di", "timestamp": "2026-02-27T23:30:00Z"},
            {"userId": "dj", "timestamp": "2026-03-01T23:30:00Z"},
        ],
        [("user_id:di", at("2026-02-27T23:30:00Z"))],
    ),
    "any event after another": (
        {"sequence": [{"did": "A"}, {"did": "any_event", "within": "1h"}]},
        [{"event": "A", "userId": "dz"}, {"event": "B", "userId": "dz"}],
        [("user_id:dz", T + 1_000)],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_customers_enter_as_the_events_say(case: str) -> None:
    rule, lines, expected = CASES[case]
    replay, found = Replay(segments(rule=rule), wall_ms=10**14), []
    for number, line in enumerate(lines):
        call = {"type": "track", "event": "Order Completed", "timestamp": f"2026-03-01T10:00:0{number}Z"}
        found += replay.feed(json.dumps({**call, "messageId": f"m{number}", **line}).encode(), default_id="")
    assert [(c.action, c.profile_id, c.occurred_at) for c in found] == [
        ("entered", *each) for each in expected
    ]
