"""Open an assignment: restored stores, and processors at the committed clocks and offsets."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from segops import kernel
from segops.config import Settings
from segops.core.engine import Engine
from segops.core.errors import DefinitionError, SegopsError, StateError
from segops.kafka.native_batches import READER
from segops.kafka.positions import CommittedPosition, LogPartition, Positions
from segops.metrics import Metrics
from segops.schemas.events import route
from segops.schemas.identifying import limits_of
from segops.schemas.in_force import split_in_force
from segops.schemas.owner import Owner
from segops.stores.base import ProfileStore, Write
from segops.streaming.connections import BATCH_BYTES, TRANSACTION_BATCH_BYTES
from segops.streaming.durability.channels import MakeOutputs, ProducerChannels, SharedProducer
from segops.streaming.durability.checkpoint import AtLeastOnce, Checkpointer, ExactlyOnce
from segops.streaming.durability.recovery import Recovery, StoreManager
from segops.streaming.durability.transactions import Transactions
from segops.streaming.failpoints import Failpoints
from segops.streaming.kafka_output import KafkaOutput
from segops.streaming.liveness.fence import LivenessFence, lease_s
from segops.streaming.native_outputs import NativeBatchProducer, NativeKafkaOutput
from segops.streaming.native_route import native_route
from segops.streaming.ownership.fresh_start import FreshStart, Persist
from segops.streaming.ownership.origin import OriginCheck, origin_of
from segops.streaming.partition.backfill.recorded import next_engine
from segops.streaming.partition.cached_profile import slices_of
from segops.streaming.partition.clock import PartitionClock
from segops.streaming.partition.control import ControlProcessor
from segops.streaming.partition.engines import engine_of, packed_of
from segops.streaming.partition.marks import split_mark
from segops.streaming.partition.native_resolve import NativeResolveProcessor
from segops.streaming.partition.native_segment import NativeSegmentProcessor
from segops.streaming.partition.population import take_census
from segops.streaming.partition.resolve import ResolveProcessor, read_watermark
from segops.streaming.partition.segment import SegmentProcessor
from segops.streaming.partition.snapshot import BACKFILL_META, IN_FORCE_META
from segops.streaming.partition.start import Start
from segops.streaming.publishers import BatchProducer, Producer, log_states

log = logging.getLogger(__name__)


class CommittedOffsets(Protocol):
    """The operations of the group's consumer that the pipeline uses."""

    async def committed(
        self, partitions: Iterable[LogPartition]
    ) -> dict[LogPartition, CommittedPosition]: ...
    async def commit_positions(self, positions: Positions) -> None: ...
    async def beginnings(self, partitions: Iterable[LogPartition]) -> dict[LogPartition, int]: ...
    async def ends(self, partitions: Iterable[LogPartition]) -> dict[LogPartition, int]: ...
    async def at_end(self, partition: LogPartition) -> bool: ...
    def read_to(self, partition: LogPartition, end: int) -> bool: ...
    def behind(self, partition: LogPartition, offset: int) -> int | None: ...


@dataclass(frozen=True)
class Dependencies:
    """The resources a pipeline is built from.

    ``producer`` returns the one shared by all partitions; ``transactional_producer`` creates one for a
    partition number, not yet started.
    """

    metrics: Metrics
    store_manager: StoreManager
    changelog_consumer: Callable[..., AIOKafkaConsumer]
    standby_consumer: Callable[..., AIOKafkaConsumer]
    producer: Callable[[], Producer]
    transactional_producer: Callable[[int], AIOKafkaProducer]
    failpoints: Failpoints
    owner: Owner


@dataclass(frozen=True)
class Assignment:
    """The processors, outputs and checkpointer of one assignment."""

    processors: dict[int, SegmentProcessor]
    sources: dict[int, ResolveProcessor]
    controls: dict[int, ControlProcessor]
    outputs: list[KafkaOutput]
    checkpointer: Checkpointer


class AssignmentOpener:
    """Opens assignments; the processors send through ``channels``."""

    def __init__(self, settings: Settings, dependencies: Dependencies) -> None:
        worker = settings.worker
        self._settings = settings
        self._limits = limits_of(settings)
        self._native = kernel.chosen(settings.engine.kernel)
        READER.use(self._native)
        self._dependencies = dependencies
        self._origin_check = OriginCheck(
            settings, dependencies.owner, dependencies.changelog_consumer, self._lost
        )
        self._fresh_start = FreshStart(
            settings,
            self._origin_check,
            dependencies.store_manager,
            dependencies.changelog_consumer,
            dependencies.failpoints,
        )
        self.channels: ProducerChannels
        if settings.exactly_once:
            self.channels = self._transactions = Transactions(
                dependencies.transactional_producer,
                app_id=worker.app_id,
                failpoints=dependencies.failpoints,
                make=self._make_outputs,
            )
            self.fence = LivenessFence(math.inf)  # Kafka fences stale producers itself
        else:
            self.channels = self._shared = SharedProducer(dependencies.producer, self._make_outputs)
            self.fence = LivenessFence(lease_s(worker))

    @property
    def _make_outputs(self) -> MakeOutputs:
        if self._native is None:
            return BatchProducer
        once = self._settings.exactly_once
        limit = TRANSACTION_BATCH_BYTES if once else BATCH_BYTES
        return partial(NativeBatchProducer, native=self._native, limit=limit, transactional=once)

    def _output(self, topic: str, number: int) -> KafkaOutput:
        make = KafkaOutput if self._native is None else NativeKafkaOutput
        return make((topic, number), self.channels.of(number), self._settings, self._dependencies.metrics)

    def _processor_type(self, partitions: int) -> Callable[..., SegmentProcessor]:
        if self._native is None:
            return SegmentProcessor
        cache_bytes = self._settings.state.cache_bytes // max(1, partitions)
        return partial(NativeSegmentProcessor, native=self._native, cache_bytes=cache_bytes)

    @property
    def _source_type(self) -> Callable[..., ResolveProcessor]:
        if self._native is None:
            return partial(ResolveProcessor, route=partial(route, limits=self._limits))
        native_of = partial(NativeResolveProcessor, native=self._native)
        return partial(native_of, route=native_route(self._native, self._limits))

    @property
    def _by_events(self) -> bool:
        return self._settings.engine.clock == "event"

    async def open(
        self, assigned: Iterable[LogPartition], group: CommittedOffsets, engine: Engine
    ) -> Assignment:
        """Open the assigned partitions at the offsets that the group committed.

        Raises SegopsError when the inputs have different partition numbers: one worker must own a number in
        all of them.
        """
        topics = self._settings.topics
        inputs = (topics.events, topics.control, topics.profile_events)
        partitions = [partition for partition in assigned if partition[0] in inputs]
        numbers = _numbers(partitions, inputs)
        # First fence the former owners and end their transactions. Only then are the logs and the committed
        # offsets final, and the changelog readable to its end, past any open transaction. Read the offsets
        # last: after a transaction ends, the broker may expose its offsets later than its records.
        await self.channels.open(numbers)
        stores = await self._restore(numbers)
        try:
            fresh = await self._start_fresh(stores, group)
            opened_at = await self._origin_check.starts(partitions, stores, group, fresh)
            starts = opened_at.positions
            ends = await group.ends([(topics.profile_events, number) for number in numbers])
            for store in stores.values():  # compile outside the event loop; the result is cached
                await asyncio.to_thread(_recorded, store.meta(IN_FORCE_META), engine)
                await asyncio.to_thread(take_census, store)
                await asyncio.to_thread(next_engine, store.meta(BACKFILL_META))
        except BaseException:  # including a rebalance: the next assignment opens the stores again
            for store in stores.values():
                store.close()
            raise
        topic, state = self._settings.topics.profile_events, self._settings.state
        outputs = {number: self._output(topic, number) for number in numbers}
        profiles = state.cache_profiles // max(1, len(numbers))
        processors, make = {}, self._processor_type(len(numbers))
        for number in numbers:
            partition, store = (topics.profile_events, number), stores[number]
            begin = self._begin(store, number, starts[partition])
            chosen, start = _start(store, engine, begin, ends[partition])
            processors[number] = make(
                store,
                chosen,
                start=start,
                output=outputs[number],
                limits=self._limits,
                cache_profiles=profiles,
                max_state_bytes=state.max_state_bytes,
                max_quarantined=state.max_quarantined,
                figures_interval_ms=self._settings.checkpoint.figures_interval_ms,
                history_ms=self._settings.history_ms,
            )
        sources = {n: self._source(n, starts[topics.events, n]) for n in numbers}
        controls = {n: self._control(n, starts[topics.control, n]) for n in numbers}
        checkpointer = self._checkpointer(group, processors=processors, sources=sources, controls=controls)
        checkpointer.committed(opened_at.committed)
        return Assignment(processors, sources, controls, list(outputs.values()), checkpointer)

    async def _start_fresh(self, stores: dict[int, ProfileStore], group: CommittedOffsets) -> Positions:
        """Reset the partitions for which a fresh start was decided; return their new positions."""
        positions: dict[LogPartition, CommittedPosition] = {}
        for number, store in stores.items():
            if self._origin_check.is_stale(store):
                fresh = await self._fresh_start.reset(number, store, group, self._persist(group))
                stores[number] = fresh.store
                positions.update(fresh.positions)
        return positions

    def _persist(self, group: CommittedOffsets) -> Persist:
        """Return a function that makes writes and positions durable before there is a checkpointer."""

        async def persist(number: int, writes: Sequence[Write], positions: Positions) -> int | None:
            changelog = (self._settings.worker.changelog, number)
            if self._settings.exactly_once:
                return await self._transactions.owned[number].commit(changelog, slices_of(writes), positions)
            self.fence.check()
            if positions:
                await group.commit_positions(positions)
            outputs = self._make_outputs(self._dependencies.producer)
            await log_states(outputs, changelog, slices_of(writes))
            await outputs.settle()
            return outputs.acknowledged.get(changelog)

        return persist

    def _lost(self, topic: str, records: int) -> None:
        self._dependencies.metrics.records_lost.labels(topic).inc(records)

    async def _restore(self, partitions: list[int]) -> dict[int, ProfileStore]:
        dependencies, gauge = self._dependencies, self._dependencies.metrics.partitions_recovering
        recovery = Recovery(
            self._settings.worker.changelog,
            dependencies.store_manager,
            dependencies.changelog_consumer,
            failpoints=dependencies.failpoints,
            restored=dependencies.metrics.recovery_records.inc,
        )
        gauge.set(len(partitions))
        try:
            return await recovery.run(partitions)
        finally:
            gauge.set(0)

    def _begin(self, store: ProfileStore, number: int, position: CommittedPosition) -> Start:
        metadata, mark = split_mark(position.metadata)
        origin = origin_of(store)
        return Start(
            position.offset,
            self._clock(number, metadata),
            origin=origin or self._origin_check.new_origin(),
            adopted=origin is None,
            mark=mark or (None if origin is None else origin.mark),
            number=number,
            partitions=self._settings.topics.partitions,
        )

    def _clock(self, number: int, metadata: str) -> PartitionClock:
        partitions = self._settings.topics.partitions
        processors = partitions if self._by_events else 0
        clock = PartitionClock(sources=partitions, processors=processors, by_events=self._by_events)
        if not clock.load(metadata) and metadata:
            log.warning("the clock of partition %d was lost and restarts", number)
        return clock

    def _source(self, number: int, start: CommittedPosition) -> ResolveProcessor:
        metadata, mark = split_mark(start.metadata)
        watermark_ms = read_watermark(metadata)
        output = self._output(self._settings.topics.events, number)
        return self._source_type(
            number,
            output=output,
            event_clock=self._by_events,
            offset=start.offset,
            watermark_ms=watermark_ms,
            mark=mark,
        )

    def _control(self, number: int, start: CommittedPosition) -> ControlProcessor:
        output = self._output(self._settings.topics.control, number)
        _, mark = split_mark(start.metadata)
        return ControlProcessor(output, offset=start.offset, mark=mark)

    def _checkpointer(
        self,
        group: CommittedOffsets,
        *,
        processors: dict[int, SegmentProcessor],
        sources: dict[int, ResolveProcessor],
        controls: dict[int, ControlProcessor],
    ) -> Checkpointer:
        topics, changelog_topic = self._settings.topics, self._settings.worker.changelog
        if self._settings.exactly_once:
            return ExactlyOnce(
                topics,
                changelog_topic,
                processors=processors,
                sources=sources,
                controls=controls,
                failpoints=self._dependencies.failpoints,
                transactions=self._transactions.owned,
            )
        return AtLeastOnce(
            topics,
            changelog_topic,
            processors=processors,
            sources=sources,
            controls=controls,
            failpoints=self._dependencies.failpoints,
            outputs=self._shared.outputs,
            changelog=self._make_outputs(self._dependencies.producer),
            commit=group.commit_positions,
            fence=self.fence.check,
        )


def _start(store: ProfileStore, newest: Engine, start: Start, end: int) -> tuple[Engine, Start]:
    """Return the engine and the start: the recorded engine replays up to ``end``, the furthest position."""
    recorded = recorded_engine(store, newest)
    if recorded is None:
        return newest, start
    engine, since_ms = recorded
    chosen = newest if engine.version == newest.version else engine
    return chosen, replace(start, since_ms=since_ms, replay_until=end)


def recorded_engine(store: ProfileStore, newest: Engine | None = None) -> tuple[Engine, int] | None:
    """Return a partition's active definitions and the time (ms) since they are active; None if unknown."""
    return _recorded(store.meta(IN_FORCE_META), newest)


def _recorded(data: bytes | None, newest: Engine | None) -> tuple[Engine, int] | None:
    if not data:
        return None
    try:
        since_ms, packed = split_in_force(data)
        if newest is not None and packed == packed_of(newest.segments):
            return newest, since_ms
        return engine_of(packed), since_ms
    except (StateError, DefinitionError) as error:
        log.error("continuing with the newest definitions: %s", error)
        return None


def _numbers(partitions: list[LogPartition], inputs: Iterable[str]) -> list[int]:
    first, *others = ({number for topic, number in partitions if topic == each} for each in inputs)
    if any(other != first for other in others):
        raise SegopsError(f"the assigned partitions are not co-partitioned: {sorted(partitions)}")
    return sorted(first)
