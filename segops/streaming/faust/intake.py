"""Fetched records on their way to the agents: cut into batches, a bounded number of them at a time.

An aiokafka consumer asks a broker for nothing more while it still holds anything of that broker, and one
request covers all partitions there. Whatever is fetched is therefore taken out at once: else a partition
whose agent has enough to do delays all others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from aiokafka import TopicPartition

from segops.kafka.batches import Fetched
from segops.schemas.records import Record

BATCH_RECORDS: Final = 250
#: With so many of a topic its agent has enough to do: it is given no further batch.
RECORDS_UNDER_WAY: Final = 500


class Intake:
    """What was fetched and is not through an agent yet: of each partition what one fetch brought, at most."""

    def __init__(self) -> None:
        #: The next batch of each partition, and what comes after it.
        self._waiting: dict[TopicPartition, tuple[list[Record], Iterator[list[Record]]]] = {}
        self._under_way: Counter[str] = Counter()
        self._of_place: Counter[TopicPartition] = Counter()

    def wanted(self, active: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Those of these partitions of which more may come."""
        return {place for place in active if place not in self._waiting}

    def add(self, place: TopicPartition, fetched: Fetched) -> None:
        """What one fetch brought of a partition that was wanted."""
        self._cut(place, fetched.slices(BATCH_RECORDS))

    def _cut(self, place: TopicPartition, slices: Iterator[list[Record]]) -> None:
        records = next(slices, None)
        if records:
            self._waiting[place] = (records, slices)  # behind the others

    def hand_out(self) -> Iterator[tuple[TopicPartition, list[Record]]]:
        """Batches for agents with room, the partitions in turn; each counts as under way from here on."""
        for place in list(self._waiting):
            if self._under_way[place.topic] < RECORDS_UNDER_WAY:
                records, slices = self._waiting.pop(place)
                self._cut(place, slices)
                self._under_way[place.topic] += len(records)
                self._of_place[place] += len(records)
                yield place, records

    def finished(self, place: TopicPartition, records: int) -> None:
        """An agent is through with a batch."""
        self._under_way[place.topic] -= records
        self._of_place[place] -= records

    def busy(self, topic: str) -> bool:
        """Whether anything that was fetched of this topic is not through its agent yet."""
        return self._under_way[topic] > 0 or any(place.topic == topic for place in self._waiting)

    def holds(self, place: TopicPartition) -> bool:
        """Whether anything that was fetched of this partition is not through its agent yet."""
        return self._of_place[place] > 0 or place in self._waiting

    def clear(self) -> None:
        """Forget everything: it will be fetched again by whoever owns the partitions then."""
        self._waiting.clear()
        self._under_way.clear()
        self._of_place.clear()
