"""Follows topics from their beginning or their newest records, in steps that hold nothing else up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from segops.config import Settings
from segops.core.errors import UserError
from segops.kafka import following
from segops.kafka.batches import Fetched
from segops.kafka.clients import running_consumer
from segops.kafka.following import LostRecords
from segops.kafka.outages import OutOfTouch
from segops.kafka.topics import partition_counts

#: How long records are applied before requests and streams have their turn, and how many between two looks.
_SLICE_S: Final = 0.004
_SLICE: Final = 25


class Topic(NamedTuple):
    """A topic, and what takes its records with the number of their partition.

    ``newest``: only so many of the newest offsets of each partition are read. ``later``: it is read once the
    others are current, since it holds much and says little of the present. ``optional``: it may be missing.
    """

    name: str
    take: Callable[[int, Any], object]
    newest: int | None = None
    later: bool = False
    optional: bool = False


#: Given the number of partitions of each topic, and where each partition begins, before anything is read.
Begin = Callable[[Mapping[str, int], Mapping[TopicPartition, int]], None]


class Follower:
    """Reads topics; the positions outlive a session, since what was read does.

    ``begin`` is called before all is read from the beginning, at first and after LostRecords.
    ``as_of_ms``: when Kafka last said that all topics that are not ``later`` are read to their ends (ms UTC).
    """

    def __init__(self, settings: Settings, topics: Sequence[Topic], begin: Begin) -> None:
        self._settings = settings
        self._topics = {each.name: each for each in topics}
        self._begin = begin
        self.forget()

    def forget(self) -> None:
        """Read all again, from the beginning."""
        self._positions: dict[TopicPartition, int] = {}
        self._current_ms: dict[TopicPartition, int] = {}
        self._first: frozenset[TopicPartition] = frozenset()
        self.as_of_ms: int | None = None
        #: Whether the topics that are read later have been read to their ends.
        self.is_complete = False

    async def follow(self, connected: Callable[[], None]) -> None:
        """Read until cancelled. Raises LostRecords, and what an outage raises."""
        partitions = await self._partitions()
        async with running_consumer(self._settings.kafka, **following.OPTIONS) as consumer:
            consumer.assign(partitions)
            await self._seek(consumer, partitions)
            connected()
            later = [each for each in partitions if self._topics[each.topic].later]
            self._first = frozenset(partitions) - frozenset(later)
            if not self.is_complete:
                consumer.pause(*later)
            while True:
                await self._read(consumer, partitions)
                if later and self.as_of_ms is not None:
                    consumer.resume(*later)
                    later = []

    async def _partitions(self) -> list[TopicPartition]:
        try:
            counts = await partition_counts(
                self._settings.kafka,
                [*self._topics],
                optional=[n for n, t in self._topics.items() if t.optional],
            )
        except UserError as error:  # they may be created at any time
            raise OutOfTouch(str(error)) from error
        return [TopicPartition(name, number) for name, count in counts.items() for number in range(count)]

    async def _seek(self, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> None:
        begins = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        if not self._positions:
            counts = dict.fromkeys(self._topics, 0)
            for each in partitions:
                counts[each.topic] += 1
            self._begin(counts, begins)
        elif self._positions.keys() != {*partitions}:
            raise LostRecords("a topic has another number of partitions than before")
        for each in partitions:
            newest = self._topics[each.topic].newest
            first = begins[each] if newest is None else max(begins[each], ends[each] - newest)
            self._positions.setdefault(each, first)
        following.seek(consumer, self._positions, begins, ends)

    async def _read(self, consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]) -> None:
        found, current_ms = await following.read(consumer, partitions)
        await self._take_over(found)
        self._note(current_ms)

    async def _take_over(self, found: Iterable[tuple[TopicPartition, Fetched]]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for partition, fetched in found:
            take, number = self._topics[partition.topic].take, partition.partition
            for records in fetched.slices(_SLICE):
                for record in records:
                    take(number, record)
                if loop.time() - began > _SLICE_S:
                    await asyncio.sleep(0)
                    began = loop.time()
            self._positions[partition] = fetched.next_offset

    def _note(self, current_ms: Mapping[TopicPartition, int]) -> None:
        self._current_ms |= current_ms
        known = self._current_ms
        if known.keys() >= self._first:
            self.as_of_ms = min(known[each] for each in self._first)
        self.is_complete = self.is_complete or known.keys() >= self._positions.keys()
        following.check_age(self.as_of_ms)
