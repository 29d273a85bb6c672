"""Read topics to their ends and on, and fold them: above all those of sizes and trends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Final, Generic, Protocol, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from segops.analytics.sizes import SegmentSizes
from segops.config import Settings
from segops.core.errors import SegopsError
from segops.kafka.clients import running_consumer
from segops.kafka.outages import Pauses, is_outage
from segops.kafka.reachability import in_words
from segops.kafka.reading import read_to_end
from segops.kafka.topics import partition_counts

log = logging.getLogger(__name__)

_POLL_MS: Final = 1_000
#: Records applied before other tasks of the process run.
_SLICE: Final = 500


class Fold(Protocol):
    """What records are folded into. ``unreadable``: the number of records that could not be read."""

    unreadable: int

    def apply(self, key: bytes | None, value: bytes | None) -> str | None:
        """Apply a record; return the key of what it changes, if any."""


F = TypeVar("F", bound=Fold)
T = TypeVar("T")


class TopicReader(Generic[F]):
    """Folds records into ``folded``; call ``catch_up`` first, then ``changes``."""

    def __init__(self, consumer: AIOKafkaConsumer, folded: F) -> None:
        self.folded = folded
        self._consumer = consumer

    async def catch_up(self, partitions: Sequence[TopicPartition]) -> None:
        """Read the assigned partitions from their beginnings to their current ends."""
        await self._consumer.seek_to_beginning(*partitions)
        number = 0
        async for record in read_to_end(self._consumer, partitions):
            self.folded.apply(record.key, record.value)
            number += 1
            if number % _SLICE == 0:
                await asyncio.sleep(0)

    async def changes(self) -> AsyncGenerator[set[str], None]:
        """Yield the keys of what new records changed, such as segments, once a second or sooner.

        Runs until closed.
        """
        while True:
            found = await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=_SLICE)
            records = (record for records in found.values() for record in records)
            changed = {self.folded.apply(record.key, record.value) for record in records}
            yield {key for key in changed if key is not None}
            await asyncio.sleep(0)


def reading_sizes(settings: Settings) -> AbstractAsyncContextManager[TopicReader[SegmentSizes]]:
    """Provide the sizes, as ``reading_figures``."""
    return reading_figures(settings, SegmentSizes)


@asynccontextmanager
async def reading_figures(
    settings: Settings, fold: Callable[[int, Collection[int]], F]
) -> AsyncIterator[TopicReader[F]]:
    """Provide a reader that has read the sizes, then the trends to their ends.

    ``fold`` makes what they are folded into from the number of partitions, and from those of the trends whose
    oldest records retention has deleted.

    Raises UserError when a topic is missing, Unreachable when no broker answers.
    """
    topics = settings.topics
    counts = await partition_counts(settings.kafka, [topics.sizes, topics.trends])
    sizes, trends = (
        [TopicPartition(name, number) for number in range(counts[name])]
        for name in (topics.sizes, topics.trends)
    )
    async with running_consumer(settings.kafka, auto_offset_reset="earliest") as consumer:
        consumer.assign([*sizes, *trends])
        first = await consumer.beginning_offsets(trends)
        truncated = [part.partition for part in trends if first[part]]
        reader = TopicReader(consumer, fold(len(sizes), truncated))
        await reader.catch_up(sizes)
        await reader.catch_up(trends)
        if reader.folded.unreadable:
            log.warning(
                "skipped %d unreadable records of %s, %s",
                reader.folded.unreadable,
                topics.sizes,
                topics.trends,
            )
        yield reader


async def follow_sizes(settings: Settings) -> AsyncGenerator[SegmentSizes, None]:
    """Yield the sizes whenever they may have changed. Raises as ``reading_figures``."""
    async with reading_sizes(settings) as reader:
        yield reader.folded
        async with aclosing(reader.changes()) as changes:
            async for _ in changes:
                yield reader.folded


class BackgroundReader(Generic[T]):
    """Keeps the latest value of ``follow`` in a process that mainly does something else.

    The task starts with the first call of ``current``, and again if it was cancelled. It reads everything
    again after a failure, with pauses.
    """

    def __init__(self, follow: Callable[[], AsyncGenerator[T, None]], *, what: str) -> None:
        self._values = follow
        self._what = what
        self._task: asyncio.Task[None] | None = None
        self._current: T | None = None

    def current(self) -> T | None:
        """Return the value, or None until there is one: until topics have been read to their ends."""
        if self._task is None or self._task.done():
            self._current = None
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"reader of {self._what}")
        return self._current

    async def aclose(self) -> None:
        """Stop the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        pauses = Pauses()
        while True:
            try:
                await self._follow(pauses)
            except Exception as error:  # the worker does not depend on it
                expected = is_outage(error) or isinstance(error, SegopsError | KafkaError)
                log.warning(
                    "cannot read the %s: %s", self._what, in_words(error), exc_info=not expected and error
                )
            self._current = None
            await asyncio.sleep(pauses.take())

    async def _follow(self, pauses: Pauses) -> None:
        async with aclosing(self._values()) as values:
            async for self._current in values:
                pauses.reset()
