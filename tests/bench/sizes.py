"""The cost of sizes, trends and population: a partition with them against one without, by turns."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import msgspec

from segops.core.engine import Engine
from segops.schemas.events import route
from segops.schemas.ticks import TICK_HEADERS, wall_tick
from segops.stores.memory import MemoryStores
from segops.streaming.partition.clock import PartitionClock
from segops.streaming.partition.segment import SegmentProcessor
from segops.streaming.partition.sizes import Cut
from segops.streaming.partition.start import Start

from .workload import START_MS, STEP_MS, segments

WALL_MS = 2_000_000_000_000
#: Records of one checkpoint: that of a second, at a thousand events a second.
CHECKPOINT = 1_000


class _Record(msgspec.Struct):
    offset: int
    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]
    timestamp: int = START_MS


def _never(_activity: int | None, _time_ms: int) -> bool:
    return False


class _Nothing:
    """An output, figures and tallies that do nothing."""

    def __getattr__(self, name: str) -> Any:
        return self._ignore

    def _ignore(self, *_: object, **__: object) -> None:
        pass

    def cut(self, *_: object) -> Cut:
        return Cut({}, [])


def measure(events: list[tuple[str, bytes]], rounds: int = 15) -> dict[str, float]:
    """Measure the CPU time of an event, routed and applied, with checkpoints; and the share of the figures.

    The least of many rounds counts: other processes only ever add to it.
    """
    values = [_known(value) for _, value in events[:40_000]]
    records = _records(values)
    taken: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(rounds):
        for with_figures in (True, False):
            taken[with_figures].append(_run(records, with_figures=with_figures) / len(values) * 1e6)
    routing = min(_route(values) for _ in range(rounds)) / len(values) * 1e6
    cost, without = routing + min(taken[True]), routing + min(taken[False])
    return {
        "sizes: route and segment step with checkpoints, µs per event": cost,
        "sizes: share of sizes, trends and population, %": (cost - without) / cost * 100,
    }


def _known(value: bytes) -> bytes:
    """Return an event without its anonymous id: here, a claim of one is never answered."""
    event = msgspec.json.decode(value)
    event.pop("anonymousId", None)
    return msgspec.json.encode(event)


def _route(values: Sequence[bytes]) -> float:
    begin = time.process_time()
    for value in values:
        route(value, now_ms=WALL_MS, default_time_ms=0)
    return time.process_time() - begin


def _records(values: Sequence[bytes]) -> list[_Record]:
    found: list[_Record] = []
    for number, value in enumerate(values):
        if number % CHECKPOINT == 0:
            tick = wall_tick(START_MS + number * STEP_MS)
            found.append(_Record(len(found), None, tick, TICK_HEADERS))
        routed = route(value, now_ms=WALL_MS, default_time_ms=0)
        headers = [("segops-source", b"0:%d" % number), ("segops-time", b"%d" % routed.time_ms)]
        found.append(_Record(len(found), routed.profile_id.encode(), value, headers))
    return found


def _run(records: list[_Record], *, with_figures: bool) -> float:
    with ExitStack() as patches:
        if not with_figures:
            for module in ("schemas.state", "streaming.partition.cached_profile"):
                patches.enter_context(patch(f"segops.{module}.activity_of", lambda _: None))
            patches.enter_context(patch("segops.core.engine.note_day", lambda *_: None))
            patches.enter_context(patch("segops.streaming.partition.applier.is_another_day", _never))
        clock = PartitionClock(sources=1, by_events=False)
        start = Start(0, clock, since_ms=0)
        output: Any = _Nothing()
        processor = SegmentProcessor(
            MemoryStores().open(0), Engine(segments()), start=start, output=output, figures_interval_ms=0
        )
        if not with_figures:
            processor._figures = processor._effects._tallies = _Nothing()  # type: ignore[assignment]
        gc.collect()
        gc.disable()  # as in the core's benchmark
        patches.callback(gc.enable)
        begin = time.process_time()
        for at in range(0, len(records), CHECKPOINT):
            processor.process(records[at : at + CHECKPOINT])
            while processor.fire_due(200):
                pass
            processor.write(processor.snapshot(), None)
        return time.process_time() - begin
