"""What is known of a topic's log at present: from the archive, if there is one, and from the topic."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from typing import Final

from aiokafka import TopicPartition

from segops.archive.history import History
from segops.archive.sources import open_history
from segops.config import Settings
from segops.kafka.clients import running_consumer
from segops.schemas.records import Record

_AT_ONCE: Final = 8


class PastLog:
    """The committed records of some partitions of a topic, up to the ends that the partitions have now.

    ``complete_since_ms``: the Kafka timestamp from which no record of these partitions was missing when they
    were last asked about or read; 0: none was ever deleted.
    """

    def __init__(self, history: History, ends: Mapping[int, int], newest: int | None = None) -> None:
        self._history = history
        self._ends = ends
        self._newest = newest
        self.complete_since_ms = 0

    @classmethod
    async def open(
        cls, settings: Settings, topic: str, partitions: Collection[int], *, newest: int | None = None
    ) -> PastLog:
        """Return the log as it is now, or only the ``newest`` offsets of each partition.

        Raises Unreachable, UserError if the archive cannot be read.
        """
        async with running_consumer(settings.kafka) as consumer:
            places = [TopicPartition(topic, number) for number in partitions]
            ends = await consumer.end_offsets(places)
        bounds = {place.partition: ends[place] for place in places}
        return cls(open_history(settings, topic), bounds, newest)

    async def look(self) -> None:
        """Bring ``complete_since_ms`` up to date."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def since(partition: int) -> int:
            async with slots:
                return await self._history.complete_since_ms(partition)

        found = await asyncio.gather(*(since(partition) for partition in self._ends))
        self.complete_since_ms = max([self.complete_since_ms, *found])

    async def read(self, from_ms: int = 0) -> AsyncGenerator[Record, None]:
        """Yield the records, each partition's in log order. Then bring ``complete_since_ms`` up to date.

        Those with a Kafka timestamp before ``from_ms`` are left out.
        """
        for partition, end in self._ends.items():
            start = 0 if self._newest is None else max(0, end - self._newest)
            first_ms = None if start else 0
            batches = self._history.read(partition, from_ms=from_ms, from_offset=start, to_offset=end)
            async with aclosing(batches):
                async for batch in batches:
                    for record in batch.records:
                        first_ms = record.timestamp if first_ms is None else first_ms
                        yield record
            self.complete_since_ms = max(self.complete_since_ms, first_ms or 0)
        await self.look()
