"""Backfill: collecting and folding past events, beside the evaluation of the same events as they arrive."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

from segops.core.backfill import Collector, fold, install
from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.profile import Profile
from segops.core.segments import SegmentSet
from segops.schemas.events import decode, route
from segops.schemas.rows import decode_row, encode_row

from .workload import segments

WALL_MS = 2_000_000_000_000
ROUNDS = 5


def measure(made: list[tuple[str, bytes]]) -> dict[str, float]:
    """Measure events per CPU second of each part, in the median of five rounds, and bytes per row."""
    values = [value for _, value in made]
    events = [(user, _decoded(value)) for user, value in made]
    rounds: list[dict[str, float]] = []
    for _ in range(ROUNDS):
        gc.collect()
        rounds.append(_round(events))
    found = {name: sorted(each[name] for each in rounds)[ROUNDS // 2] for name in rounds[0]}
    decoding = _cpu_seconds(lambda: [_decoded(value) for value in values])
    live, past = found["live"], found["collect"] + found["fold"]
    return {
        "backfill: collect and encode, events per CPU second": len(made) / found["collect"],
        "backfill: decode, fold and install, events per CPU second": len(made) / found["fold"],
        "backfill: decode events, collect and fold, events per CPU second": len(made) / (decoding + past),
        "backfill: live evaluation against collect and fold": live / past,
        "backfill: the same with the decoding of the events": (decoding + live) / (decoding + past),
        "backfill: bytes per row": found["bytes"] / found["rows"],
        "backfill: rows per event": found["rows"] / len(made),
    }


def _decoded(value: bytes) -> Event:
    routed = route(value, now_ms=WALL_MS, default_time_ms=0)
    return decode(value, time_ms=routed.time_ms, default_id="-")


def _round(events: list[tuple[str, Event]]) -> dict[str, float]:
    engine = Engine(segments())
    features = engine.segments.features
    live: dict[str, Profile] = {}
    stored: dict[str, list[bytes]] = {}
    collector = Collector(features)

    def evaluate() -> None:
        for user, event in events:
            profile = live.get(user) or live.setdefault(user, engine.new_profile(f"user_id:{user}"))
            engine.on_event(profile, event, clock_ms=event.time_ms)

    def collect() -> None:
        for number, (user, event) in enumerate(events):
            row = collector.row(event, arrival_ms=event.time_ms, partition=0, offset=number)
            if row is not None:
                stored.setdefault(user, []).append(encode_row(row))

    def fold_all() -> None:
        for user, found in stored.items():
            profile = without[user]
            rows = map(decode_row, found)
            install(profile, fold(profile, rows, features, now_ms=now_ms), features)

    without = _without_features(events)
    now_ms = events[-1][1].time_ms
    taken = {
        "live": _cpu_seconds(evaluate),
        "collect": _cpu_seconds(collect),
        "fold": _cpu_seconds(fold_all),
    }
    sizes = [len(row) for rows in stored.values() for row in rows]
    return taken | {"rows": len(sizes), "bytes": sum(sizes)}


def _without_features(events: list[tuple[str, Event]]) -> dict[str, Profile]:
    """Return the profiles as they are before the switch."""
    engine = Engine(SegmentSet.EMPTY)
    found: dict[str, Profile] = {}
    for user, event in events:
        profile = found.get(user) or found.setdefault(user, engine.new_profile(f"user_id:{user}"))
        engine.on_event(profile, event, clock_ms=event.time_ms)
    return found


def _cpu_seconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin
