"""A console whose worker has a few people, one of whom is hostile; and boards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from segops.analytics.sizes import SegmentSizes
from segops.catalogue.views import EventView, FieldView
from segops.core.segments import Definition
from segops.core.views.timeline import TimelineChange, TimelineEntry, TimelineEvent
from segops.schemas.sizes import PopulationFigures, PopulationRecord, encode_published, key_of
from segops.testing import Customer, at
from tests.console.helpers import PROXY, Browser, MemoryAudit, as_user, served
from tests.workers import Found, serving_worker

NOON = at("2026-03-01T12:00Z")
HOUR, DAY = 3_600_000, 86_400_000
ANN = "user_id:ann"
#: What must not be shown to those who may not see personal data.
SECRETS = ("ann@shop.example", "Ann Müller", "+491701234567", "m-secret-1", "Berlin", "79.5", "user_id:ann")
EVIL = "<script>alert(1)</script>\u202e\"'"
_RULES: dict[str, dict[str, Any]] = {
    "buyer": {"did": "Order Completed", "within": "30d"},
    "local": {"trait": "city", "is": {"starts_with": "Ber"}},
    "champions": {"rfm": "new"},
    "idle": {"not": {"did": "Page", "within": "3d"}},
    "evil": {"trait": "nick", "is": {"eq": EVIL}},
}


def ann() -> Customer:
    """Return a customer with an e-mail address, traits, an order, and two visits."""
    found = Customer(NOON - 40 * DAY, **_RULES)
    found.profile.id = ANN
    traits = {"email": "ann@shop.example", "name": "Ann Müller", "phone": "+491701234567", "city": "Berlin"}
    found.send("identify", NOON - 2 * DAY, message_id="m-secret-1", traits=traits)
    found.send("Order Completed", NOON - DAY, message_id="m-secret-2", order_id="o1", revenue=79.5)
    found.send("Page", NOON - HOUR, message_id="m-secret-3")
    found.wait(NOON)
    return found


def evil() -> Customer:
    """Return a customer whose id, traits and values are hostile."""
    found = Customer(NOON - DAY, **_RULES)
    found.profile.id = f"user_id:{EVIL}"
    found.send("identify", NOON - HOUR, traits={EVIL: EVIL, "nick": EVIL, "long": "x" * 2_000})
    found.wait(NOON)
    return found


PEOPLE: Mapping[str, Callable[[], Customer]] = {ANN: ann, f"user_id:{EVIL}": evil}
ENTRIES: dict[str, list[TimelineEntry]] = {
    ANN: [
        TimelineChange(NOON - 9 * DAY, ANN, "idle", 1, "entered", "time", None, None),
        TimelineEvent(NOON - 2 * DAY, ANN, "identify", "m-secret-1", {}),
        TimelineEvent(NOON - DAY, ANN, "Order Completed", "m-secret-2", {"revenue": 79.5, "city": "Berlin"}),
        TimelineChange(NOON - DAY, ANN, "buyer", 1, "entered", "event", "m-secret-2", None),
        TimelineEvent(NOON - HOUR, ANN, "Page", "m-secret-3", {}),
        TimelineChange(NOON - HOUR, ANN, "idle", 1, "exited", "event", "m-secret-3", None),
    ],
    f"user_id:{EVIL}": [TimelineEvent(NOON - HOUR, f"user_id:{EVIL}", EVIL, EVIL, {EVIL: EVIL})],
}


def sizes(partitions: int = 1) -> SegmentSizes:
    """Return the sizes of records as workers publish them."""
    found = SegmentSizes(partitions)
    figures = PopulationFigures(NOON // DAY * DAY, 120, 20, 40, 80, 5, 12, 3, 40)
    for number in range(partitions):
        record = PopulationRecord(number, partitions, 0, NOON, figures)
        found.apply(key_of(record), encode_published(record))
    return found


@dataclass
class FakeBoard:
    """What the read model would have."""

    definitions: Mapping[str, Definition] = field(
        default_factory=lambda: {each.key: each for each in ann().engine.segments.definitions}
    )
    sizes: SegmentSizes = field(default_factory=sizes)
    catalogue: list[EventView] = field(
        default_factory=lambda: [
            EventView(EVIL, [], 1, 1, 1.0, 0, 0, {}, [FieldView(EVIL, 1.0, {"string": 1}, None, None)], 0),
            EventView(
                "Order Completed",
                [],
                9,
                9,
                1.0,
                0,
                0,
                {},
                [FieldView("revenue", 1.0, {"number": 9}, None, None)],
                0,
            ),
        ]
    )
    as_of_ms: int | None = NOON


VIEWER, EDITOR, ADMIN = as_user("viewer", "vic"), as_user("editor", "ed"), as_user("admin", "ada")


def with_people(
    steps: Callable[[Browser], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
    *,
    board: Any = None,
    audit: MemoryAudit | None = None,
    people: Mapping[str, Found] | None = None,
) -> None:
    """Run ``steps`` against a console that asks a worker with these people; users sign in by headers."""

    async def main() -> None:
        known: dict[str, Found] = {key: make() for key, make in PEOPLE.items()}
        known |= {"email:ann@shop.example": ANN, **(people or {})}
        async with serving_worker(known, ENTRIES) as port:
            monkeypatch.setenv("SEGOPS_WEB_PORT", str(port))
            await served(steps, PROXY, board=board or FakeBoard(), audit=audit)

    asyncio.run(main())
