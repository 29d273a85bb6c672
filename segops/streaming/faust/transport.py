"""Faust's transport for batches: one Faust event carries many records of one partition.

Faust's own path costs about 100 µs per event (tasks, queues, acks), which is negligible once per batch of
hundreds of records. Differences from Faust's aiokafka driver:

- the aiokafka consumer runs in the main event loop, not in its own thread (``consumer``);
- back-pressure limits the records in flight per topic (``intake``);
- every commit is a checkpoint (``durability.checkpoint``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Final, cast

import aiokafka
from aiokafka import AIOKafkaProducer
from aiokafka.errors import ConsumerStoppedError, NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers.aiokafka import Producer, Transport
from faust.types import TP, ConsumerMessage
from mode import Service, ServiceT

from segops.core.errors import SegopsError
from segops.kafka.batches import arrival, drain
from segops.kafka.positions import CommittedPosition, LogPartition, Positions
from segops.schemas.records import Record
from segops.streaming.faust.consumer import LoopConsumer
from segops.streaming.faust.intake import Intake

_POLL_S: Final = 0.2


class Batch:
    """Records of one partition in log order; the value of a Faust event."""

    __slots__ = ("epoch", "partition", "records", "topic")

    def __init__(self, topic: str, partition: int, records: Sequence[Record], epoch: int) -> None:
        self.topic = topic
        self.partition = partition
        self.records = records
        self.epoch = epoch


class BatchConsumer(LoopConsumer):
    """The group's consumer: fetches batches, hands them to agents, commits by checkpoint."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.epoch = 0
        self._sought_epoch = -1
        self._intake = Intake()
        self._capacity: asyncio.Future[None] | None = None

    # -- fetching ------------------------------------------------------------------------------

    async def _drain_messages(self, fetcher: ServiceT) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                if not self.flow_active:
                    await self.wait(cast("Any", self.can_resume_flow))
                    continue
                self._take()
                if not await self._deliver():
                    await self._wait_for_work()
        except (ConsumerStoppedError, asyncio.CancelledError):
            if not self.app.should_stop:  # Faust treats a task cancelled in a rebalance as crashed
                raise
        except Exception as error:
            await self.app.crash(error)

    def _take(self) -> None:
        self.coordinator.check_errors()
        accepting = self._intake.accepting(TopicPartition(*tp) for tp in self._active_partitions)
        try:
            with self.client._subscription.fetch_context():  # noqa: SLF001 - counts as a poll of the consumer
                for partition, fetched in drain(self.client, accepting):
                    self._intake.add(partition, fetched)
        except NoOffsetForPartitionError:
            pass  # a fetch from before the seek to the processors' offsets
        except OffsetOutOfRangeError as error:
            for partition, offset in error.args[0].items():
                if self._position(partition) == offset:  # otherwise the processors have sought since
                    lost = f"{partition.topic}:{partition.partition} from offset {offset} on"
                    raise SegopsError(f"records of {lost} were deleted before they were read") from error

    async def _deliver(self) -> bool:
        """Deliver batches to agents that have capacity; return whether there were any."""
        epoch, delivered = self.epoch, False
        for partition, records in self._intake.hand_out():
            delivered = True
            await self.callback(self._message(Batch(partition.topic, partition.partition, records, epoch)))
            if not self.flow_active or epoch != self.epoch:
                break  # revoked meanwhile: the next owner reads from the committed offset
        return delivered

    async def _wait_for_work(self) -> None:
        """Wait until a fetch arrives or an agent finishes a batch."""
        arrived = arrival(self.client)
        self._capacity = asyncio.get_running_loop().create_future()
        await asyncio.wait([arrived, self._capacity], timeout=_POLL_S, return_when=asyncio.FIRST_COMPLETED)
        if arrived.done():
            arrived.result()
        arrived.cancel()

    def _message(self, batch: Batch) -> ConsumerMessage:
        last = batch.records[-1]
        tp = TP(batch.topic, batch.partition)
        return ConsumerMessage(
            batch.topic,
            batch.partition,
            last.offset,
            last.timestamp / 1000,
            0,
            None,
            None,
            cast("Any", batch),
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    def finished(self, batch: Batch) -> None:
        """Record that an agent has finished ``batch`` and has capacity for another."""
        if batch.epoch == self.epoch:
            self._intake.finished(TopicPartition(batch.topic, batch.partition), len(batch.records))
            if self._capacity is not None and not self._capacity.done():
                self._capacity.set_result(None)

    # -- assignment ----------------------------------------------------------------------------

    async def on_assigned(self, assigned: set[TP]) -> None:
        """Handle a new assignment."""
        generation = self.client._coordinator.generation  # noqa: SLF001 - as Faust's driver does
        self.app.consumer_generation_id = generation
        self._new_epoch()
        # The recovery reads them with its own consumer: unpaused, each would buffer a response here.
        self.client.pause(*(TopicPartition(*tp) for tp in assigned if self._is_changelog_tp(tp)))
        await self.on_partitions_assigned(assigned, generation)

    def _new_epoch(self) -> None:
        self.epoch += 1
        self._intake.clear()

    async def committed(self, partitions: Iterable[LogPartition]) -> dict[LogPartition, CommittedPosition]:
        """Return the group's committed offsets of these partitions, with their metadata."""
        tps = [TopicPartition(*each) for each in partitions]
        found = await self.client._coordinator.fetch_committed_offsets(tps)  # noqa: SLF001
        return {(tp.topic, tp.partition): CommittedPosition(*committed) for tp, committed in found.items()}

    async def perform_seek(self) -> None:
        """Seek to the offsets of the processors."""
        for partition, offset in self.app.pipeline.start_offsets().items():
            self.client.seek(TopicPartition(*partition), offset)
        self._sought_epoch = self.epoch

    async def beginnings(self, partitions: Iterable[LogPartition]) -> dict[LogPartition, int]:
        """Return the first retained offset of each partition."""
        found = await self.client.beginning_offsets([TopicPartition(*each) for each in partitions])
        return {(tp.topic, tp.partition): offset for tp, offset in found.items()}

    async def ends(self, partitions: Iterable[LogPartition]) -> dict[LogPartition, int]:
        """Return the end offset of each partition."""
        found = await self.client.end_offsets([TopicPartition(*each) for each in partitions])
        return {(tp.topic, tp.partition): offset for tp, offset in found.items()}

    def progress(self, partitions: Iterable[LogPartition]) -> dict[LogPartition, tuple[int, int | None]]:
        """Return the fetch position and the last stable offset of each partition; None while unknown."""
        found = [(each, TopicPartition(*each)) for each in partitions]
        return {each: (self._position(tp), self.client.last_stable_offset(tp)) for each, tp in found}

    def log_end(self, partition: LogPartition) -> int | None:
        """Return the last known end of the log; None if unknown or no longer assigned."""
        tp = TopicPartition(*partition)
        end: int | None = self.client.highwater(tp) if tp in self.client.assignment() else None
        return end

    def behind(self, partition: LogPartition, offset: int) -> int | None:
        """Return the number of records from ``offset`` on; None while the end of the log is unknown.

        Transaction markers do not count: at the end of the log the lag is 0.
        """
        end = self.log_end(partition)
        if end is None:
            return None
        read = 0 if self._intake.busy(partition[0]) else self._position(TopicPartition(*partition))
        return 0 if read >= end else max(0, end - offset)

    def _position(self, tp: TopicPartition) -> int:
        subscription = self.client._subscription.subscription  # noqa: SLF001 - position() would wait
        if subscription is None or tp not in subscription.assignment.tps:
            return 0
        state = subscription.assignment.state_value(tp)
        return int(state.position) if state.has_valid_position else 0

    async def at_end(self, partition: LogPartition) -> bool:
        """Return whether the agents have finished all records of the partition."""
        end = self.log_end(partition)
        if end is None or self._intake.busy(partition[0]):
            return False
        position: int = await self.client.position(TopicPartition(*partition))
        return position >= end

    def read_to(self, partition: LogPartition, end: int) -> bool:
        """Return whether the agents have finished all records before the offset ``end``."""
        tp = TopicPartition(*partition)
        return self._position(tp) >= end and not self._intake.holds(tp)

    # -- committing ----------------------------------------------------------------------------

    async def commit_positions(self, positions: Positions) -> None:
        """Commit offsets with their metadata. Raises CommitFailedError when this worker lost ownership."""
        await self.client.commit(
            {TopicPartition(*each): OffsetAndMetadata(*position) for each, position in positions.items()}
        )

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Take a checkpoint. All of Faust's commits end up here."""
        self._forget_acks()
        self._pass_markers()
        try:
            taken = bool(await self.app.pipeline.checkpoint())
        except Exception as error:
            await self.app.fail(error)
            raise
        return bool(taken)

    def _pass_markers(self) -> None:
        """Advance processors past offsets without records, such as transaction markers.

        After their deletion such offsets would look like lost records. This applies only after the seek to
        the processors' offsets: before that, positions are those of the group.
        """
        if self._sought_epoch == self.epoch:
            for partition, offset in self.app.pipeline.start_offsets().items():
                busy = self._intake.busy(partition[0])
                position = 0 if busy else self._position(TopicPartition(*partition))
                if position > offset:
                    self.app.pipeline.pass_to(partition, position)

    async def wait_empty(self) -> None:
        """Seal the partitions before a revocation, with a last checkpoint within the deadline."""
        await self.app.pipeline.seal()
        self._forget_acks()
        self._new_epoch()

    async def on_task_error(self, exc: BaseException) -> None:
        """Do nothing: after an error, commit nothing."""

    def _forget_acks(self) -> None:
        # Faust tracks acknowledged batches; checkpoints commit the processors' offsets instead.
        self._acked.clear()
        self._acked_index.clear()
        self._unacked_messages.clear()

    @Service.task
    async def _commit_handler(self) -> None:
        while not self.should_stop:
            await self.app.pipeline.checkpoint_due()
            if self.app.pipeline.running and not self.app.rebalancing:
                await self.commit()

    @Service.task
    async def _commit_livelock_detector(self) -> None:
        """Do nothing: ``liveness.watchers.Stall`` checks the progress."""


class TransportProducer(Producer):
    """Faust's producer around the worker's idempotent aiokafka producer."""

    mundane_level = "debug"

    def _new_producer(self, transactional_id: str | None = None) -> AIOKafkaProducer:
        return self.app.connections.producer(self.app.fence)  # type: ignore[attr-defined]

    @property
    def client(self) -> AIOKafkaProducer:
        """The aiokafka producer. Raises NotReady before the start."""
        return self._ensure_producer()

    async def create_topic(self, topic: str, partitions: int, replication: int, **kwargs: Any) -> None:
        """Do nothing: ``segops.kafka.topics`` creates the topics before the app starts."""


class BatchTransport(Transport):
    """The driver behind ``segops://host:port`` (entry point ``faust.transports``)."""

    Consumer: ClassVar[Any] = BatchConsumer
    Producer: ClassVar[Any] = TransportProducer
    driver_version = f"aiokafka={aiokafka.__version__}"
