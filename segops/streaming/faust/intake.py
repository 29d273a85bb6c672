"""Fetched records on their way to the agents, in batches with a bounded number in flight.

An aiokafka consumer sends no fetch request to a broker while it still buffers records of that broker, and one
request covers all partitions there. The intake therefore drains the buffers at once. Otherwise a partition
with a busy agent would delay all others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from aiokafka import TopicPartition

from segops.kafka.batches import Fetched
from segops.kafka.native_batches import READER
from segops.schemas.records import Record

BATCH_RECORDS: Final = 250
#: Records of a topic in flight above which its agent gets no further batch.
MAX_IN_FLIGHT: Final = 500
#: Both are so many times as large where the kernel reads records: it applies them faster still.
NATIVE_TIMES: Final = 4


class Intake:
    """Fetched records that no agent has finished yet; at most one fetch per partition waits."""

    def __init__(self) -> None:
        #: The next batch of each partition, and the batches after it.
        self._waiting: dict[TopicPartition, tuple[Sequence[Record], Iterator[Sequence[Record]]]] = {}
        self._topic_in_flight: Counter[str] = Counter()
        self._in_flight: Counter[TopicPartition] = Counter()

    def accepting(self, active: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Return the partitions of ``active`` whose next fetch can be added."""
        return {partition for partition in active if partition not in self._waiting}

    def add(self, partition: TopicPartition, fetched: Fetched) -> None:
        """Add the records of one fetch of an accepting partition."""
        self._queue(partition, fetched.slices(_times() * BATCH_RECORDS))

    def _queue(self, partition: TopicPartition, slices: Iterator[Sequence[Record]]) -> None:
        records = next(slices, None)
        if records:
            self._waiting[partition] = (records, slices)  # behind the others

    def hand_out(self) -> Iterator[tuple[TopicPartition, Sequence[Record]]]:
        """Yield batches for agents below their limit, one per partition, counting each as in flight."""
        limit = _times() * MAX_IN_FLIGHT
        for partition in list(self._waiting):
            if self._topic_in_flight[partition.topic] < limit:
                records, slices = self._waiting.pop(partition)
                self._queue(partition, slices)
                self._topic_in_flight[partition.topic] += len(records)
                self._in_flight[partition] += len(records)
                yield partition, records

    def finished(self, partition: TopicPartition, records: int) -> None:
        """Record that an agent has finished a batch of this many records."""
        self._topic_in_flight[partition.topic] -= records
        self._in_flight[partition] -= records

    def busy(self, topic: str) -> bool:
        """Return whether a fetched record of this topic is unfinished."""
        waits = any(partition.topic == topic for partition in self._waiting)
        return self._topic_in_flight[topic] > 0 or waits

    def holds(self, partition: TopicPartition) -> bool:
        """Return whether a fetched record of this partition is unfinished."""
        return self._in_flight[partition] > 0 or partition in self._waiting

    def clear(self) -> None:
        """Discard everything: the next owner of the partitions fetches it again."""
        self._waiting.clear()
        self._topic_in_flight.clear()
        self._in_flight.clear()


def _times() -> int:
    return NATIVE_TIMES if READER.uses_kernel else 1
