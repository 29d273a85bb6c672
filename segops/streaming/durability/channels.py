"""The producer channels of a worker: one shared producer, or one transactional producer per partition."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from segops.streaming.publishers import BatchProducer, Producer

#: Makes the batches of a producer.
MakeOutputs = Callable[[Callable[[], Producer]], BatchProducer]


class ProducerChannels(Protocol):
    """The producers of a worker's partitions, by partition number."""

    @property
    def over_limit(self) -> bool:
        """Whether the unacknowledged bytes exceed the limit, so that the inputs should pause."""

    @property
    def has_waiters(self) -> bool:
        """Whether another partition waits for records that become visible with the next checkpoint."""

    def of(self, number: int) -> BatchProducer:
        """Return the producer that the processors of partition ``number`` append to."""

    def wake(self) -> None:
        """Wake the pump after an append."""

    async def open(self, numbers: Iterable[int]) -> None:
        """Become the writer of exactly these partitions."""

    async def close(self) -> None:
        """Stop being a writer, discarding what no checkpoint has made durable."""

    async def pump(self) -> None:
        """Send appended records. Runs until cancelled."""


class SharedProducer:
    """One producer for all partitions, which sends records as they come (at least once)."""

    def __init__(self, producer: Callable[[], Producer], make: MakeOutputs = BatchProducer) -> None:
        self.outputs = make(producer)
        self._work = asyncio.Event()

    @property
    def over_limit(self) -> bool:
        """See ``ProducerChannels``."""
        return self.outputs.over_limit

    @property
    def has_waiters(self) -> bool:
        """See ``ProducerChannels``. Sent records are visible at once."""
        return False

    def of(self, number: int) -> BatchProducer:
        """See ``ProducerChannels``."""
        return self.outputs

    def wake(self) -> None:
        """See ``ProducerChannels``."""
        self._work.set()

    async def open(self, numbers: Iterable[int]) -> None:
        """Do nothing: the one producer serves all partitions."""

    async def close(self) -> None:
        """Do nothing: the producer belongs to the app."""

    async def pump(self) -> None:
        """Flush after each wake-up. The next batch fills while a request is in flight."""
        while True:
            await self._work.wait()
            self._work.clear()
            await self.outputs.flush()
