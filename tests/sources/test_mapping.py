"""What a mapping makes of a record: by table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segops.core.errors import RejectedEvent
from segops.schemas.events import decode, route

from .helpers import AT, AT_MS, mapped, source_of

ORDER = {
    "id": "o1",
    "customer": {"id": 7, "email": "Ada@Example.com", "vip": True},
    "cents": 1999,
    "placed": 1_750_000_000,
    "status": "paid",
    "items": [{"sku": "A"}],
}
SHORT = {"type": "track", "event": "Bought", "messageId": f"orders:0:7@{AT_MS}", "timestamp": AT, "userId": 7}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("map: {event: Bought, userId: customer.id}", SHORT),
        ("map: {event: {path: status}, userId: customer.id}", SHORT | {"event": "paid"}),
        ("{identifiers: {user_id: customer.id}, map: {event: Bought}}", SHORT),
        ("map: {event: Bought, userId: {value: u1}}", SHORT | {"userId": "u1"}),
        ("map: {event: Bought, userId: customer.id, messageId: id}", SHORT | {"messageId": "o1"}),
        (
            "map: {event: Bought, userId: customer.id, timestamp: {path: placed, as: unix_seconds}}",
            SHORT | {"timestamp": "2025-06-15T15:06:40.000Z"},
        ),
        (
            "map: {event: Bought, userId: customer.id, timestamp: unknown}",
            SHORT,
        ),
        (
            "map: {event: Bought, userId: customer.id, properties: {total: {path: cents, as: cents}, "
            "currency: {value: EUR}, products: items, absent: none.such}}",
            SHORT | {"properties": {"total": 19.99, "currency": "EUR", "products": [{"sku": "A"}]}},
        ),
        ("map: {event: Bought, userId: customer.id, properties: '*'}", SHORT | {"properties": ORDER}),
        (
            "map: {event: Bought, userId: customer.id, properties: customer}",
            SHORT | {"properties": ORDER["customer"]},
        ),
        ("map: {event: Bought, userId: customer.id, properties: none}", SHORT | {"properties": {}}),
        (
            "identifiers: {email: customer.email, device_id: device, loyalty: id}\nmap: {event: Bought}",
            {
                **{key: value for key, value in SHORT.items() if key != "userId"},
                "context": {
                    "traits": {"email": "Ada@Example.com"},
                    "externalIds": [{"type": "loyalty", "id": "o1", "collection": "users"}],
                },
            },
        ),
        (
            "map: {type: identify, userId: customer.id, traits: customer}",
            {**SHORT, "type": "identify", "traits": ORDER["customer"], "event": None},
        ),
        (
            "map: {type: identify, userId: customer.id, traits: {vip: customer.vip, city: city}}",
            {**SHORT, "type": "identify", "traits": {"vip": True}, "event": None},
        ),
    ],
)
def test_record_becomes_an_event(text: str, expected: dict[str, Any], tmp_path: Path) -> None:
    (event,) = mapped(source_of(text, tmp_path), ORDER)
    assert event == {key: value for key, value in expected.items() if value is not None}
    assert route(json.dumps(event).encode(), now_ms=AT_MS, default_time_ms=None)


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("{where: {status: paid}, map: {event: A, userId: id}}", ["A"]),
        ("{where: {status: {in: [new, open]}}, map: {event: A, userId: id}}", []),
        ("{where: {cents: {gte: 1000}, customer.vip: true}, map: {event: A, userId: id}}", ["A"]),
        ("{where: {refund: {exists: true}}, map: {event: A, userId: id}}", []),
        (
            "{identifiers: {user_id: id}, map: [{event: A}, {event: B, when: {status: new}}, {event: C}]}",
            ["A", "C"],
        ),
        ("{where: {$key.region: EU, $headers.test: {exists: false}}, map: {event: A, userId: id}}", ["A"]),
        ("{where: {$timestamp: {lt: 5}}, map: {event: A, userId: id}}", []),
    ],
)
def test_conditions_choose_records_and_mappings(text: str, events: list[str], tmp_path: Path) -> None:
    meta = {"$key": {"region": "EU"}, "$timestamp": AT_MS, "$headers": {"trace": "1"}}
    found = mapped(source_of(text, tmp_path), ORDER, meta=meta)
    assert [event["event"] for event in found] == events
    assert len({event["messageId"] for event in found}) == len(found)


def test_conditions_on_dates_hold_at_the_time_of_the_record(tmp_path: Path) -> None:
    source = source_of("{where: {day: {in_last: 2d}}, map: {event: A, userId: id}}", tmp_path)
    assert mapped(source, {"id": "u", "day": "2025-10-08"})
    assert not mapped(source, {"id": "u", "day": "2025-10-01"})


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (
            "map: {event: A, userId: id, timestamp: {path: status, as: unix_millis}}",
            "sources[0].map.timestamp: expected milliseconds since 1970 at status, got 'paid'",
        ),
        (
            "map: [{event: A, userId: id, properties: {total: {path: items, as: number}}}]",
            "sources[0].map[0].properties.total: expected a number at items, got a list",
        ),
        (
            "map: {type: identify, userId: id, traits: status}",
            "sources[0].map.traits: expected an object at status, got 'paid'",
        ),
    ],
)
def test_what_cannot_be_mapped_is_named(text: str, detail: str, tmp_path: Path) -> None:
    with pytest.raises(RejectedEvent) as caught:
        mapped(source_of(text, tmp_path), ORDER)
    assert (caught.value.reason, caught.value.detail) == ("unmapped", detail)


def test_identifiers_of_a_mapping_precede_those_of_the_source(tmp_path: Path) -> None:
    text = "{identifiers: {user_id: a, email: e}, map: [{event: A}, {event: B, identifiers: {user_id: b}}]}"
    first, second = mapped(source_of(text, tmp_path), {"a": "1", "b": "2", "e": "x@y.z"})
    assert (first["userId"], second["userId"]) == ("1", "2")
    assert first["context"] == second["context"] == {"traits": {"email": "x@y.z"}}


def test_engine_reads_what_was_mapped(tmp_path: Path) -> None:
    text = (
        "identifiers: {email: customer.email, loyalty: id}\n"
        "map: {event: Bought, properties: {total: {path: cents, as: cents}}}"
    )
    (event,) = mapped(source_of(text, tmp_path), ORDER)
    read = decode(json.dumps(event).encode(), time_ms=AT_MS, default_id="")
    assert (read.email, read.others, read.named) == ("ada@example.com", ("loyalty:o1",), True)
    assert read.properties == {"total": 19.99}


def test_debezium_mappings_apply_to_operations(tmp_path: Path) -> None:
    text = """
    map:
      - {event: Created, userId: id}
      - {type: identify, userId: id, traits: "*"}
      - {event: Deleted, userId: id, operations: [delete]}
      - {event: Renamed, userId: id, operations: [update], when: {$before.name: {ne: new}}}
    """
    source = source_of(text, tmp_path, format="debezium")
    found = {
        operation: [
            event.get("event", event["type"])
            for event in mapped(
                source, {"id": 1, "name": "new"}, operation=operation, meta={"$before": {"name": "old"}}
            )
        ]
        for operation in ("create", "read", "update", "delete")
    }
    assert found == {
        "create": ["Created", "identify"],
        "read": ["Created", "identify"],
        "update": ["identify", "Renamed"],
        "delete": ["Deleted"],
    }
