"""Scans of stored profiles in one process: forecast, overlap, plan and estimate, without live traffic."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from segops.console.drafts.estimating import NEAR, share_of
from segops.core.engine import Engine
from segops.core.links import timer_of
from segops.core.profile import Profile
from segops.schemas.events import decode, route
from segops.schemas.scans import (
    DONE,
    RUNNING,
    SCAN,
    EstimateRequest,
    ForecastRequest,
    OverlapRequest,
    PlanRequest,
    Question,
    ScanRequest,
    encode_request,
    estimate_request,
)
from segops.schemas.segments import definition_to_record, inline
from segops.schemas.state import encode_profile
from segops.schemas.ticks import TYPE_HEADER
from segops.stores.base import ProfileStore, Write
from segops.stores.rocksdb import RocksDBStores
from segops.streaming.partition.clock import PartitionClock
from segops.streaming.partition.scans import ScanJobs
from segops.streaming.partition.segment import SegmentProcessor
from segops.streaming.partition.start import Start
from segops.testing import RecordingOutput

from .workload import SEGMENTS, segments

WALL_MS = 2_000_000_000_000
_EXPIRES_MS = 1 << 60
_BATCH = 10_000
_DRAFT = {
    "all": [{"in_segment": "brand-fan"}, {"did": "Product Viewed", "count": {"gte": 2}, "within": "7d"}]
}


class _Request(msgspec.Struct):
    value: bytes
    offset: int = 0
    key: None = None
    timestamp: int = 0
    headers: tuple[tuple[str, bytes], ...] = ((TYPE_HEADER, SCAN),)


def _draft(*, share: float = 1.0, funnel: bool = False, near: int = 0) -> EstimateRequest:
    drafts = inline([{"key": "draft", "when": _DRAFT}], "bench", "segments")
    return estimate_request("draft", drafts, share=share, funnel=funnel, near=near)


def _in_console(profiles: int) -> dict[str, Question]:
    """Return what the builder asks about a draft, twice: first, no sample is held in memory."""
    asked = _draft(share=share_of(profiles), funnel=True, near=NEAR)
    return {"estimate in the console": asked, "estimate in the console, again": asked}


def _plan() -> PlanRequest:
    """Return the question for the plan of an edit: thresholds for which profiles have what they need."""
    edited = json.dumps({key: SEGMENTS[key] for key in ("high-intent", "brand-fan", "big-spender")})
    edited = edited.replace('{"gte": 3}', '{"gte": 2}').replace('{"gte": 500}', '{"gte": 400}')
    changed = segments(json.loads(edited.replace('"count": {"gte": 2}', '"count": {"gte": 1}'))).definitions
    records = tuple(msgspec.Raw(definition_to_record(each)) for each in changed)
    return PlanRequest(segments().version, records, samples=3)


QUESTIONS: dict[str, Question] = {
    "forecast": ForecastRequest(),
    "forecast of one segment": ForecastRequest(("high-intent",)),
    "overlap of three segments": OverlapRequest(("brand-fan", "broad-taste", "premium")),
    "plan of three edits": _plan(),
    "estimate": _draft(),
    "estimate with a funnel": _draft(funnel=True),
    "estimate of a sample of 1 %": _draft(share=0.01),
}


def measure(made: list[tuple[str, bytes]], folder: Path, *, profiles: int) -> dict[str, float]:
    """Measure how long each kind of scan of ``profiles`` profiles takes, and its longest share."""
    engine = Engine(segments())
    living = _living(engine, made)
    clock = PartitionClock(sources=1, by_events=False)
    clock.advance(max(profile.latest_ms for profile in living))
    stores = RocksDBStores(folder / "scans", block_cache_bytes=128 << 20, write_buffer_bytes=128 << 20)
    store = stores.open(0)
    try:
        _fill(store, engine, living, clock.now_ms, profiles)
        output = RecordingOutput()
        processor = SegmentProcessor(store, engine, start=Start(0, clock), output=output)
        figures: dict[str, float] = {"scan: profiles in the store": profiles}
        for name, question in (_in_console(profiles) | QUESTIONS).items():
            figures |= _scan(processor.scans, output, name, question, clock_ms=clock.now_ms)
        return figures
    finally:
        store.close()


def _living(engine: Engine, made: list[tuple[str, bytes]]) -> list[Profile]:
    found: dict[str, Profile] = {}
    for user, value in made:
        routed = route(value, now_ms=WALL_MS, default_time_ms=0)
        profile = found.get(user) or found.setdefault(user, engine.new_profile(f"user_id:{user}"))
        event = decode(value, time_ms=routed.time_ms, default_id="-")
        engine.on_event(profile, event, clock_ms=event.time_ms)
    return list(found.values())


def _fill(store: ProfileStore, engine: Engine, living: list[Profile], now_ms: int, count: int) -> None:
    """Store copies of the profiles under ``count`` ids, all as of ``now_ms``."""
    for profile in living:
        engine.on_timer(profile, clock_ms=now_ms)
    copies = _copies(living, count)
    while batch := list(itertools.islice(copies, _BATCH)):
        store.write(batch, {})


def _copies(living: list[Profile], count: int) -> Iterator[Write]:
    for number in range(count):
        profile = living[number % len(living)]
        copy = msgspec.structs.replace(profile, id=f"user_id:{number}")
        yield Write(copy.id, encode_profile(copy), None, timer_of(copy))


def _scan(
    scans: ScanJobs, output: RecordingOutput, name: str, question: Question, *, clock_ms: int
) -> dict[str, float]:
    scans.take(_Request(encode_request(ScanRequest(name, _EXPIRES_MS, question))))
    longest, began, cpu_s = 0.0, time.perf_counter(), time.process_time()
    at = began
    while scans.work(0, clock_ms):
        now = time.perf_counter()
        longest, at = max(longest, now - at), now
    taken = time.perf_counter() - began
    (answer,) = (each for each in output.answers if each.scan == name and each.state != RUNNING)
    assert answer.state == DONE, answer.reason
    return {
        f"scan: {name}, seconds": taken,
        f"scan: {name}, CPU seconds": time.process_time() - cpu_s,
        f"scan: {name}, profiles judged": answer.profiles,
        f"scan: {name}, longest share in ms": longest * 1000,
    }
