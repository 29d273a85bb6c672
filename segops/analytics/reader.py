"""Read the topics of sizes and trends, to their ends and on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

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


class SizeReader:
    """Folds the two topics into ``sizes``; call ``catch_up`` first, then ``changes``."""

    def __init__(self, consumer: AIOKafkaConsumer, sizes: SegmentSizes) -> None:
        self.sizes = sizes
        self._consumer = consumer

    async def catch_up(self, partitions: Sequence[TopicPartition]) -> None:
        """Read the assigned partitions from their beginnings to their current ends."""
        await self._consumer.seek_to_beginning(*partitions)
        number = 0
        async for record in read_to_end(self._consumer, partitions):
            self.sizes.apply(record.key, record.value)
            number += 1
            if number % _SLICE == 0:
                await asyncio.sleep(0)

    async def changes(self) -> AsyncGenerator[set[str], None]:
        """Yield the keys of the segments that new records changed, once a second or sooner.

        Runs until closed.
        """
        while True:
            found = await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=_SLICE)
            records = (record for records in found.values() for record in records)
            changed = {self.sizes.apply(record.key, record.value) for record in records}
            yield {key for key in changed if key is not None}
            await asyncio.sleep(0)


@asynccontextmanager
async def reading_sizes(settings: Settings) -> AsyncIterator[SizeReader]:
    """Provide a reader that has read both topics to their ends.

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
        reader = SizeReader(consumer, SegmentSizes(len(sizes), truncated))
        await reader.catch_up([*sizes, *trends])
        if reader.sizes.unreadable:
            log.warning(
                "skipped %d unreadable records of %s, %s",
                reader.sizes.unreadable,
                topics.sizes,
                topics.trends,
            )
        yield reader


class BackgroundReader:
    """Keeps the sizes current in a process that mainly does something else.

    The task starts with the first call of ``current``, and again if it was cancelled. It reads everything
    again after a failure, with pauses.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._task: asyncio.Task[None] | None = None
        self._sizes: SegmentSizes | None = None

    def current(self) -> SegmentSizes | None:
        """Return the sizes, or None until the topics have been read to their ends."""
        if self._task is None or self._task.done():
            self._sizes = None
            self._task = asyncio.get_running_loop().create_task(self._run(), name="sizes reader")
        return self._sizes

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
                log.warning("cannot read the sizes: %s", in_words(error), exc_info=not expected and error)
            self._sizes = None
            await asyncio.sleep(pauses.take())

    async def _follow(self, pauses: Pauses) -> None:
        async with reading_sizes(self._settings) as reader:
            self._sizes = reader.sizes
            async with aclosing(reader.changes()) as changes:
                async for _ in changes:
                    pauses.reset()
