"""What is drafted from a sample: by table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from segops.sources.inference import draft, survey

from .helpers import mapped, sources_in

UUIDS = [
    {"event_id": f"e{number}", "user_id": "u1", "event_type": f"kind{number % 2}"} for number in range(9)
]


@pytest.mark.parametrize(
    ("topic", "values", "expected"),
    [
        (
            "shop.orders.v1",
            [{"customerId": 7, "total": 3.5, "created_at": 1_760_000_000}],
            {
                "identifiers": {"user_id": "customerId"},
                "map": {
                    "event": "Orders",
                    "timestamp": {"path": "created_at", "as": "unix_seconds"},
                    "properties": {"total": "total"},
                },
            },
        ),
        (
            "page-views",
            [{"visitor": {"anonymous_id": "a"}, "ts": 1_760_000_000_000, "page": {"url": "/", "size": 1}}],
            {
                "identifiers": {"anonymous_id": "visitor.anonymous_id"},
                "map": {
                    "event": "Page Views",
                    "timestamp": {"path": "ts", "as": "unix_millis"},
                    "properties": {"url": "page.url", "size": "page.size"},
                },
            },
        ),
        (
            "clicks",
            UUIDS,
            {
                "identifiers": {"user_id": "user_id"},
                "map": {"event": {"path": "event_type"}, "messageId": "event_id"}
                | {"properties": {"event_type": "event_type"}},
            },
        ),
        (
            "db.public.customers",
            [{"id": 1, "email": "ada@example.com", "plan": "gold", "created": "2026-03-01"}],
            {
                "identifiers": {"user_id": "id", "email": "email"},
                "map": {"type": "identify", "timestamp": "created", "traits": {"plan": "plan"}},
            },
        ),
        (
            "orders",
            [{"user": {"id": 1}, "customer_email": "n/a", "time": "soon", "created": 5, "id": 1}],
            {
                "identifiers": {"user_id": "user.id"},
                "map": {
                    "event": "Orders",
                    "properties": {"customer_email": "customer_email", "time": "time", "created": "created"}
                    | {"id": "id"},
                },
            },
        ),
        (
            "orders",
            [{"total": 1}],
            {"map": {"event": "Orders", "userId": "TODO", "properties": {"total": "total"}}},
        ),
    ],
)
def test_draft_names_what_it_recognises(
    topic: str, values: list[dict[str, Any]], expected: dict[str, Any], tmp_path: Path
) -> None:
    found = draft(topic, {"format": "json"}, values).source
    assert found == {"topic": topic, "format": "json", "from": "earliest", **expected}
    (source,) = sources_in([found], tmp_path)
    if "identifiers" in expected:
        assert all(len(mapped(source, value)) == 1 for value in values)


def test_field_that_two_paths_end_with_is_named_by_both() -> None:
    found = draft("a", {"format": "json"}, [{"user_id": 1, "a": {"x": 1}, "b": {"x": 2}}])
    assert found.source["map"]["properties"] == {"x": "a.x", "b_x": "b.x"}


def test_survey_counts_kinds_without_following_bad_names() -> None:
    deep: dict[str, Any] = {"a": 1}
    for _ in range(20):
        deep = {"a": deep}
    fields = survey([{"n": 1, "a.b": 1, "": 2, "deep": deep}, {"n": "x", "none": None}, {"n": "y"}])
    assert [(each.name, each.type(), each.present) for each in fields] == [
        ("n", "string, number", 3),
        ("deep.a.a.a.a", "object", 1),
    ]
