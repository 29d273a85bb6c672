"""A shop whose customers order with a known probability: the truth that a model can be held against.

A visit is a number of views, one a minute, some of which go into the cart. When it ends, the customer orders
with a probability that is a logistic function of what the visit held and of the orders of the last 30 days,
at a uniform instant of the following ``DELAY_MS``. The next visit comes at least ``PAUSE_MS`` later. So the
probability that an order follows within 24 hours is known during a visit, from what it held so far and may
still hold, and from an order or an hour after the last view on: then none comes before the next visit.
In the minutes between it is known, too, but depends on them, and no window of an hour does: it is left out.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator
from functools import cache
from math import exp, log1p
from typing import Any

import msgspec

from segops.core.events import Event
from segops.core.training.decisions import Task
from segops.core.values import format_instant

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
BEGIN_MS = 1_760_313_600_000  # a Monday
DELAY_MS, PAUSE_MS = 40 * MINUTE_MS, 26 * HOUR_MS
TASK = Task("convert_24h", ("Order Completed",), DAY_MS)
MOST_VIEWS, GOES_ON, ADDS = 12, 0.75, 0.25


def propensity(views: int, carts: int, orders: int) -> float:
    """Return the probability of an order after a visit."""
    return 1 / (1 + exp(-(-4.2 + 0.9 * log1p(views) + 2.2 * log1p(carts) + 0.7 * log1p(orders))))


@cache
def expected(views: int, carts: int, orders: int) -> float:
    """Return the probability while a visit may still go on."""
    now = propensity(views, carts, orders)
    if views >= MOST_VIEWS:
        return now
    further = ADDS * expected(views + 1, carts + 1, orders) + (1 - ADDS) * expected(views + 1, carts, orders)
    return (1 - GOES_ON) * now + GOES_ON * further


class Visit(msgspec.Struct):
    """A visit: the times of its views, which of them went into the cart, and when an order came, if any."""

    views: list[int]
    carts: list[int]
    orders: int
    order_ms: int | None = None


class Shop:
    """The visits of all customers, drawn from a seed."""

    def __init__(self, *, customers: int, days: int, seed: int = 1) -> None:
        drawn = random.Random(seed)
        end_ms = BEGIN_MS + days * DAY_MS
        self.visits = {f"user_id:u{number}": list(_visits(drawn, end_ms)) for number in range(customers)}

    def events(self) -> list[tuple[str, Event]]:
        """Return all events in order of time, each with its profile."""
        found = [each for profile, visits in self.visits.items() for each in _events(profile, visits)]
        return sorted(found, key=lambda each: (each[1].time_ms, each[1].message_id))

    def lines(self) -> Iterator[bytes]:
        """Yield the events as calls of the Segment spec."""
        for _, event in self.events():
            yield msgspec.json.encode(call_of(event))

    def truth(self, profile: str, at_ms: int) -> float | None:
        """Return the probability that an order follows within 24 hours; None where it is not known."""
        visits = self.visits[profile]
        number = bisect_right(visits, at_ms, key=lambda visit: visit.views[0]) - 1
        visit = visits[number]
        views, carts = (bisect_right(times, at_ms) for times in (visit.views, visit.carts))
        quiet_ms = at_ms - visit.views[-1]
        if quiet_ms > PAUSE_MS - DAY_MS:
            return None
        if quiet_ms >= HOUR_MS or (visit.order_ms is not None and visit.order_ms <= at_ms):
            return 0.0
        return expected(views, carts, visit.orders) if quiet_ms <= 0 else None


def _visits(drawn: random.Random, end_ms: int) -> Iterator[Visit]:
    at_ms, ordered = BEGIN_MS + int(drawn.expovariate(1 / (4 * DAY_MS))), list[int]()
    while at_ms < end_ms:
        visit = Visit([at_ms], [], sum(at_ms - each < 30 * DAY_MS for each in ordered))
        while True:
            if drawn.random() < ADDS:
                visit.carts.append(visit.views[-1])
            if len(visit.views) >= MOST_VIEWS or drawn.random() >= GOES_ON:
                break
            visit.views.append(visit.views[-1] + MINUTE_MS)
        if drawn.random() < propensity(len(visit.views), len(visit.carts), visit.orders):
            visit.order_ms = visit.views[-1] + MINUTE_MS + int(drawn.random() * DELAY_MS)
            ordered.append(visit.order_ms)
        yield visit
        at_ms = visit.views[-1] + PAUSE_MS + int(drawn.expovariate(1 / (4 * DAY_MS)))


def _events(profile: str, visits: list[Visit]) -> Iterator[tuple[str, Event]]:
    user = profile.removeprefix("user_id:")
    for visit in visits:
        for number, at_ms in enumerate(visit.views):
            yield profile, _event("Product Viewed", at_ms, user, price=10 + number)
        for at_ms in visit.carts:
            yield profile, _event("Product Added", at_ms, user, price=20)
        if visit.order_ms is not None:
            yield profile, _event("Order Completed", visit.order_ms, user, revenue=30)


def _event(name: str, at_ms: int, user: str, **properties: Any) -> Event:
    order = {"Product Added": 0, "Product Viewed": 1}.get(name, 2)
    return Event(name, at_ms, f"{user}-{at_ms}-{order}", properties, user_id=user)


def call_of(event: Event) -> dict[str, Any]:
    """Return an event as a call of the Segment spec."""
    return {
        "type": "track",
        "event": event.name,
        "userId": event.user_id,
        "messageId": event.message_id,
        "timestamp": format_instant(event.time_ms),
        "properties": event.properties,
    }
