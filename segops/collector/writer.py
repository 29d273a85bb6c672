"""Records to Kafka in batches per partition, each record with the acknowledgement of its batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from segops.kafka.positions import LogPartition
from segops.schemas.records import Headers

#: An acknowledgement: None once Kafka has the records, else the error. It never raises.
Acknowledgement = asyncio.Future[BaseException | None]


class Outgoing(NamedTuple):
    """A record, and the topic and partition that it goes to."""

    partition: LogPartition
    key: bytes | None
    value: bytes
    headers: Headers


class _Batch:
    def __init__(self, builder: Any, now_s: float) -> None:
        self.builder: Final = builder
        self.since_s: Final = now_s
        self.bytes = 0
        self.acknowledged: Acknowledgement = asyncio.get_running_loop().create_future()


class Writer:
    """Sends records by one producer, in order per partition, one batch per partition at a time.

    While a batch is in flight, later records gather in the next one: batches grow with the load. After a
    failed delivery nothing more is sent, since the client's sequence numbers have a gap: every
    acknowledgement gets the error, and ``failed`` is done with it.
    """

    def __init__(self, producer: Any, *, now: Callable[[], float]) -> None:
        self.failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        #: Size in bytes of the records that are not acknowledged.
        self.waiting_bytes = 0
        self._producer = producer
        self._now = now
        self._queues: dict[LogPartition, deque[_Batch]] = {}
        #: Unacknowledged batches, oldest first.
        self._waiting: dict[_Batch, None] = {}
        self._senders: dict[LogPartition, asyncio.Task[None]] = {}

    @property
    def waits_s(self) -> float:
        """How long the oldest unacknowledged record has been waiting, in seconds; 0 if there is none."""
        oldest = next(iter(self._waiting), None)
        return 0.0 if oldest is None else self._now() - oldest.since_s

    def append(self, record: Outgoing) -> Acknowledgement:
        """Append a record and return its acknowledgement, which records of one batch share."""
        batch = self._appended(record)
        size = len(record.value)
        batch.bytes += size
        self.waiting_bytes += size
        if self.failed.done():
            self._settle(batch, self.failed.result())
        elif record.partition not in self._senders:
            sending = asyncio.get_running_loop().create_task(self._send(record.partition))
            self._senders[record.partition] = sending
        return batch.acknowledged

    def _appended(self, record: Outgoing) -> _Batch:
        queue = self._queues.setdefault(record.partition, deque())
        options = {"timestamp": None, "key": record.key, "value": record.value, "headers": record.headers}
        if queue and queue[-1].builder.append(**options) is not None:
            return queue[-1]
        batch = _Batch(self._producer.create_batch(), self._now())
        batch.builder.append(**options)
        queue.append(batch)
        self._waiting[batch] = None
        return batch

    async def _send(self, partition: LogPartition) -> None:
        """Send the batches of a partition, one after the other, until there is none."""
        await asyncio.sleep(0)  # requests that arrived together share a batch
        queue = self._queues[partition]
        try:
            while queue:
                batch = queue.popleft()
                batch.builder.close()
                delivery = await self._producer.send_batch(
                    batch.builder, partition[0], partition=partition[1]
                )
                await delivery
                self._settle(batch, None)
        except Exception as error:
            self._fail(error)
        finally:
            self._senders.pop(partition, None)

    def _settle(self, batch: _Batch, error: BaseException | None) -> None:
        if batch not in self._waiting:
            return
        del self._waiting[batch]
        self.waiting_bytes -= batch.bytes
        batch.acknowledged.set_result(error)

    def _fail(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_result(error)
        for batch in list(self._waiting):
            self._settle(batch, error)
        self._queues.clear()

    async def settle(self) -> None:
        """Wait until everything appended so far is acknowledged or has failed."""
        waiting = [batch.acknowledged for batch in self._waiting]
        if waiting:
            await asyncio.wait(waiting)

    def close(self) -> None:
        """Stop sending; what is not acknowledged fails."""
        for task in list(self._senders.values()):
            task.cancel()
        self._fail(asyncio.CancelledError())
