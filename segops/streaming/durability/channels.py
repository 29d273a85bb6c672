"""The ways from the lanes to Kafka: one for all partitions, or one with transactions for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from segops.streaming.publishers import BatchProducer, Producer


class ProducerChannels(Protocol):
    """Where the lanes of a worker put their records, by partition number."""

    @property
    def over_limit(self) -> bool:
        """Whether so much waits for acknowledgement that the inputs should pause."""

    @property
    def has_waiters(self) -> bool:
        """Whether another partition waits for what only a checkpoint will show to it."""

    def of(self, number: int) -> BatchProducer:
        """What the lanes of partition ``number`` append to."""

    def wake(self) -> None:
        """Something was appended."""

    async def open(self, numbers: Iterable[int]) -> None:
        """Become the writer of these partitions, and of no others."""

    async def close(self) -> None:
        """Stop being a writer. What was not made durable by a checkpoint is given up."""

    async def pump(self) -> None:
        """Send what comes, for ever."""


class SharedProducer:
    """The same outputs for all partitions: records go out as they come (at least once)."""

    def __init__(self, producer: Callable[[], Producer]) -> None:
        self.outputs = BatchProducer(producer)
        self._work = asyncio.Event()

    @property
    def over_limit(self) -> bool:
        """See ``ProducerChannels``."""
        return self.outputs.over_limit

    @property
    def has_waiters(self) -> bool:
        """See ``ProducerChannels``. What is sent is seen at once."""
        return False

    def of(self, number: int) -> BatchProducer:
        """See ``ProducerChannels``."""
        return self.outputs

    def wake(self) -> None:
        """See ``ProducerChannels``."""
        self._work.set()

    async def open(self, numbers: Iterable[int]) -> None:
        """The one producer serves all partitions."""

    async def close(self) -> None:
        """The producer is the app's."""

    async def pump(self) -> None:
        """While one request is out, the next batch fills."""
        while True:
            await self._work.wait()
            self._work.clear()
            await self.outputs.flush()
