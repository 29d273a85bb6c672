"""The processors of a worker: opened on assignment, sealed before revocation.

This module does not depend on Faust. ``faust.app`` calls it for assignments, revocations and batches.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from segops.config import Settings
from segops.core.engine import Engine
from segops.kafka.positions import LogPartition
from segops.schemas.records import Record
from segops.schemas.ticks import TICK_HEADERS, wall_tick
from segops.streaming.assignment import AssignmentOpener, CommittedOffsets, Dependencies
from segops.streaming.backfills import BackfillReader, adopt, is_blocked, prepare
from segops.streaming.background import Background
from segops.streaming.durability.checkpoint import Checkpointer
from segops.streaming.durability.standby import Standbys
from segops.streaming.failpoints import STALL
from segops.streaming.kafka_output import Gauges, KafkaOutput, export_counts
from segops.streaming.ownership.sweep import Sweeper
from segops.streaming.partition.backfill.adoption import DraftSet
from segops.streaming.partition.control import ControlProcessor
from segops.streaming.partition.resolve import ResolveProcessor
from segops.streaming.partition.segment import SegmentProcessor
from segops.streaming.share import Share
from segops.streaming.uncommitted import Uncommitted, pause_after, rest_after
from segops.wall_clock import Jumps, wall_ms

log = logging.getLogger(__name__)

_IDLE_S: Final = 0.05
_SEAL_TIMEOUT_S: Final = 25.0
#: Checkpoints before definitions come into force, at most, and the uncommitted work that needs none.
_SETTLING: Final = 3
_LITTLE: Final = 250


class Pipeline:
    """All processors of a worker. ``running`` is True while they may process records."""

    def __init__(self, settings: Settings, engine: Engine, dependencies: Dependencies) -> None:
        self.settings = settings
        self.metrics = dependencies.metrics
        self.engine = engine
        self.draft: DraftSet | None = None
        self.processors: dict[int, SegmentProcessor] = {}
        self.sources: dict[int, ResolveProcessor] = {}
        self.controls: dict[int, ControlProcessor] = {}
        #: Whether control records wait for the events before them.
        self._control_blocked = False
        self.running = False
        self._dependencies = dependencies
        self._opener = AssignmentOpener(settings, dependencies)
        self.channels = self._opener.channels
        self.fence = self._opener.fence
        self._outputs: list[KafkaOutput] = []
        self._standbys = Standbys(
            settings.worker.changelog,
            dependencies.store_manager,
            dependencies.standby_consumer,
            dependencies.metrics,
        )
        self.sweeper = Sweeper(settings, dependencies.changelog_consumer, dependencies.failpoints)
        self.share = Share(settings)
        self.background = Background(self.share, dependencies.failpoints)
        self.backfill_reader = BackfillReader(
            settings, self.share, dependencies.metrics, dependencies.failpoints
        )
        self._jumps = Jumps()
        self._gauges = Gauges(dependencies.metrics)
        #: CPU seconds of each step that the metrics do not include yet.
        self._cpu_s = {"resolve": 0.0, "segment": 0.0}
        self._checkpointer: Checkpointer | None = None
        self._checkpoint_s = 0.0
        self._recovering = asyncio.Lock()
        self._rested = False
        self._wanted = asyncio.Event()
        self._eased = asyncio.Event()

    @property
    def event_clock(self) -> bool:
        """Whether event times instead of the wall clock move time."""
        return self.settings.engine.clock == "event"

    # -- opening and sealing -------------------------------------------------------------------

    async def open(
        self, assigned: Iterable[LogPartition], group: CommittedOffsets, *, standbys: Collection[int] = ()
    ) -> None:
        """Restore the stores of the assigned partitions and create their processors at the committed offsets.

        Then follow the changelogs of ``standbys``, partitions that other workers own.
        """
        async with self._recovering:
            self._dependencies.failpoints.passed("on_assign")
            self._close()
            await self._standbys.stop()
            found = await self._opener.open(assigned, group, self.engine)
            self.processors, self.sources, self.controls = found.processors, found.sources, found.controls
            self._outputs = found.outputs
            self._checkpointer = found.checkpointer
            self.running = True
            self.adopt()
            self._standbys.follow(standbys)

    async def stop(self) -> None:
        """Stop the standbys, which outlive an assignment."""
        await self._standbys.stop()

    def start_offsets(self) -> Mapping[LogPartition, int]:
        """Return the next offset to process in each owned partition."""
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
        """The owned partitions that must make progress if they have records."""
        blocked = self.settings.topics.control if self._control_blocked else None
        return {partition for partition in self.start_offsets() if partition[0] != blocked}

    def pass_to(self, partition: LogPartition, offset: int) -> None:
        """Advance a partition to ``offset``: there are no records between its last record and that offset."""
        topic, number = partition
        processors: Mapping[int, SegmentProcessor | ResolveProcessor] = self.processors
        (self.sources if topic == self.settings.topics.events else processors)[number].offset = offset

    async def seal(self) -> None:
        """Stop processing, take a last checkpoint, close the stores.

        Raises TimeoutError when that takes too long: uncommitted records are then processed again.
        """
        if not self.running or self._checkpointer is None:
            return
        self.running = False
        self._dependencies.failpoints.passed("on_revoke")
        async with asyncio.timeout(_SEAL_TIMEOUT_S):
            await self._checkpointer.run(last=True)
        self.export()
        self._close()
        await self.channels.close()

    def discard(self) -> None:
        """Close the stores, discarding uncommitted changes."""
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

    def resolve(self, number: int, records: Sequence[Record]) -> None:
        """Process a batch of raw events."""
        source = self.sources.get(number)
        if source is not None and self.running:
            began = time.thread_time()
            source.process(records, now_ms=wall_ms())
            self._cpu_s["resolve"] += time.thread_time() - began
            self.background.note_events()
            self.channels.wake()

    async def control(self, number: int, records: Sequence[Record], group: CommittedOffsets) -> None:
        """Process a batch of control records, after all events that the same partition holds now."""
        processor = self.controls.get(number)
        if processor is None:
            return
        self._control_blocked = True
        try:
            await self._wait_for_events(number, processor, group)
        finally:
            self._control_blocked = False
        if self._is_open(number, processor):
            processor.process(records)
            self.channels.wake()

    async def _wait_for_events(
        self, number: int, processor: ControlProcessor, group: CommittedOffsets
    ) -> None:
        events = (self.settings.topics.events, number)
        end = (await group.ends([events]))[events]
        while self._is_open(number, processor) and self.sources[number].offset < end:
            if group.read_to(events, end):  # only transaction markers are left before the end
                return
            await asyncio.sleep(_IDLE_S)

    def _is_open(self, number: int, processor: ControlProcessor) -> bool:
        """Return whether ``processor`` is still the one of its partition, and may process."""
        return self.running and self.controls.get(number) is processor

    def segment(self, number: int, records: Sequence[Record]) -> None:
        """Process a batch of profile events."""
        processor = self.processors.get(number)
        if processor is not None and self.running:
            began, clock_ms = time.thread_time(), processor.clock.now_ms
            processor.process(records)
            self._cpu_s["segment"] += time.thread_time() - began
            self.share.note_latency(wall_ms() - records[-1].timestamp)
            self._dependencies.failpoints.passed("after_batch")
            self._dependencies.failpoints.passed(STALL)
            self.channels.wake()
            if processor.clock.now_ms != clock_ms:
                self.background.wake()
            urgent = self._rested and self.channels.has_waiters
            if urgent or self._uncommitted().needs_checkpoint(self.settings.checkpoint.max_records):
                self._wanted.set()

    def _uncommitted(self) -> Uncommitted:
        return Uncommitted.of(self.processors.values())

    @property
    def _recording(self) -> bool:
        return any(processor.recording for processor in self.processors.values())

    async def wait_for_capacity(self) -> None:
        """Block until uncommitted work is below the limit, definitions are durable, no rows missing."""
        max_records = self.settings.checkpoint.max_records
        while self.running:
            if self._uncommitted().is_too_much(max_records) or self._recording:
                self._wanted.set()
            elif not (self.channels.over_limit or is_blocked(self.processors)):
                return
            self._eased.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_IDLE_S):
                    await self._eased.wait()

    # -- time ----------------------------------------------------------------------------------

    async def tick_wall(self, group: CommittedOffsets) -> None:
        """Append a tick with the current time to every owned partition.

        After an outage time advances with the backlog: otherwise a purchase that still waits in the log would
        count as missing.
        """
        self._note_jump(self._jumps.jumped_ms())
        reached_ms = await self._reached_ms(group)
        if reached_ms is None or self.event_clock:
            return
        now_ms = wall_ms() - self.settings.engine.grace_ms
        value = wall_tick(min(now_ms, reached_ms))
        for number in self.processors:
            partition = (self.settings.topics.profile_events, number)
            self.channels.of(number).append(partition, key=None, value=value, headers=TICK_HEADERS)
        self.channels.wake()

    def _note_jump(self, jump_ms: int) -> None:
        if jump_ms:
            log.error("the wall clock of this machine jumped by %.1f s", jump_ms / 1000)
            self.metrics.clock_jumps.labels("ahead" if jump_ms > 0 else "back").inc()

    async def _reached_ms(self, group: CommittedOffsets) -> int | None:
        """Return the Kafka timestamp (ms) that all owned sources have reached; None while unknown."""
        reached_ms = wall_ms()
        for number, source in list(self.sources.items()):
            at_end = await group.at_end((self.settings.topics.events, number))
            if not self.running or not (at_end or source.forwarded_ms):
                return None
            if not at_end and source.forwarded_ms is not None:
                reached_ms = min(reached_ms, source.forwarded_ms)
        return reached_ms if self.running else None

    async def tick_sources(self, group: CommittedOffsets) -> None:
        """Report the watermarks of the owned sources and of the owned partitions to every partition."""
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
        """Return when the next checkpoint is due.

        It is due late when the last one took long, early when much work is uncommitted, or when profiles of
        other partitions wait for it: then after a pause as long as the last one took, since without one a
        busy worker writes profiles too often.
        """
        interval_s = self.settings.checkpoint_interval_ms / 1000
        pause_s = pause_after(self._checkpoint_s, interval_s, exactly_once=self.settings.exactly_once)
        rest_s = rest_after(self._checkpoint_s, interval_s)
        self._rested = False
        await self._until_wanted(rest_s)
        self._rested = True
        if not self.channels.has_waiters:
            await self._until_wanted(pause_s - rest_s)
        self._wanted.clear()

    async def _until_wanted(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wanted.wait()

    async def checkpoint(self) -> bool:
        """Take a checkpoint; return False when no partitions are open."""
        if not self.running or self._checkpointer is None:
            return False
        durable = await self._checkpointer.run()
        self._checkpoint_s = durable.seconds
        self._eased.set()
        self.metrics.checkpoint_seconds.observe(durable.seconds)
        self.metrics.checkpoint_records.observe(durable.records)
        self._count()
        return True

    async def settle(self) -> None:
        """Take checkpoints until little is uncommitted: records that wait for the next one wait briefly."""
        for _ in range(_SETTLING):
            if self._uncommitted().records > _LITTLE:
                await self.checkpoint()

    async def use(self, engine: Engine) -> None:
        """Evaluate with ``engine`` from now on, in each partition as soon as its history is there.

        Processors pause until a checkpoint has made durable all results of the previous engine, and the
        switch itself, so that no record is processed again with other definitions after a crash. A processor
        that is replaying records of an earlier process finishes the replay first.
        """
        self.engine = engine
        await prepare(self.processors, engine, self.draft)
        await self.settle()
        self.adopt()
        await self.checkpoint()

    def adopt(self) -> None:
        """Let partitions take up the definitions as soon as they can."""
        if self.running:
            adopt(self.processors, self.engine, self.draft)
        if self._recording:
            self._wanted.set()
        self.background.wake()

    def _count(self) -> None:
        sources: list[ResolveProcessor | ControlProcessor] = [*self.sources.values(), *self.controls.values()]
        export_counts(self.processors.values(), sources, self.metrics)
        for step, seconds in self._cpu_s.items():
            self.metrics.step_cpu_seconds.labels(step).inc(seconds)
            self._cpu_s[step] = 0.0
        for output in self._outputs:
            output.export()

    def export(self, group: CommittedOffsets | None = None) -> None:
        """Update the metrics; ``group`` provides the consumer lag."""
        self._count()
        self._gauges.export(self.processors)
        self.metrics.profiles_waiting.set(sum(output.waiting for output in self._outputs))
        if group is not None and self.running:
            offsets = self.start_offsets()
            lags = {partition: group.behind(partition, offset) for partition, offset in offsets.items()}
            self._gauges.export_lag(lags)
