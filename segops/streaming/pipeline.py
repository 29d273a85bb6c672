"""The lanes of a worker and their life: opened on assignment, sealed before they are given away.

Nothing here knows Faust. ``app`` calls it when the group gave or takes partitions and when a batch of
records is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from segops.config import Settings
from segops.core.engine import Engine
from segops.kafka.positions import LogPartition
from segops.schemas.records import Record
from segops.schemas.ticks import TICK_HEADERS, wall_tick
from segops.streaming.assignment import AssignmentOpener, CommittedOffsets, Dependencies
from segops.streaming.durability.checkpoint import Checkpointer
from segops.streaming.durability.standby import Standbys
from segops.streaming.failpoints import STALL
from segops.streaming.kafka_output import Gauges, KafkaOutput, export_counts
from segops.streaming.ownership.sweep import Sweeper
from segops.streaming.partition.control import ControlProcessor
from segops.streaming.partition.resolve import ResolveProcessor
from segops.streaming.partition.segment import SegmentProcessor
from segops.wall_clock import Jumps, wall_ms

log = logging.getLogger(__name__)

#: Profiles whose time has come that are judged between two batches of events, which wait for them.
SLICE: Final = 50
#: Rules that are judged by new definitions in one slice: of a set from before the start all are.
_JUDGEMENTS: Final = 20_000
_IDLE_S: Final = 0.05
_SEAL_TIMEOUT_S: Final = 25.0
#: From the end of a checkpoint to the next one, when profiles of other partitions wait for it.
_REST_S: Final = 0.02


class Pipeline:
    """All lanes of a worker. ``running`` while they may process."""

    def __init__(self, settings: Settings, engine: Engine, parts: Dependencies) -> None:
        self.settings = settings
        self.metrics = parts.metrics
        self.engine = engine
        self.processors: dict[int, SegmentProcessor] = {}
        self.sources: dict[int, ResolveProcessor] = {}
        self.controls: dict[int, ControlProcessor] = {}
        #: Whether requests wait for the events before them, and others behind them.
        self._held_up = False
        self.running = False
        self._parts = parts
        self._opener = AssignmentOpener(settings, parts)
        self.channels = self._opener.channels
        self.pulse = self._opener.pulse
        self._outputs: list[KafkaOutput] = []
        self._standbys = Standbys(
            settings.worker.changelog, parts.disk, parts.standby_consumer, parts.metrics
        )
        self.sweeper = Sweeper(settings, parts.changelog_consumer, parts.crash)
        self._jumps = Jumps()
        self._gauges = Gauges(parts.metrics)
        self._checkpointer: Checkpointer | None = None
        self._recovering = asyncio.Lock()
        self._rested = False
        self._wanted = asyncio.Event()
        self._woken = asyncio.Event()
        self._eased = asyncio.Event()

    @property
    def event_clock(self) -> bool:
        """Whether time moves by events instead of the wall clock."""
        return self.settings.engine.clock == "event"

    # -- opening and sealing -------------------------------------------------------------------

    async def open(
        self, assigned: Iterable[LogPartition], group: CommittedOffsets, *, standbys: Collection[int] = ()
    ) -> None:
        """Restore the stores of these partitions and make their lanes, at what is committed.

        Then keep the stores of ``standbys`` current, which others own.
        """
        async with self._recovering:
            self._parts.crash.passed("on_assign")
            self._close()
            await self._standbys.stop()
            opened = await self._opener.open(assigned, group, self.engine)
            self.processors, self.sources, self.controls = opened.processors, opened.sources, opened.controls
            self._outputs = opened.outputs
            self._checkpointer = opened.checkpointer
            self.running = True
            self._adopt()
            self._standbys.follow(standbys)

    async def stop(self) -> None:
        """Let go of what outlives an assignment."""
        await self._standbys.stop()

    def start_offsets(self) -> Mapping[LogPartition, int]:
        """Where each owned partition goes on."""
        topics = self.settings.topics
        processors = {
            (topics.profile_events, number): processor.offset for number, processor in self.processors.items()
        }
        sources = {(topics.events, number): processor.offset for number, processor in self.sources.items()}
        return (
            processors
            | sources
            | {(topics.control, n): processor.offset for n, processor in self.controls.items()}
        )

    @property
    def expected(self) -> set[LogPartition]:
        """The owned partitions in which records that are there are to be read."""
        idle = self.settings.topics.control if self._held_up else None
        return {place for place in self.start_offsets() if place[0] != idle}

    def pass_to(self, place: LogPartition, offset: int) -> None:
        """There is no record in a partition between what was processed and ``offset``."""
        topic, number = place
        processors: Mapping[int, SegmentProcessor | ResolveProcessor] = self.processors
        processor = (self.sources if topic == self.settings.topics.events else processors)[number]
        processor.offset = offset

    async def seal(self) -> None:
        """Stop processing, make everything durable, let go of the stores.

        Raises TimeoutError when that takes too long: what is uncommitted is then processed again.
        """
        if not self.running or self._checkpointer is None:
            return
        self.running = False
        self._parts.crash.passed("on_revoke")
        async with asyncio.timeout(_SEAL_TIMEOUT_S):
            await self._checkpointer.run(last=True)
        self.export()
        self._close()
        await self.channels.close()

    def let_go(self) -> None:
        """Close the stores as they are: what no checkpoint has made durable is given up."""
        self._close()

    def _close(self) -> None:
        self.running = False
        topics = self.settings.topics
        for number, processor in self.processors.items():
            processor.close()
            self.metrics.forget_partition(number, topics.events, topics.control, topics.profile_events)
        self.processors, self.sources, self.controls, self._outputs = {}, {}, {}, []
        self._checkpointer = None

    # -- records -------------------------------------------------------------------------------

    def resolve(self, number: int, records: list[Record]) -> None:
        """A batch of raw events."""
        source = self.sources.get(number)
        if source is not None and self.running:
            with self._timed("resolve"):
                source.process(records, now_ms=wall_ms())
            self.channels.wake()

    async def control(self, number: int, records: list[Record], group: CommittedOffsets) -> None:
        """A batch of requests, which come behind all events that are in the same partition by now."""
        processor = self.controls.get(number)
        if processor is None:
            return
        self._held_up = True
        try:
            await self._events_before(number, processor, group)
        finally:
            self._held_up = False
        if self._open(number, processor):
            processor.process(records)
            self.channels.wake()

    async def _events_before(self, number: int, processor: ControlProcessor, group: CommittedOffsets) -> None:
        place = (self.settings.topics.events, number)
        end = (await group.ends([place]))[place]
        while self._open(number, processor) and self.sources[number].offset < end:
            if group.read_to(place, end):  # marks of transactions are no records
                return
            await asyncio.sleep(_IDLE_S)

    def _open(self, number: int, processor: ControlProcessor) -> bool:
        """Whether it still is what the partition was opened with, and may process."""
        return self.running and self.controls.get(number) is processor

    def segment(self, number: int, records: list[Record]) -> None:
        """A batch of profile events."""
        processor = self.processors.get(number)
        if processor is not None and self.running:
            with self._timed("segment"):
                processor.process(records)
            self._parts.crash.passed("after_batch")
            self._parts.crash.passed(STALL)
            self.channels.wake()
            self._woken.set()
            hurried = self._rested and self.channels.has_waiters
            if hurried or self._pending() >= self.settings.checkpoint.max_records:
                self._wanted.set()

    @contextlib.contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        began = time.thread_time()
        yield
        self.metrics.step_cpu_seconds.labels(step).inc(time.thread_time() - began)

    def _pending(self) -> int:
        return sum(processor.pending for processor in self.processors.values())

    @property
    def _recording(self) -> bool:
        return any(processor.recording for processor in self.processors.values())

    async def wait_for_capacity(self) -> None:
        """Come back when there is room for more: what is not durable is bounded.

        And when the definitions are durable, by which the next record is judged.
        """
        bound = 2 * self.settings.checkpoint.max_records
        while self.running and (self.channels.over_limit or self._pending() > bound or self._recording):
            self._wanted.set()
            self._eased.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_IDLE_S):
                    await self._eased.wait()

    # -- time ----------------------------------------------------------------------------------

    async def work_timers(self) -> None:
        """Work off what is due, and scans, in slices between the batches; for ever."""
        while True:
            busy = False
            for number in list(self.processors):
                busy |= self._work_slice(number)
                await asyncio.sleep(0)
            await self.wait_for_capacity()
            if not busy:
                await self._nap()

    def _work_slice(self, number: int) -> bool:
        processor = self.processors.get(number)
        if processor is None or not self.running or processor.recording:
            return False
        fired, judged = processor.fire_due(SLICE), processor.rescan(self._evaluated_at_once())
        if fired:
            self._parts.crash.passed("after_timers")
        if fired or judged:
            self.channels.wake()
        busy = fired == SLICE or judged > 0
        if processor.replaying and not busy:
            processor.caught_up()
            self._adopt()
        return busy

    def _evaluated_at_once(self) -> int:
        return max(1, min(SLICE, _JUDGEMENTS // max(1, len(self.engine.segments.segments))))

    async def _nap(self) -> None:
        self._woken.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_IDLE_S):
                await self._woken.wait()

    async def tick_wall(self, group: CommittedOffsets) -> None:
        """Tell every owned partition what time it is.

        After an outage time passes with the backlog: judged ahead of it, a purchase that waits in the log
        would count as one that was never made.
        """
        self._note_jump(self._jumps.jumped_ms())
        reached_ms = await self._reached_ms(group)
        if reached_ms is None or self.event_clock:
            return
        now_ms = wall_ms() - self.settings.engine.grace_ms
        value = wall_tick(min(now_ms, reached_ms))
        for number in self.processors:
            place = (self.settings.topics.profile_events, number)
            self.channels.of(number).append(place, key=None, value=value, headers=TICK_HEADERS)
        self.channels.wake()

    def _note_jump(self, jump_ms: int) -> None:
        if jump_ms:
            log.error("the wall clock of this machine jumped by %.1f s", jump_ms / 1000)
            self.metrics.clock_jumps.labels("ahead" if jump_ms > 0 else "back").inc()

    async def _reached_ms(self, group: CommittedOffsets) -> int | None:
        """Up to when all our sources have been forwarded, by Kafka's timestamps; None while nobody knows."""
        reached_ms = wall_ms()
        for number, source in list(self.sources.items()):
            at_end = await group.at_end((self.settings.topics.events, number))
            if not self.running or not (at_end or source.forwarded_ms):
                return None
            if not at_end and source.forwarded_ms is not None:
                reached_ms = min(reached_ms, source.forwarded_ms)
        return reached_ms if self.running else None

    async def tick_sources(self, group: CommittedOffsets) -> None:
        """Tell every partition how far our sources are, and how far our partitions are by what theirs say."""
        idle_after_ms = self.settings.engine.idle_source_ms
        for number, source in list(self.sources.items()):
            at_end = await group.at_end((self.settings.topics.events, number))
            if not self.running:
                return
            source.tick(now_ms=wall_ms(), at_end=at_end, idle_after_ms=idle_after_ms)
        for number, processor in self.processors.items():
            processor.report_watermark(number)
        self.channels.wake()

    # -- durability ----------------------------------------------------------------------------

    async def checkpoint_due(self) -> None:
        """Come back when it is time for a checkpoint.

        Earlier when there is much to make durable, or when a profile waits for what others cannot see yet.
        """
        interval_s = self.settings.checkpoint_interval_ms / 1000
        rest_s = min(_REST_S, interval_s)
        self._rested = False
        await self._until_wanted(rest_s)
        self._rested = True
        if not self.channels.has_waiters:
            await self._until_wanted(interval_s - rest_s)
        self._wanted.clear()

    async def _until_wanted(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wanted.wait()

    async def checkpoint(self) -> bool:
        """Take a checkpoint; False when there is nothing open."""
        if not self.running or self._checkpointer is None:
            return False
        durable = await self._checkpointer.run()
        self._eased.set()
        self.metrics.checkpoint_seconds.observe(durable.seconds)
        self.metrics.checkpoint_records.observe(durable.records)
        self._count()
        return True

    async def use(self, engine: Engine) -> None:
        """Judge by ``engine`` from now on, in each partition as soon as that can be.

        Lanes pause until a checkpoint has made durable what was judged by the former one, and that this
        one is in force; so a crash repeats nothing under other definitions. Where a lane repeats what a
        former process may have judged, it goes through that first.
        """
        self.engine = engine
        self._adopt()
        await self.checkpoint()

    def _adopt(self) -> None:
        for processor in self.processors.values():
            if self.running and not processor.replaying:
                processor.use(self.engine)
        if self._recording:
            self._wanted.set()
        self._woken.set()

    def _count(self) -> None:
        sources: list[ResolveProcessor | ControlProcessor] = [*self.sources.values(), *self.controls.values()]
        export_counts(self.processors.values(), sources, self.metrics)
        for output in self._outputs:
            output.export()

    def export(self, group: CommittedOffsets | None = None) -> None:
        """Bring the metrics up to date; ``group`` knows how far behind we are."""
        self._count()
        self._gauges.export(self.processors)
        self.metrics.profiles_waiting.set(sum(output.waiting for output in self._outputs))
        if group is not None and self.running:
            offsets = self.start_offsets()
            self._gauges.export_lag({place: group.behind(place, at) for place, at in offsets.items()})
