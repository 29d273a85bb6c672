"""Tasks that a consumer group shares out: one per partition, from its assignment to its revocation."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition

from segops.kafka.outages import OutOfTouch

log = logging.getLogger(__name__)


class PartitionTasks:
    """The running tasks, one per partition. The first error of one fails ``failure``.

    ``stopped`` is called with each partition that this process no longer has.
    """

    def __init__(
        self,
        work: Callable[[TopicPartition], Any],
        failure: asyncio.Future[None],
        stopped: Callable[[TopicPartition], None],
    ) -> None:
        self._work = work
        self._stopped = stopped
        self._failure = failure
        self._tasks: dict[TopicPartition, asyncio.Task[None]] = {}

    def running(self) -> list[TopicPartition]:
        """Return the partitions that have a task."""
        return list(self._tasks)

    def start(self, sources: Iterable[TopicPartition]) -> None:
        """Start the tasks of these partitions."""
        for source in sources:
            self._tasks[source] = task = asyncio.ensure_future(self._work(source))
            task.add_done_callback(self._ended)

    async def stop(self, sources: Iterable[TopicPartition]) -> None:
        """Stop the tasks of these partitions; open transactions are aborted."""
        await cancel_all([task for source in sources if (task := self._tasks.pop(source, None)) is not None])
        for source in sources:
            self._stopped(source)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task not in self._tasks.values():  # stopped on purpose
            return
        # The client cancels its own requests when a connection is lost: such a task ends as if stopped.
        error = OutOfTouch("the client gave up a request") if task.cancelled() else task.exception()
        if error is not None and not self._failure.done():
            self._failure.set_exception(error)


async def cancel_all(tasks: Collection[asyncio.Future[Any]]) -> None:
    """Cancel tasks and wait for their ends."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, Exception):
            await task


class Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Stops the tasks of partitions before the group takes them away, and starts those that it assigns."""

    def __init__(self, consumer: AIOKafkaConsumer, tasks: PartitionTasks) -> None:
        self._consumer = consumer
        self._tasks = tasks

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Stop the tasks."""
        await self._tasks.stop(list(revoked))

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Start the tasks. Until a partition's position is known, the client must not read it."""
        self._consumer.pause(*assigned)
        for source in assigned:
            self._consumer.seek(source, 0)
        log.info("partitions: %s", " ".join(f"{t}:{n}" for t, n in sorted(assigned)) or "none")
        self._tasks.start(assigned)
