"""One busy profile: the cost of an event when the windows of a rule contain many others."""

from __future__ import annotations

import json
import time
from typing import Any

from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.features import extractor, reducer_of
from segops.core.profile import Profile
from segops.core.rules.parsing import Context, read_rule
from segops.core.segments import Definition, SegmentSet
from segops.core.values import format_instant

from .workload import START_MS

#: Node -> an expensive rule on one busy profile, whose verdict changes late or never. N is the window.
RULES: dict[str, dict[str, Any]] = {
    "count of at least 3": {"did": "Order Completed", "count": {"gte": 3}, "within": "N"},
    "count of at least 300": {"did": "Order Completed", "count": {"gte": 300}, "within": "N"},
    "sum": {"sum": "v", "of": "Order Completed", "within": "N", "is": {"gte": 1}},
    "avg": {"avg": "v", "of": "Order Completed", "within": "N", "is": {"gte": 1}},
    "max": {"max": "falling", "of": "Order Completed", "within": "N", "is": {"gte": 1}},
    "earliest": {"earliest": "v", "of": "Order Completed", "within": "N", "is": {"gte": 1}},
    "distinct": {"distinct": "falling", "of": "Order Completed", "within": "N", "is": {"gte": 3}},
    "count, between": {"did": "Order Completed", "between": {"from": "N", "to": "10s"}},
    "sum, between": {
        "sum": "v",
        "of": "Order Completed",
        "between": {"from": "N", "to": "10s"},
        "is": {"gte": 1},
    },
    "count, dated where": {"did": "Order Completed", "where": {"d": {"in_next": "N"}}, "within": "N"},
    "sum, dated where": {
        "sum": "v",
        "of": "Order Completed",
        "where": {"d": {"in_next": "N"}},
        "is": {"gte": 1},
    },
    "latest, dated where": {
        "latest": "v",
        "of": "Order Completed",
        "where": {"d": {"in_next": "N"}},
        "is": {"gte": 1},
    },
    "last, dated where": {
        "last": "Order Completed",
        "where": {"d": {"in_next": "N"}},
        "is": {"newer_than": "N"},
    },
    "dated where that toggles, and never": {
        "all": [
            {"did": "Order Completed", "where": {"d": {"in_next": "1s"}}, "count": {"gte": 2}, "within": "N"},
            {"did": "Never"},
        ]
    },
    "sequence with a did_not": {
        "sequence": [
            {"did": "Order Completed"},
            {"did": "Order Completed"},
            {"did_not": "Order Completed", "within": "1h"},
        ],
    },
    "sequence with same_as": {
        "sequence": [
            {"did": "Order Completed"},
            {"did": "Order Completed", "where": {"sku": {"same_as": 1}}},
            {"did_not": "Order Completed", "where": {"sku": {"same_as": 2}}, "within": "1h"},
        ],
        "within": "N",
    },
    "rfm": {"rfm": {"frequency": {"gte": 2}}},
}
STEP_MS = 10_000


def measure(sizes: tuple[int, ...] = (100, 1_000, 4_000), repeats: int = 10) -> dict[str, float]:
    """Measure CPU microseconds per event, by the number of events in the window of each rule."""
    return {
        f"busy: {name}, {size:,} events, µs per event": _busy(form, size, repeats)
        for name, form in RULES.items()
        for size in sizes
    }


def _busy(form: dict[str, Any], size: int, repeats: int) -> float:
    window = f"{size * STEP_MS}ms"
    written = json.loads(json.dumps(form).replace('"N"', f'"{window}"'))
    node = read_rule(written, "busy", Context("bench"))
    engine = Engine(SegmentSet([Definition("busy", "busy", node, written=written)]))
    profile = engine.new_profile("user_id:busy")
    made = [_busy_event(number, size) for number in range(size + repeats)]
    _fill(engine, profile, made[:size])
    begin = time.process_time()
    for event in made[size:]:
        engine.on_event(profile, event, clock_ms=0)
    return (time.process_time() - begin) / repeats * 1e6


def _busy_event(number: int, size: int) -> Event:
    at = START_MS + number * STEP_MS
    day = format_instant(at + (number * 7_919 % size) * STEP_MS)
    properties = {"v": 1 + number % 50 / 10, "falling": 10**6 - number, "d": day, "sku": f"s{number % 40}"}
    return Event("Order Completed", at, f"m{number}", properties | {"order_id": f"o{number}", "revenue": 9.5})


def _fill(engine: Engine, profile: Profile, made: list[Event]) -> None:
    """Add the events to the features of the profile without evaluating rules after each."""
    for use in engine.segments.segments[0].referred.features:
        reducer, take = reducer_of(use.feature), extractor(use.feature)
        for event in made:
            value = None if take is None else take(event)
            if event.name in use.feature.names:
                state = reducer.add(profile.features.get(use.feature.id), event.time_ms, value, event.time_ms)
                if state is not None:
                    profile.features[use.feature.id] = state
