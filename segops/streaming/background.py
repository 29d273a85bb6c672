"""Due timers, rescans, backfills and scans of a worker's partitions, in small slices between batches."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from segops.core.engine import Engine
from segops.streaming.backfills import is_behind
from segops.streaming.durability.channels import ProducerChannels
from segops.streaming.failpoints import Failpoints
from segops.streaming.partition.backfill.adoption import DraftSet
from segops.streaming.partition.segment import SegmentProcessor
from segops.streaming.share import Group, Share

log = logging.getLogger(__name__)

#: Profiles that a rescan or a backfill evaluates between two batches of events, which wait meanwhile.
SLICE: Final = 50
#: Rules that a rescan for new definitions evaluates in one slice.
_RULES_PER_SLICE: Final = 20_000
_IDLE_S: Final = 0.05
#: Without events for so long, all partitions may fold at the same time.
_QUIET_S: Final = 1.0


class Partitions(Protocol):
    """The members used of the pipeline."""

    engine: Engine
    draft: DraftSet | None
    processors: dict[int, SegmentProcessor]
    running: bool
    channels: ProducerChannels

    def adopt(self) -> None: ...
    async def settle(self) -> None: ...
    async def use(self, engine: Engine) -> None: ...
    async def wait_for_capacity(self) -> None: ...


class Background:
    """Works on one partition after another. Rescans and backfills take no more than their share of time."""

    def __init__(self, share: Share, failpoints: Failpoints) -> None:
        self._share = share
        self._failpoints = failpoints
        self._woken = asyncio.Event()
        self._events_at_s = -math.inf

    def note_events(self) -> None:
        """Note that events have arrived."""
        self._events_at_s = time.monotonic()

    def wake(self) -> None:
        """Look for work at once: a clock has moved, or definitions were adopted."""
        self._woken.set()

    async def run(self, pipeline: Partitions, group: Callable[[], Group]) -> None:
        """Work until cancelled."""
        while True:
            busy = False
            for number, processor in list(pipeline.processors.items()):
                if processor.can_switch and self._may_switch(pipeline.processors):
                    log.info("partition %d has its history: the definitions come into force", number)
                    await pipeline.settle()
                if self._work_on(number, pipeline):
                    busy = True
                    await self._share.rest(pipeline.processors, group())
            await pipeline.wait_for_capacity()
            if is_behind(pipeline.processors, pipeline.engine, pipeline.draft):
                await pipeline.use(pipeline.engine)
            if not busy:
                await self._wait_for_work()

    def _work_on(self, number: int, pipeline: Partitions) -> bool:
        """Do the next slice of each kind of work; return whether there is more."""
        processor = pipeline.processors.get(number)
        if processor is None or not pipeline.running or processor.recording:
            return False
        fired = processor.fire_due(processor.timers_at_once)
        rescanned = backfilled = 0
        if processor.adopting:
            with self._share.taken():
                rescanned = processor.rescan(_slice_of(pipeline.engine))
                backfilled = processor.work_backfill(SLICE, may_switch=self._may_switch(pipeline.processors))
        busy = fired == processor.timers_at_once or rescanned > 0 or backfilled > 0
        # Every profile is then as of the clock, and evaluated by the definitions in force.
        idle = not (busy or processor.replaying or processor.backfill.is_blocked)
        scanned = idle and processor.scans.work(number, processor.clock.now_ms)
        self._pass({"after_timers": fired, "during_backfill": backfilled, "during_scan": scanned})
        if fired or rescanned or backfilled or scanned:
            pipeline.channels.wake()
        if processor.replaying and not busy:
            processor.caught_up()
            pipeline.adopt()
        return busy or scanned

    def _may_switch(self, processors: Mapping[int, SegmentProcessor]) -> bool:
        """Return whether definitions may come into force in another partition after a backfill.

        While events arrive, one partition folds after another: events of unfolded profiles are slow.
        """
        quiet = time.monotonic() - self._events_at_s > _QUIET_S
        return quiet or not any(each.folding for each in processors.values())

    def _pass(self, done: Mapping[str, int]) -> None:
        for point, worked in done.items():
            if worked:
                self._failpoints.passed(point)

    async def _wait_for_work(self) -> None:
        self._woken.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_IDLE_S):
                await self._woken.wait()


def _slice_of(engine: Engine) -> int:
    """Return how many profiles a rescan evaluates in one slice."""
    return max(1, min(SLICE, _RULES_PER_SLICE // max(1, len(engine.segments.segments))))
