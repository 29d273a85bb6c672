"""Kafka transactions: consecutive ones for each partition number, each partition with its own producer.

The transactional id is ``<app id>-<partition>``. No two applications share one, whatever their names: the
part after the last dash is always the partition. Opening an id fences its earlier producers, and the broker
ends the transaction that they left open: it completes one whose commit had started and aborts any other. So
``Transactions.open`` is the fence, and comes before anything of a partition is read.

The contents of a transaction
-----------------------------
A transaction must hold the outputs, the changelog and the offsets of exactly the same records. Processors do
not stop while a checkpoint waits for the broker, so there is a cut: in one step, without an ``await``, the
checkpoint takes the offsets and the changed profiles of a partition and calls ``BatchProducer.cut``. Records
appended before the cut belong to this transaction, and some are already sent. Records appended after it wait
in memory until the commit is complete (``BatchProducer.release``) and start the next transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.errors import IllegalOperation, InvalidProducerEpoch, ProducerFenced
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from segops.kafka.outages import OutOfTouch
from segops.kafka.positions import LogPartition, Positions
from segops.stores.base import Write
from segops.streaming.durability.channels import MakeOutputs
from segops.streaming.failpoints import Failpoints
from segops.streaming.publishers import BatchProducer, log_states

_MAX_WAITING_BYTES = 64 << 20


class Transaction:
    """The transactions of one partition number. ``client`` is its own; ``Transactions`` starts it."""

    def __init__(
        self,
        number: int,
        client: AIOKafkaProducer,
        *,
        app_id: str,
        failpoints: Failpoints,
        make: MakeOutputs = BatchProducer,
    ) -> None:
        self.number = number
        self.client = client
        self.outputs, self._states = make(lambda: self), make(lambda: self)
        self._group = app_id
        self._failpoints = failpoints
        self._begun = False
        self._beginning = asyncio.Lock()

    # -- the producer of its outputs -----------------------------------------------------------

    def create_batch(self) -> object:
        """Return a batch for the transaction in which it will be sent, even if that has not begun."""
        return self.client.create_batch()

    async def send_batch(self, batch: object, topic: str, *, partition: int) -> asyncio.Future[object]:
        """Send a batch within the transaction; the first one begins it."""
        await self._begin()
        delivery: asyncio.Future[object] = await self.client.send_batch(batch, topic, partition=partition)
        return delivery

    async def _begin(self) -> None:
        async with self._beginning:
            if not self._begun:
                await self.client.begin_transaction()
                self._begun = True

    async def send_full(self) -> None:
        """Send full batches early. Partial ones would gain nothing: they are invisible before the commit."""
        with self._fenced():
            await self.outputs.flush(full_only=True)

    # -- committing ----------------------------------------------------------------------------

    async def commit(
        self, changelog: LogPartition, slices: Iterable[Iterable[Write]], positions: Positions
    ) -> int | None:
        """Commit everything appended before ``outputs.cut``, these states and these positions.

        Return the changelog offset of the last state committed so far, None if there is none. Without
        anything to commit there is no transaction. Raises OutOfTouch when another worker owns the partition.
        """
        await log_states(self._states, changelog, slices)
        with self._fenced():
            await self._deliver()
            if positions:
                await self._add(positions)
            if self._begun:
                await self.client.commit_transaction()
                self._begun = False
                self._failpoints.passed("after_offset_commit")
        self.outputs.release()
        return self._states.acknowledged.get(changelog)

    async def _deliver(self) -> None:
        # The client commits even after a failed delivery, so every acknowledgement is checked first.
        await self.outputs.flush()
        await self._states.flush()
        await self.outputs.settle()
        self._pass("after_output_ack")
        await self._states.settle()
        self._pass("after_changelog_ack")

    def _pass(self, point: str) -> None:
        if self._begun:
            self._failpoints.passed(point)

    async def _add(self, positions: Positions) -> None:
        await self._begin()
        offsets = {TopicPartition(*partition): OffsetAndMetadata(*at) for partition, at in positions.items()}
        await self.client.send_offsets_to_transaction(offsets, self._group)

    @contextmanager
    def _fenced(self) -> Iterator[None]:
        try:
            yield
        except (ProducerFenced, InvalidProducerEpoch, IllegalOperation) as error:
            # IllegalOperation follows a rejected early batch, whose delivery was not awaited.
            raise OutOfTouch(
                f"partition {self.number} has been taken over by another worker, or its transaction timed "
                "out: Kafka rejects this process's writes"
            ) from error


class Transactions:
    """The transactions of all partitions that this worker owns."""

    def __init__(
        self,
        producer: Callable[[int], AIOKafkaProducer],
        *,
        app_id: str,
        failpoints: Failpoints,
        make: MakeOutputs = BatchProducer,
    ) -> None:
        self._make = make
        self.owned: dict[int, Transaction] = {}
        self._producer = producer
        self._app_id = app_id
        self._failpoints = failpoints
        self._work = asyncio.Event()

    @property
    def over_limit(self) -> bool:
        """See ``ProducerChannels``."""
        return sum(one.outputs.waiting_bytes for one in self.owned.values()) > _MAX_WAITING_BYTES

    @property
    def has_waiters(self) -> bool:
        """See ``ProducerChannels``. Messages between profiles become visible with the commit."""
        return any(one.outputs.has_waiters for one in self.owned.values())

    def of(self, number: int) -> BatchProducer:
        """See ``ProducerChannels``."""
        return self.owned[number].outputs

    def wake(self) -> None:
        """See ``ProducerChannels``."""
        self._work.set()

    async def open(self, numbers: Iterable[int]) -> None:
        """Fence the former writers of these partitions and end their open transactions."""
        await self.close()
        for number in numbers:
            client = self._producer(number)
            self.owned[number] = Transaction(
                number, client, app_id=self._app_id, failpoints=self._failpoints, make=self._make
            )
        await asyncio.gather(*(one.client.start() for one in self.owned.values()))

    async def close(self) -> None:
        """See ``ProducerChannels``."""
        former, self.owned = self.owned, {}
        await asyncio.gather(*(one.client.stop() for one in former.values()))

    async def pump(self) -> None:
        """Send full batches early, so that the commit has little left to send. Runs until cancelled."""
        while True:
            await self._work.wait()
            self._work.clear()
            for one in list(self.owned.values()):
                if one.outputs.full:
                    await one.send_full()
