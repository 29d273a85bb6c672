"""The ways from the lanes to Kafka: one for all partitions, or one with transactions for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from segops.streaming.publishers import Outputs, Producer


class Channels(Protocol):
    """Where the lanes of a worker put their records, by partition number."""

    @property
    def heavy(self) -> bool:
        """Whether so much waits for acknowledgement that the inputs should pause."""

    @property
    def awaited(self) -> bool:
        """Whether another partition waits for what only a checkpoint will show to it."""

    def of(self, number: int) -> Outputs:
        """What the lanes of partition ``number`` append to."""

    def wake(self) -> None:
        """Something was appended."""

    async def open(self, numbers: Iterable[int]) -> None:
        """Become the writer of these partitions, and of no others."""

    async def close(self) -> None:
        """Stop being a writer. What was not made durable by a checkpoint is given up."""

    async def pump(self) -> None:
        """Send what comes, for ever."""


class SharedChannel:
    """The same outputs for all partitions: records go out as they come (at least once)."""

    def __init__(self, producer: Callable[[], Producer]) -> None:
        self.outputs = Outputs(producer)
        self._work = asyncio.Event()

    @property
    def heavy(self) -> bool:
        """See ``Channels``."""
        return self.outputs.heavy

    @property
    def awaited(self) -> bool:
        """See ``Channels``. What is sent is seen at once."""
        return False

    def of(self, number: int) -> Outputs:
        """See ``Channels``."""
        return self.outputs

    def wake(self) -> None:
        """See ``Channels``."""
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
