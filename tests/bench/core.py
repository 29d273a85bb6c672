"""The core alone: decode, apply and evaluate, in one process and without Kafka."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.identifiers import all_of
from segops.core.identity.protocol import Identity
from segops.core.links import own
from segops.core.profile import Profile
from segops.core.segments import SegmentSet
from segops.schemas.events import decode, route
from segops.schemas.state import decode_profile, encode_profile

from .workload import generated, segments

WALL_MS = 2_000_000_000_000


def measure(events: list[tuple[str, bytes]]) -> dict[str, float]:
    """Measure events per CPU second of each part, bytes per profile, and changes per event."""
    values = [value for _, value in events]
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        return _measure(values)
    finally:
        gc.enable()
        gc.unfreeze()


def _measure(values: list[bytes]) -> dict[str, float]:
    count = len(values)
    engine = Engine(segments())
    identity = Identity(engine)
    profiles: dict[str, Profile] = {}
    routing = _cpu_seconds(lambda: [route(v, now_ms=WALL_MS, default_time_ms=0) for v in values])
    decoding = _cpu_seconds(lambda: [decode(v, time_ms=0, default_id="-") for v in values])
    changes = 0

    def run() -> None:
        nonlocal changes
        for value in values:
            routed = route(value, now_ms=WALL_MS, default_time_ms=0)
            profile = profiles.get(routed.profile_id)
            if profile is None:
                profile = profiles[routed.profile_id] = engine.new_profile(routed.profile_id)
            event = decode(value, time_ms=routed.time_ms, default_id="-")
            if not identity.knows(profile, event):
                _answer(profile, event)
            changes += len(engine.on_event(profile, event, clock_ms=0).changes)

    whole = _cpu_seconds(run)
    stored: list[bytes] = []
    encoding = _cpu_seconds(lambda: stored.extend(map(encode_profile, profiles.values())))
    reading = _cpu_seconds(lambda: [decode_profile(data) for data in stored])
    return {
        "core: route, events per CPU second": count / routing,
        "core: decode, events per CPU second": count / decoding,
        "core: route + decode + evaluate, events per CPU second": count / whole,
        "core: evaluate alone, events per CPU second": count / max(whole - routing - decoding, 1e-9),
        "core: changes per event": changes / count,
        "state: bytes per profile": sum(map(len, stored)) / len(stored),
        "state: encode, profiles per CPU second": len(stored) / encoding,
        "state: decode, profiles per CPU second": len(stored) / reading,
    }


def _answer(profile: Profile, event: Event) -> None:
    """Let the profile own every identifier of the event, as if all its claims had been answered."""
    for identifier in all_of(event):
        own(profile, identifier)


def many_segments(events: list[tuple[str, bytes]]) -> dict[str, float]:
    """Measure the cost of more segments, of which an event concerns at most ten: medians of five runs."""
    decoded = []
    for user, value in events[:60_000]:
        routed = route(value, now_ms=WALL_MS, default_time_ms=0)
        decoded.append((user, decode(value, time_ms=routed.time_ms, default_id="-")))
    sets = {count: generated(count) for count in (10, 100, 1_000, 10_000)}
    runs: dict[int, list[float]] = {count: [] for count in sets}
    for _ in range(5):
        for count, segments_of in sets.items():
            runs[count].append(_evaluation_seconds(segments_of, decoded))
    cost = {count: sorted(taken)[2] for count, taken in runs.items()}
    figures = {"core: evaluate with 10 generated segments, events per CPU second": len(decoded) / cost[10]}
    return figures | {
        f"core: cost with {count:,} against 10": cost[count] / cost[10] for count in (100, 1_000, 10_000)
    }


def _evaluation_seconds(segments_of: SegmentSet, decoded: list[tuple[str, Event]]) -> float:
    engine = Engine(segments_of)
    profiles: dict[str, Profile] = {}

    def run() -> None:
        for user, event in decoded:
            profile = profiles.get(user) or profiles.setdefault(user, engine.new_profile(user))
            engine.on_event(profile, event, clock_ms=0)

    return _cpu_seconds(run)


def _cpu_seconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin
