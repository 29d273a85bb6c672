"""Drawn people and their devices, and their events as the JSON of calls."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from segops.core.events import Event
from segops.core.identifiers import Rules
from segops.core.values import format_instant
from segops.schemas.identifying import IdentityLimits

IDS = (
    {"userId": "u1"},
    {"userId": "u1", "anonymousId": "a1"},
    {"userId": "u1", "anonymousId": "a2"},
    {"userId": "u2"},
    {"userId": "u2", "anonymousId": "a2"},
    {"anonymousId": "a1"},
    {"anonymousId": "a3"},
    {"userId": 7},
    {"userId": "u3", "traits": {"email": "E@x"}},
    {"traits": {"email": "e@x"}, "anonymousId": "a3"},
    {"userId": "u3", "traits": {"email": None}},
    {"userId": "ü4"},
)
_CALLS = ("track", "track", "track", "track", "track", "track", "identify", "page", "screen", "group")


#: Customers with two devices each, one of which two of them share, and a customer with many.
DEVICES: tuple[dict[str, Any], ...] = (
    *({"userId": f"u{n}", "anonymousId": f"a{n}{each}"} for n in range(4) for each in range(2)),
    *({"anonymousId": f"a{n}0"} for n in range(4)),
    {"userId": "u1", "anonymousId": "a00"},
    *({"userId": "u9", "anonymousId": f"b{each}"} for each in range(7)),
)
#: Customers without devices, most of whom do nothing for a while.
MANY: tuple[dict[str, Any], ...] = tuple({"userId": f"p{n}"} for n in range(14))
LIMITS = (
    *[IdentityLimits()] * 5,
    IdentityLimits(rules=Rules(default_limit=1)),
    IdentityLimits(rules=Rules(("user_id", "anonymous_id", "*"))),
    IdentityLimits(rules=Rules(("anonymous_id", "email"))),
)


def event_json(
    event: Event, rng: Random, number: int, known: tuple[dict[str, Any], ...] | None = None
) -> bytes:
    """Write a drawn event as the JSON of a call of a random person (one of ``known``, if given)."""
    call, ids = rng.choice(_CALLS), rng.choice(known or (IDS if rng.random() < 0.3 else IDS[:4]))
    found: dict[str, Any] = {
        "type": call,
        "timestamp": format_instant(event.time_ms + rng.choice((0, 0, number))),
    }
    found |= {"event": event.name} if call == "track" else {"name": event.name}
    found |= {key: value for key, value in ids.items() if key != "traits"}
    if rng.random() < 0.9:
        found["messageId"] = f"{event.message_id}-{number // rng.choice((1, 1, 1, 2))}"
    traits = {**(event.traits or {}), **ids.get("traits", {})}
    on_top = "email" in traits or rng.random() < 0.5
    context = {**(event.context or {}), **({"traits": traits} if traits and not on_top else {})}
    if event.location is not None:
        context["location"] = dict(zip(("latitude", "longitude"), event.location, strict=True))
    found |= {"traits": traits} if traits and on_top else {}
    parts = {"context": context, "properties": event.properties}
    found |= {name: part for name, part in parts.items() if part or rng.random() < 0.2}
    return json.dumps(found, ensure_ascii=rng.random() < 0.5).encode()
