"""The tasks of partitions that a group shares out, without Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from aiokafka import TopicPartition

from segops.kafka.outages import OutOfTouch, is_outage
from segops.kafka.partition_tasks import PartitionTasks

SOURCE = TopicPartition("orders", 0)


def failure_of(work: Callable[[], Coroutine[Any, Any, None]], *, stops: bool) -> BaseException | None:
    """Return what a session fails with if one task works like this; stop the task itself if ``stops``."""

    async def run() -> BaseException | None:
        stopped: list[TopicPartition] = []
        failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        tasks = PartitionTasks(lambda _source: work(), failure, stopped.append)
        tasks.start([SOURCE])
        await asyncio.sleep(0)
        if stops:
            await tasks.stop([SOURCE])
            assert (tasks.running(), stopped) == ([], [SOURCE])
        else:
            await asyncio.wait([failure])
        return failure.exception() if failure.done() else None

    return asyncio.run(run())


async def gives_up() -> None:
    raise asyncio.CancelledError


async def fails() -> None:
    raise ValueError("a bug")


async def lasts() -> None:
    await asyncio.Event().wait()


def test_error_of_a_task_fails_the_session() -> None:
    assert isinstance(failure_of(fails, stops=False), ValueError)


def test_task_that_the_client_cancels_is_an_outage() -> None:
    error = failure_of(gives_up, stops=False)
    assert isinstance(error, OutOfTouch)
    assert is_outage(error)


def test_task_that_is_stopped_fails_nothing() -> None:
    assert failure_of(lasts, stops=True) is None
