"""What pages read from Kafka, in place of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

from segops.console.pages import _sources, audiences, data, destinations
from segops.core.audiences.audit import AuditEntry, digest, examined, sign
from segops.core.audiences.lift import Arm, lift_of
from segops.core.delivery.model import Delivery, Entry, Told
from segops.delivery.entries import Address
from segops.delivery.views import Preview
from segops.destinations.port import Finding, Request
from segops.imports.state import ImportState
from segops.imports.state import encode_state as encode_import
from segops.klaviyo.state import encode_state, new_state
from segops.operations import dead_letters
from segops.operations.audiences.lifts import ArmView, LiftView
from segops.operations.audiences.views import Audited
from segops.operations.dead_letters import DeadLetter, Letters
from segops.operations.destinations import Checked
from segops.tracking.violations import ViolationRecord

from .activation_board import act
from .helpers import NOW_MS

HOSTILE = "<script>alert(1)</script>\"'\u202e" + "x" * 2_000
LETTERS = [
    DeadLetter(
        "0:17",
        NOW_MS - 60_000,
        "too_large",
        "40,012 bytes, 36,864 are allowed",
        "segops.events:0:5",
        False,
        b"u1",
        b'{"type": "track", "event": "Visited", "userId": "u1", "messageId": "m1"}',
    ),
    DeadLetter(
        "1:3",
        NOW_MS - 90_000,
        "invalid_json",
        "expected a value",
        "collector:website:batch[0]",
        False,
        None,
        b'{"type": "track", \xff\x00 "\xe2\x80\xae<script>alert(1)</script>',
    ),
    DeadLetter(
        "2:9",
        NOW_MS - 190_000,
        "shopify_schema",
        "missing id",
        "shopify:shop-1.myshopify.com:orders/create",
        False,
        None,
        b"{}",
    ),
]
VIOLATIONS = [
    ViolationRecord(
        "website",
        "Order Completed",
        "type",
        "properties.total",
        "number",
        "string",
        "rejected",
        214,
        NOW_MS - 9_000_000,
        NOW_MS - 4_000,
    ),
    ViolationRecord(
        "app",
        "Product Viewed",
        "required",
        "properties.sku",
        "present",
        "missing",
        "warned",
        3,
        NOW_MS - 9_000_000,
        NOW_MS - 90_000,
    ),
]


def entries_of_dead() -> dict[Address, Entry]:
    """Return three messages that a destination refused."""
    return {
        Address(Delivery("klaviyo-main", "winback-email"), f"u{n}@shop.example"): Entry(
            told=Told(
                False,
                "c",
                f"user_id:u{n}",
                NOW_MS - n * 60_000,
                skipped="dead",
                detail="status 400 invalid address",
            )
        )
        for n in range(1, 4)
    }


async def latest(*_: Any, **__: Any) -> Letters:
    return Letters(LETTERS, 1_204)


async def find(_: Any, names: Any) -> list[DeadLetter]:
    known = {each.id: each for each in LETTERS}
    if names[0] not in known:
        raise dead_letters.UnknownLetter(f"the dead letter {names[0]} is not there, or is no longer retained")
    return [known[name] for name in names]


async def violations(*_: Any) -> AsyncGenerator[list[ViolationRecord], None]:
    yield VIOLATIONS


async def read_entries(*_: Any) -> dict[Address, Entry]:
    return entries_of_dead()


async def pulled(*_: Any) -> list[Any]:
    states = [
        encode_state(new_state("AbC123", NOW_MS, 400 * 86_400_000)),
        encode_import(
            ImportState(
                file="/tmp/orders.csv",
                map_hash="h",
                started_ms=NOW_MS - 10**8,
                rows=812,
                events=800,
                rejected=12,
                done=True,
            )
        ),
    ]
    return [found for each in states if (found := _sources.pull_of(each)) is not None]


async def mapped(*_: Any) -> list[Any]:
    return [
        {
            "topic": "orders.v1",
            "format": "avro",
            "begin": "earliest",
            "events": ["Order Completed"],
            "partitions": 6,
            "lag": 1_204,
            "since_ms": NOW_MS - 10**8,
        }
    ]


async def checked(*_: Any) -> Checked:
    return Checked(
        [
            Finding(True, "https://crm.shop.example/hooks/segops: status 200"),
            Finding(False, "the list XyZ123 begins a live flow"),
        ],
        "only_new",
    )


async def audited(*_: Any) -> Audited:
    steps = [
        ("apply", "draft", "draft", "ann@shop.example"),
        ("plan", "draft", "draft", "ann@shop.example"),
        ("submit", "draft", "waiting", "ann@shop.example"),
        ("approve", "waiting", "active", "bob@shop.example"),
    ]
    signed, previous = [], ""
    for number, (action, before, after, who) in enumerate(steps, 1):
        entry = AuditEntry(
            f"e{number}",
            "winback-email",
            number,
            previous,
            act(who, NOW_MS - (9 - number) * 60_000),
            action,
            before,
            after,
            reach=8_284 if number > 1 else None,
        )  # type: ignore[arg-type]
        signed.append(sign(entry, b"k" * 32))
        previous = digest(signed[-1])
    return Audited(list(examined(signed, [b"k" * 32])), [], 0)


async def previewed(*_: Any, **__: Any) -> list[Preview]:
    body = {
        "type": "segops.audience.entered",
        "data": {"email": "u1@shop.example", "properties": {"name": HOSTILE}},
    }
    return [
        Preview(
            Delivery("crm-hook", "winback-email"),
            "active",
            28,
            [Request("POST", "https://crm.shop.example/hooks/segops", body)],
        )
    ]


async def lifted(*_: Any) -> list[LiftView]:
    sent, held = Arm(318, 0, 2_374, 452), Arm(38, 0, 270, 36)
    arms = tuple(
        ArmView(name, each.entries, each.left_out, each.open, each.matured, each.converted, each.rate)
        for name, each in (("sent", sent), ("held_out", held))
    )
    return [
        LiftView(
            "winback-email",
            "active",
            (),
            {"did": "Order Completed", "within": "7d"},
            604_800_000,
            NOW_MS - 10**9,
            NOW_MS,
            arms,
            lift_of(sent, held),
        )
    ]


def patch(put: Callable[[Any, str, Any], None]) -> None:
    """Replace what is read from Kafka; ``put`` is ``monkeypatch.setattr``."""
    put(dead_letters, "latest", latest)
    put(dead_letters, "find", find)
    put(data, "published_since", violations)
    put(_sources, "pulls", pulled)
    put(_sources, "mapped_topics", mapped)
    put(destinations, "read_entries", read_entries)
    put(destinations, "check", checked)
    put(audiences, "read_audit", audited)
    put(audiences, "preview", previewed)
    put(audiences, "lifts", lifted)
