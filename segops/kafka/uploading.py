"""Upload of many records: whole batches per partition, a bounded number of them in flight."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

from aiokafka import AIOKafkaProducer

from segops.schemas.records import Headers, partition_of

#: Batches sent and not acknowledged.
_IN_FLIGHT: Final = 16


class Uploader:
    """Writes records to the partitions of their keys. Raises KafkaError if one is not delivered."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, partitions: int) -> None:
        self._producer = producer
        self._topic = topic
        self._partitions = partitions
        self._open: dict[int, Any] = {}
        self._sent: deque[tuple[int, int, asyncio.Future[Any]]] = deque()
        self._ends: dict[int, int] = {}

    async def add(self, key: bytes, value: bytes, headers: Headers) -> None:
        """Add a record. Waits while too many batches are not acknowledged."""
        partition = partition_of(key, self._partitions)
        batch = self._open.get(partition) or self._new(partition)
        if batch.append(key=key, value=value, headers=headers, timestamp=None) is None:
            await self._send(partition)
            self._new(partition).append(key=key, value=value, headers=headers, timestamp=None)

    def _new(self, partition: int) -> Any:
        batch = self._open[partition] = self._producer.create_batch()
        return batch

    async def _send(self, partition: int) -> None:
        batch = self._open.pop(partition)
        batch.close()
        sent = await self._producer.send_batch(batch, self._topic, partition=partition)
        self._sent.append((partition, batch.record_count(), sent))
        while len(self._sent) > _IN_FLIGHT:
            await self._settle()

    async def _settle(self) -> None:
        partition, count, sent = self._sent.popleft()
        self._ends[partition] = (await sent).offset + count

    async def end(self) -> dict[int, int]:
        """Send what is left, and wait until all is acknowledged; return the end of each partition."""
        for partition in list(self._open):
            await self._send(partition)
        while self._sent:
            await self._settle()
        return self._ends
