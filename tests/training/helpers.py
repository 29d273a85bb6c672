"""Observers of small streams."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from segops.core.events import Event
from segops.core.training.decisions import Decision, Task
from segops.core.training.inputs import Inputs
from segops.training.features import Features, read_features
from segops.training.observer import Observer

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
SMALL = read_features(
    {
        "features": [
            {"name": "views_24h", "figure": {"did": "View", "within": "24h"}, "transform": "log1p"},
            {"name": "views", "figure": {"did": "View"}},
            {"name": "since", "figure": {"days_since_last": "any_event"}, "transform": "days_log1p"},
            {"name": "price", "figure": {"latest": "price", "of": "View"}, "missing": -1.0},
            {"name": "plan", "figure": {"trait": "plan"}, "transform": "present"},
        ]
    },
    "small",
)
TASK = Task("convert_24h", ("Buy",), DAY_MS)


def observer(
    *,
    features: Features = SMALL,
    tasks: Iterable[Task] = (TASK,),
    profiles: int = 1_000,
    decisions: int = 100_000,
) -> Observer:
    """Return an observer that has seen nothing."""
    return Observer(
        tasks,
        Inputs(features.inputs),
        most_profiles=profiles,
        most_decisions=decisions,
        wall_ms=4_000_000_000_000,
    )


def event(name: str, time_ms: int, number: int, user: str = "u", **properties: Any) -> Event:
    return Event(name, time_ms, f"m{number}", properties, user_id=user)


def observed(events: Iterable[tuple[str, Event]], until_ms: int | None = None, **options: Any) -> Observer:
    """Return an observer that has seen events, and the time up to an instant."""
    found = observer(**options)
    for profile, each in events:
        found.event(profile, each)
    if until_ms is not None:
        found.replay.clock_ms = max(until_ms, found.clock_ms)
    found.finish()
    return found


def known(found: Observer) -> list[Decision]:
    return list(found.decisions[0].known)
