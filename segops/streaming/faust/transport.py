"""Faust's transport for batches: one Faust event carries many records of one partition.

Faust's own path costs about 100 µs per event (tasks, queues, acks); paid once per batch of hundreds of
records it does not matter. What differs from Faust's aiokafka driver:

- the aiokafka consumer lives in the main loop, not in a thread of its own (``loop_consumer``);
- back-pressure is a number of records per topic that may be under way (``intake``);
- a commit, whoever asks for it, is a checkpoint (see ``checkpoint``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
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
from segops.kafka.positions import CommittedPosition, Positions
from segops.schemas.records import Record
from segops.streaming.faust.consumer import LoopConsumer
from segops.streaming.faust.intake import Intake

_POLL_S: Final = 0.2


class Batch:
    """Records of one partition in the order of the log; the value of a Faust event."""

    __slots__ = ("epoch", "partition", "records", "topic")

    def __init__(self, topic: str, partition: int, records: list[Record], epoch: int) -> None:
        self.topic = topic
        self.partition = partition
        self.records = records
        self.epoch = epoch


class BatchConsumer(LoopConsumer):
    """The group's consumer: fetches batches, hands them to agents, commits by checkpoint."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.epoch = 0
        self._sought = -1
        self._intake = Intake()
        self._room: asyncio.Future[None] | None = None

    # -- fetching ------------------------------------------------------------------------------

    async def _drain_messages(self, fetcher: ServiceT) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                if not self.flow_active:
                    await self.wait(cast("Any", self.can_resume_flow))
                    continue
                self._take()
                if not await self._deliver():
                    await self._news()
        except (ConsumerStoppedError, asyncio.CancelledError):
            if not self.app.should_stop:  # to Faust, whoever is cancelled in a rebalance has crashed
                raise
        except Exception as error:
            await self.app.crash(error)

    def _take(self) -> None:
        self.coordinator.check_errors()
        wanted = self._intake.wanted(TopicPartition(*tp) for tp in self._active_partitions)
        try:
            with self.client._subscription.fetch_context():  # noqa: SLF001 - the group counts us as alive
                for place, fetched in drain(self.client, wanted):
                    self._intake.add(place, fetched)
        except NoOffsetForPartitionError:
            pass  # from before the lanes said where they go on
        except OffsetOutOfRangeError as error:
            for place, offset in error.args[0].items():
                if self._position(place) == offset:  # else the lanes said so since
                    lost = f"{place.topic}:{place.partition}: what begins at {offset}"
                    raise SegopsError(f"{lost} was deleted before it was read") from error

    async def _deliver(self) -> bool:
        """Give agents what they have room for; whether that was anything."""
        epoch, delivered = self.epoch, False
        for place, records in self._intake.hand_out():
            delivered = True
            await self.callback(self._message(Batch(place.topic, place.partition, records, epoch)))
            if not self.flow_active or epoch != self.epoch:
                break  # revoked meanwhile: who owns the partition next reads from the commit
        return delivered

    async def _news(self) -> None:
        """Until something arrives, or an agent is through with something."""
        arrived = arrival(self.client)
        self._room = asyncio.get_running_loop().create_future()
        await asyncio.wait([arrived, self._room], timeout=_POLL_S, return_when=asyncio.FIRST_COMPLETED)
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
        """An agent is through with ``batch``: there is room for another."""
        if batch.epoch == self.epoch:
            self._intake.finished(TopicPartition(batch.topic, batch.partition), len(batch.records))
            if self._room is not None and not self._room.done():
                self._room.set_result(None)

    # -- assignment ----------------------------------------------------------------------------

    async def on_assigned(self, assigned: set[TP]) -> None:
        """The group gave us these partitions."""
        generation = self.client._coordinator.generation  # noqa: SLF001 - as Faust's driver does
        self.app.consumer_generation_id = generation
        self._new_epoch()
        # Read by the recovery's own consumer: unpaused, a response per partition would sit in memory.
        self.client.pause(*(TopicPartition(*tp) for tp in assigned if self._is_changelog_tp(tp)))
        await self.on_partitions_assigned(assigned, generation)

    def _new_epoch(self) -> None:
        self.epoch += 1
        self._intake.clear()

    async def committed(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], CommittedPosition]:
        """What the group has committed of these partitions, with its metadata."""
        wanted = [TopicPartition(*place) for place in places]
        found = await self.client._coordinator.fetch_committed_offsets(wanted)  # noqa: SLF001
        return {(tp.topic, tp.partition): CommittedPosition(*committed) for tp, committed in found.items()}

    async def perform_seek(self) -> None:
        """Go to where the lanes go on."""
        for place, offset in self.app.pipeline.start_offsets().items():
            self.client.seek(TopicPartition(*place), offset)
        self._sought = self.epoch

    async def beginnings(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """The first offset that each partition still has."""
        found = await self.client.beginning_offsets([TopicPartition(*place) for place in places])
        return {(tp.topic, tp.partition): offset for tp, offset in found.items()}

    async def ends(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Where each log ends."""
        found = await self.client.end_offsets([TopicPartition(*place) for place in places])
        return {(tp.topic, tp.partition): offset for tp, offset in found.items()}

    def progress(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], tuple[int, int | None]]:
        """How far each partition has been fetched, and up to where it can be; None where nobody knows yet."""
        found = [(place, TopicPartition(*place)) for place in places]
        return {place: (self._position(tp), self.client.last_stable_offset(tp)) for place, tp in found}

    def log_end(self, place: tuple[str, int]) -> int | None:
        """The end of the log as last seen; None when it was not seen yet, or is another's to see by now."""
        partition = TopicPartition(*place)
        end: int | None = self.client.highwater(partition) if partition in self.client.assignment() else None
        return end

    def behind(self, place: tuple[str, int], offset: int) -> int | None:
        """How many records come after ``offset``; None while the end of the log was not seen yet.

        Marks of transactions are no records: read to the end of the log, nothing is left.
        """
        end = self.log_end(place)
        if end is None:
            return None
        read = 0 if self._intake.busy(place[0]) else self._position(TopicPartition(*place))
        return 0 if read >= end else max(0, end - offset)

    def _position(self, place: TopicPartition) -> int:
        subscription = self.client._subscription.subscription  # noqa: SLF001 - position() would wait
        if subscription is None or place not in subscription.assignment.tps:
            return 0
        state = subscription.assignment.state_value(place)
        return int(state.position) if state.has_valid_position else 0

    async def at_end(self, place: tuple[str, int]) -> bool:
        """Whether everything that the partition holds has been through an agent."""
        end = self.log_end(place)
        if end is None or self._intake.busy(place[0]):
            return False
        position: int = await self.client.position(TopicPartition(*place))
        return position >= end

    def read_to(self, place: tuple[str, int], end: int) -> bool:
        """Whether everything before the offset ``end`` has been through an agent."""
        partition = TopicPartition(*place)
        return self._position(partition) >= end and not self._intake.holds(partition)

    # -- committing ----------------------------------------------------------------------------

    async def commit_positions(self, positions: Positions) -> None:
        """Commit offsets with their metadata. Raises CommitFailedError when we are no longer owner."""
        await self.client.commit(
            {TopicPartition(*place): OffsetAndMetadata(*position) for place, position in positions.items()}
        )

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """A checkpoint: all of Faust's ways to commit come through here."""
        self._forget_acks()
        self._pass_marks()
        try:
            taken = bool(await self.app.pipeline.checkpoint())
        except Exception as error:
            await self.app.fail(error)
            raise
        return bool(taken)

    def _pass_marks(self) -> None:
        """Let lanes pass what holds an offset but no record, such as marks of transactions.

        Once it had expired it would look like records that were not read. Not before the lanes have said
        where they go on: until then positions are the group's.
        """
        if self._sought == self.epoch:
            for place, offset in self.app.pipeline.start_offsets().items():
                position = 0 if self._intake.busy(place[0]) else self._position(TopicPartition(*place))
                if position > offset:
                    self.app.pipeline.pass_to(place, position)

    async def wait_empty(self) -> None:
        """Before partitions go: stop the lanes, take a last checkpoint within the deadline."""
        await self.app.pipeline.seal()
        self._forget_acks()
        self._new_epoch()

    async def on_task_error(self, exc: BaseException) -> None:
        """After an error nothing is committed any more."""

    def _forget_acks(self) -> None:
        # Faust counts batches acknowledged by agents; the offset committed is the lane's own.
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
        """The worker's own watchdog looks at progress."""


class TransportProducer(Producer):
    """Faust's producer around an idempotent aiokafka producer with our settings."""

    mundane_level = "debug"

    def _new_producer(self, transactional_id: str | None = None) -> AIOKafkaProducer:
        return self.app.connections.producer(self.app.fence)  # type: ignore[attr-defined]

    @property
    def client(self) -> AIOKafkaProducer:
        """The aiokafka producer. NotReady before the start."""
        return self._ensure_producer()

    async def create_topic(self, topic: str, partitions: int, replication: int, **kwargs: Any) -> None:
        """Topics are made by ``segops.kafka.topics`` before the app starts."""


class BatchTransport(Transport):
    """The driver behind ``segops://host:port`` (entry point ``faust.transports``)."""

    Consumer: ClassVar[Any] = BatchConsumer
    Producer: ClassVar[Any] = TransportProducer
    driver_version = f"aiokafka={aiokafka.__version__}"
