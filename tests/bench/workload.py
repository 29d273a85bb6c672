"""The benchmark workload: a shop's events of realistic size, skewed over many profiles; ten segments."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Mapping
from typing import Any

from segops.core.rules.parsing import Context, read_rule
from segops.core.segments import Definition, SegmentSet
from segops.core.values import format_instant

START_MS = 1_760_000_000_000
#: Time between two events: half a million events cover about six days.
STEP_MS = 1_000

MIX = (
    ("page", 30),
    ("Product Viewed", 35),
    ("Product List Viewed", 10),
    ("Product Added", 10),
    ("Cart Viewed", 5),
    ("Checkout Started", 4),
    ("Order Completed", 4),
    ("identify", 2),
)

SEGMENTS: dict[str, dict[str, Any]] = {
    "high-intent": {
        "all": [
            {"did": "Product Viewed", "count": {"gte": 3}, "within": "48h"},
            {"did_not": "Order Completed", "within": "48h"},
        ]
    },
    "at-risk": {"last": "Order Completed", "is": {"older_than": "3d"}},
    "big-spender": {"sum": "revenue", "of": "Order Completed", "within": "30d", "is": {"gte": 500}},
    "window-shopper": {
        "all": [
            {"did": "Product Viewed", "count": {"gte": 10}, "within": "7d"},
            {"did_not": "Order Completed"},
        ]
    },
    "cart-abandoned": {
        "all": [
            {"did": "Product Added", "within": "1d"},
            {"did_not": "Order Completed", "within": "1d"},
            {"did_not": "Product Added", "within": "10m"},
        ]
    },
    "brand-fan": {"did": "Product Viewed", "where": {"brand": "Acme"}, "count": {"gte": 2}, "within": "7d"},
    "premium": {"trait": "plan", "is": {"in": ["gold", "platinum"]}},
    "broad-taste": {"distinct": "category", "of": "Product Viewed", "within": "7d", "is": {"gte": 4}},
    "slowing": {"all": [{"did": "Product Viewed", "count": {"lte": 2}, "within": "2d"}, {"known_for": "3d"}]},
    "checkout-no-order": {
        "all": [{"did": "Checkout Started", "within": "6h"}, {"did_not": "Order Completed", "within": "6h"}]
    },
}


def segments(forms: Mapping[str, dict[str, Any]] = SEGMENTS) -> SegmentSet:
    """Return the ten segments, or those of other forms."""
    definitions = []
    for key, form in forms.items():
        node = read_rule(form, key, Context("bench"))
        definitions.append(Definition(key, key, node, written=form))
    return SegmentSet(definitions)


def events(count: int, profiles: int, seed: int = 7) -> list[tuple[str, bytes]]:
    """Return ``(user id, JSON event of 600 to 1,000 bytes)`` by time; a few profiles are very busy."""
    rng = random.Random(seed)
    names = [name for name, weight in MIX for _ in range(weight)]
    made = []
    for number in range(count):
        user = f"u{int(profiles * rng.random() ** 2)}"
        at_ms = START_MS + number * STEP_MS
        made.append((user, json.dumps(event(rng, rng.choice(names), user, number, at_ms=at_ms)).encode()))
    return made


def device(user: str, number: int) -> str:
    """Return the anonymous id of a user on one device."""
    return f"{zlib.crc32(f'{user}/{number}'.encode()):016x}-a"


def event(rng: random.Random, name: str, user: str, number: int, *, at_ms: int) -> dict[str, Any]:
    """Return the ``number``-th event of the shop, in Segment's format."""
    at = format_instant(at_ms)
    made: dict[str, Any] = {
        "type": name if name in ("page", "identify") else "track",
        "messageId": f"ajs-next-{number:016x}-{rng.getrandbits(64):016x}",
        "userId": user,
        "anonymousId": device(user, rng.randrange(2)),
        "timestamp": at,
        "sentAt": at,
        "context": {
            "library": {"name": "analytics.js", "version": "2.1.0"},
            "locale": "en-US",
            "timezone": "Europe/Paris",
            "ip": "203.0.113.7",
            "userAgent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1 Safari/605.1",
            "page": {
                "path": f"/p/{rng.randrange(5000)}",
                "title": "A fine product",
                "url": "https://shop.example/p",
            },
            "campaign": {"name": "spring", "source": "newsletter", "medium": "email"},
        },
    }
    if name == "identify":
        made["traits"] = {"plan": rng.choice(["free", "silver", "gold", "platinum"]), "city": "Oslo"}
    elif name == "page":
        made["properties"] = {"path": "/", "referrer": "https://search.example/", "title": "Home"}
    else:
        made["event"] = name
        made["properties"] = {
            "product_id": f"p{rng.randrange(5000)}",
            "sku": f"SKU-{rng.randrange(5000)}",
            "category": f"c{rng.randrange(12)}",
            "brand": rng.choice(["Acme", "Globex", "Initech", "Umbrella"]),
            "price": rng.randrange(100, 20_000) / 100,
            "quantity": rng.randrange(1, 4),
            "currency": "USD",
        }
    if name == "Order Completed":
        made["properties"]["order_id"] = f"o{number}"
        made["properties"]["revenue"] = rng.randrange(1000, 30_000) / 100
    return made


def generated(count: int) -> SegmentSet:
    """Return ``count`` segments over 50 event names; an event of the workload concerns at most ten."""
    names = ("Product Viewed", *(f"Event {number}" for number in range(49)))
    definitions = []
    for number in range(count):
        name = names[0] if number < 10 else names[1 + number % 49]
        form = {
            "all": [
                {"did": name, "count": {"gte": 1 + number % 5}, "within": f"{1 + number % 7}d"},
                {"did_not": "Never Seen", "within": "48h"},
            ]
        }
        node = read_rule(form, "generated", Context("bench"))
        definitions.append(Definition(f"g{number}", f"g{number}", node, written=form))
    return SegmentSet(definitions)
