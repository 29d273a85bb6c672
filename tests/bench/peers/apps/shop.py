"""The ten segments, handwritten as for any of the Python frameworks.

A profile is a plain dict, which every framework stores in its own way. It holds only what the rules need:
"at least 5 in 7 days" needs the times of the latest 5. ``evaluate`` is called for each event; ``next_edge``
serves the frameworks with timers.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

HOUR = 3_600_000
DAY = 24 * HOUR

#: The age of an event that has not happened.
NEVER = float("inf")

Profile = dict[str, Any]


def new_profile() -> Profile:
    """Return a profile without events and memberships."""
    return {
        "views": [],  # times of the latest 5 Product Viewed
        "acme": [],  # times of the latest 2 Product Viewed of the brand Acme
        "pages": [],  # times of the latest 5 pages
        "orders": [],  # [time, revenue in cents] of the orders of 30 days
        "added": None,  # time of the latest Product Added
        "ordered": None,  # time of the latest order
        "plan": None,
        "member_of": [],
    }


def instant_ms(text: str) -> int:
    """Return an ISO 8601 time in milliseconds since 1970."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def apply(profile: Profile, event: dict[str, Any], at: int) -> None:
    """Apply an event to the profile."""
    if event["type"] == "identify":
        profile["plan"] = event["traits"].get("plan", profile["plan"])
    elif event["type"] == "page":
        profile["pages"] = [*profile["pages"][-4:], at]
    elif event["type"] == "track":
        _track(profile, event["event"], event["properties"], at)


def _track(profile: Profile, name: str, properties: dict[str, Any], at: int) -> None:
    if name == "Product Viewed":
        profile["views"] = [*profile["views"][-4:], at]
        if properties.get("brand") == "Acme":
            profile["acme"] = [*profile["acme"][-1:], at]
    elif name == "Product Added":
        profile["added"] = at
    elif name == "Order Completed":
        profile["ordered"] = at
        profile["orders"].append([at, round(properties["revenue"] * 100)])


def evaluate(profile: Profile, at: int) -> Iterator[tuple[str, str]]:
    """Bring the memberships up to date to ``at`` and yield their changes."""
    profile["orders"] = [order for order in profile["orders"] if at - 30 * DAY < order[0]]
    before, now = profile["member_of"], members(profile, at)
    if now != before:
        profile["member_of"] = now
        yield from ((segment, "entered") for segment in now if segment not in before)
        yield from ((segment, "exited") for segment in before if segment not in now)


def members(profile: Profile, at: int) -> list[str]:
    """Return the segments whose rules hold at an instant."""
    views, orders, added = profile["views"], profile["orders"], profile["added"]
    since_added = at - added if added is not None else NEVER
    since = at - profile["ordered"] if profile["ordered"] is not None else NEVER
    holds = {
        "high-intent": _times(views, 3, 2 * DAY, at) and since >= 2 * DAY,
        "window-shopper": _times(views, 5, 7 * DAY, at) and since is NEVER,
        "brand-fan": _times(profile["acme"], 2, 7 * DAY, at),
        "active-browser": _times(profile["pages"], 5, 7 * DAY, at),
        "cart-abandoned": since_added < DAY <= since,
        "frequent-buyer": len(orders) >= 2,
        "big-spender": sum(cents for _, cents in orders) >= 50_000,
        "recent-buyer": since < 7 * DAY,
        "lapsed": since is not NEVER and since >= 30 * DAY,
        "premium": profile["plan"] in ("gold", "platinum"),
    }
    return [segment for segment, member in holds.items() if member]


def _times(times: list[int], least: int, window: int, at: int) -> bool:
    return len(times) >= least and at - times[-least] < window


def next_edge(profile: Profile, at: int) -> int | None:
    """Return the next instant after ``at`` at which time alone may change a membership."""
    ordered, added, orders = profile["ordered"], profile["added"], profile["orders"]
    edges = [
        times[-least] + window
        for times, least, window in (
            (profile["views"], 3, 2 * DAY),
            (profile["views"], 5, 7 * DAY),
            (profile["acme"], 2, 7 * DAY),
            (profile["pages"], 5, 7 * DAY),
        )
        if len(times) >= least
    ]
    if added is not None:
        edges.append(added + DAY)
    if ordered is not None:
        edges += (ordered + DAY, ordered + 2 * DAY, ordered + 7 * DAY, ordered + 30 * DAY)
    edges += (time + 30 * DAY for time, _ in orders)
    return min((edge for edge in edges if edge > at), default=None)
