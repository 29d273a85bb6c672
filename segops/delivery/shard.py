"""Tells the destinations about the addresses of one partition.

The state that decides is a level, not a sequence of changes: a message is sent for an address when its
targets differ from what was told. So changes that have cancelled out are never sent, and what was held is
sent as the difference. What was told is written, in a transaction that fences former owners, after the
destination took it; a crash in between repeats the message with the same id.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from segops.config import Settings
from segops.core.delivery.deciding import Ask, answered
from segops.core.delivery.model import Delivery, Told
from segops.delivery.board import Active, Board
from segops.delivery.entries import REQUEST, Address, Entries, address_of
from segops.delivery.gates import Gate
from segops.delivery.queue import Queue
from segops.delivery.records import Output, from_beginning, write
from segops.delivery.telling import Counts, Outcomes, Teller, Wave, outputs
from segops.metrics import Metrics
from segops.schemas.delivery import encode_key
from segops.wall_clock import wall_ms

log = logging.getLogger(__name__)

_POLL_MS: Final = 100
_POLL_RECORDS: Final = 2_000
_SLICE: Final = 1_000
#: How long a pump waits at most before it looks again; everything that concerns it wakes it earlier.
_LOOK_S: Final = 1.0
_SENT_AT_ONCE: Final = 32


class Shard:
    """The deliveries of one partition. ``gate``: the gate of a destination, shared by all partitions."""

    def __init__(
        self,
        settings: Settings,
        partition: int,
        board: Board,
        *,
        entries: Entries,
        teller: Teller,
        gate: Callable[[str], Gate],
        metrics: Metrics,
        passed: Callable[[str], None],
    ) -> None:
        self._targets = TopicPartition(settings.topics.targets, partition)
        self._told = TopicPartition(settings.topics.told, partition)
        self._board = board
        self._entries = entries
        self._teller = teller
        self._gate = gate
        self._metrics = metrics
        self._passed = passed
        self._queues: dict[Delivery, Queue] = {}
        self._requests: list[tuple[str, ...]] = []
        self._pumps: dict[str, asyncio.Task[None]] = {}
        self._awake: dict[str, asyncio.Event] = {}
        self._writing = asyncio.Lock()

    async def run(self, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer) -> None:
        """Read and tell until cancelled. ``producer`` has fenced the partition's former owners."""
        consumer.assign([self._told, self._targets])
        await self._restore(consumer)
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            while not failed.done():
                self._start_pumps(producer, failed)
                found = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_POLL_RECORDS)
                for record in found.get(self._told, ()):
                    self._take_request(record)
                self._add(self._entries.take_targets(found.get(self._targets, ())))
                await self._answer(producer)
            failed.result()
        finally:
            for pump in self._pumps.values():
                pump.cancel()
            await asyncio.gather(*self._pumps.values(), return_exceptions=True)

    async def _restore(self, consumer: AIOKafkaConsumer) -> None:
        """Read the targets, then what was told, and forget the addresses that are over."""
        chunk: list[Any] = []
        async for record in from_beginning(consumer, [self._targets]):
            chunk.append(record)
            if len(chunk) == _POLL_RECORDS:
                self._entries.take_targets(chunk)
                chunk.clear()
        self._entries.take_targets(chunk)
        async for record in from_beginning(consumer, [self._told]):
            if (request := self._entries.take_told(record)) is not None:
                self._requests.append(request)
        after: str | None = None
        while ids := self._entries.ids(after, _SLICE):
            self._add(map(address_of, self._entries.forget_over(ids)))
            after = ids[-1]
            await asyncio.sleep(0)

    def _add(self, addresses: Any) -> None:
        now_ms = wall_ms()
        for each in addresses:
            self._queue(each.delivery).add(each.id, now_ms)
            self._wake(each.delivery.destination)

    def _queue(self, delivery: Delivery) -> Queue:
        return self._queues.setdefault(delivery, Queue())

    def _wake(self, destination: str) -> None:
        self._awake.setdefault(destination, asyncio.Event()).set()

    # -- requests of people ----------------------------------------------------------------------------

    def _take_request(self, record: Any) -> None:
        """Note a person's request; the other records are this process's own."""
        if record.key is not None and record.key.startswith(encode_key(REQUEST)[:-1]):
            request = self._entries.take_told(record)
            if request is not None:
                self._requests.append(request)

    async def _answer(self, producer: AIOKafkaProducer) -> None:
        """Do what people asked for: to retry or to drop what was refused, and to tell again what was lost."""
        requests, self._requests = self._requests, []
        for request in requests:
            _, asked, *names = request
            action: Ask = asked  # type: ignore[assignment]
            of = Address(Delivery(names[0], names[1]), names[2])
            written = [Output(self._told, encode_key(*request), None)]
            async with self._writing:
                (entry,) = self._entries.read([of.id])
                if entry.told is not None:
                    entry.told = answered(entry.told, action)
                    written += outputs(self._told, [(of, entry.told)])
                await write(producer, written)
                self._entries.write([(of.id, entry)])
            self._add([of])

    # -- telling ---------------------------------------------------------------------------------------

    def _start_pumps(self, producer: AIOKafkaProducer, failed: asyncio.Future[None]) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None and not failed.done():
                failed.set_exception(error)

        for delivery in self._queues:
            if delivery.destination not in self._pumps:
                pump = asyncio.create_task(self._pump(delivery.destination, producer))
                pump.add_done_callback(ended)
                self._pumps[delivery.destination] = pump

    async def _pump(self, destination: str, producer: AIOKafkaProducer) -> None:
        """Tell one destination, one wave after the other."""
        gate, awake = self._gate(destination), self._awake.setdefault(destination, asyncio.Event())
        while True:
            awake.clear()
            if gate.wait_s() > 0:
                await asyncio.sleep(min(gate.wait_s(), _LOOK_S))
                continue
            version, busy = self._board.version, False
            for delivery, queue in [*self._queues.items()]:
                active = self._board.active.get(delivery)
                if delivery.destination == destination and active is not None:
                    busy |= await self._tell(active, queue, gate, producer)
            self._export(destination)
            if not busy and self._board.version == version:
                await self._sleep(destination, awake)

    async def _sleep(self, destination: str, awake: asyncio.Event) -> None:
        waiting = [queue.next_ms() for each, queue in self._queues.items() if each in self._board.active]
        next_ms = min((each for each in waiting if each), default=None)
        pause_s = _LOOK_S if next_ms is None else min(_LOOK_S, max(0.0, (next_ms - wall_ms()) / 1000))
        try:
            async with asyncio.timeout(pause_s):
                await awake.wait()
        except TimeoutError:
            pass

    async def _tell(self, active: Active, queue: Queue, gate: Gate, producer: AIOKafkaProducer) -> bool:
        """Tell a wave of a delivery; return whether there was one."""
        batch = active.adapter.batch
        most = batch.messages * max(1, _SENT_AT_ONCE // batch.messages)
        ids = queue.take(most, wall_ms())
        if not ids:
            return False
        try:
            with self._entries.held(ids):
                found = await self._tell_wave(active, ids, gate, producer)
        except BaseException:
            self._requeue(queue, ids)
            raise
        self._passed("activate_after_told")
        for entry_id, until_ms in found.later:
            queue.delay(entry_id, until_ms)
        self._requeue(queue, found.again)
        return not found.again

    async def _tell_wave(
        self, active: Active, ids: Sequence[str], gate: Gate, producer: AIOKafkaProducer
    ) -> Outcomes:
        wave = Wave(active, [*zip(map(address_of, ids), self._entries.read(ids), strict=True)])
        found, planned = await self._teller.plan(wave, self._entries.told_ms)
        await self._keep(producer, [*found.told, *self._teller.intents(planned)])
        if planned:
            self._passed("activate_before_request")
            sent = await self._teller.send(active, planned, gate)
            self._passed("activate_after_request")
            await self._keep(producer, sent.told, self._teller.count(sent, self._entries.told_ms))
            found.add(sent)
        return found

    async def _keep(
        self, producer: AIOKafkaProducer, told: Sequence[tuple[Address, Told | None]], counts: Counts = ()
    ) -> None:
        """Write what was told, and store it beside what has become wanted meanwhile."""
        if not told:
            return
        async with self._writing:
            await write(producer, outputs(self._told, told, counts))
            ids = [of.id for of, _ in told]
            entries = self._entries.read(ids)
            for entry, (_, each) in zip(entries, told, strict=True):
                entry.told = each
            self._entries.write(zip(ids, entries, strict=True))

    @staticmethod
    def _requeue(queue: Queue, ids: Sequence[str]) -> None:
        for each in ids:
            queue.add(each, wall_ms())

    def _export(self, destination: str) -> None:
        queues = [queue for each, queue in self._queues.items() if each.destination == destination]
        since = [at for queue in queues if (at := queue.oldest_ms()) is not None]
        labels = (destination, str(self._told.partition))
        self._metrics.delivery.waiting.labels(*labels).set(sum(map(len, queues)))
        age_s = (wall_ms() - min(since)) / 1000 if since else 0.0
        self._metrics.delivery.oldest_seconds.labels(*labels).set(age_s)
