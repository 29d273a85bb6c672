"""The job of all contestants: a shop's events over 45 days, skewed over many profiles; ten segments."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from segops.core.rules.parsing import Context, read_rule
from segops.core.segments import Definition, SegmentSet

from ..workload import MIX, START_MS, event

SPAN_MS = 45 * 86_400_000
#: After the last event, one closing event per partition advances the time: the same timers are due for all.
CLOSING_MS = 3_600_000

SEGMENTS: dict[str, dict[str, Any]] = {
    "high-intent": {
        "all": [
            {"did": "Product Viewed", "count": {"gte": 3}, "within": "48h"},
            {"did_not": "Order Completed", "within": "48h"},
        ]
    },
    "window-shopper": {
        "all": [
            {"did": "Product Viewed", "count": {"gte": 5}, "within": "7d"},
            {"did_not": "Order Completed"},
        ]
    },
    "brand-fan": {"did": "Product Viewed", "where": {"brand": "Acme"}, "count": {"gte": 2}, "within": "7d"},
    "active-browser": {"did": "page", "count": {"gte": 5}, "within": "7d"},
    "cart-abandoned": {
        "all": [
            {"did": "Product Added", "within": "1d"},
            {"did_not": "Order Completed", "within": "1d"},
        ]
    },
    "frequent-buyer": {"did": "Order Completed", "count": {"gte": 2}, "within": "30d"},
    "big-spender": {"sum": "revenue", "of": "Order Completed", "within": "30d", "is": {"gte": 500}},
    "recent-buyer": {"last": "Order Completed", "is": {"newer_than": "7d"}},
    "lapsed": {"last": "Order Completed", "is": {"older_than": "30d"}},
    "premium": {"trait": "plan", "is": {"in": ["gold", "platinum"]}},
}


class Record(NamedTuple):
    """An event as produced."""

    user: str
    partition: int
    at_ms: int
    value: bytes


@dataclass(frozen=True)
class Job:
    """``events`` of at most ``profiles``, derived from ``seed``. Equal jobs yield equal bytes."""

    events: int = 1_000_000
    profiles: int = 100_000
    partitions: int = 4
    seed: int = 7
    #: Every profile has an equal share of the events, instead of Zipf's law.
    even: bool = False

    @property
    def final_ms(self) -> int:
        """The event time of the closing events."""
        return START_MS + SPAN_MS + CLOSING_MS

    def records(self) -> Iterator[Record]:
        """Yield all events in order of time, the closing ones last."""
        rng = random.Random(self.seed)
        names = [name for name, weight in MIX for _ in range(weight)]
        for number in range(self.events):
            user = f"u{number % self.profiles if self.even else skewed(rng, self.profiles)}"
            at_ms = START_MS + number * SPAN_MS // self.events
            made = event(rng, rng.choice(names), user, number, at_ms=at_ms)
            yield Record(user, self.partition(user), at_ms, json.dumps(made).encode())
        for partition in range(self.partitions):
            number, user = self.events + partition, f"closing-{partition}"
            made = event(rng, "page", user, number, at_ms=self.final_ms)
            yield Record(user, partition, self.final_ms, json.dumps(made).encode())

    def partition(self, user: str) -> int:
        """Return the partition of a user's events: all peers read them keyed by user."""
        return zlib.crc32(user.encode()) % self.partitions


def skewed(rng: random.Random, profiles: int) -> int:
    """Draw a profile by Zipf's law (Zipf–Mandelbrot, exponent 1): a tenth has two thirds of the events."""
    return int(profiles * (1001 ** rng.random() - 1) / 1000)


def segments() -> SegmentSet:
    """Return the ten segments."""
    return SegmentSet(definitions(SEGMENTS))


def definitions(forms: dict[str, dict[str, Any]]) -> list[Definition]:
    """Parse rules by key."""
    context = Context("bench")
    return [Definition(key, key, read_rule(form, key, context), written=form) for key, form in forms.items()]
