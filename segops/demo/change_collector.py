"""What a subscriber sees: every membership change, and the compacted state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from segops.config import Settings
from segops.core.events import Change
from segops.kafka.clients import running_consumer
from segops.schemas.changes import decode_change

_POLL_MS: Final = 200
_MAX_RECORDS: Final = 10_000
_PAUSE_S: Final = 0.1
_FIELDS: Final = tuple(field for field in Change.__struct_fields__ if field != "evaluated_at")
_said: Final = attrgetter(*_FIELDS)


class ChangeCollector:
    """Reads ``membership.changes`` from its beginning, and keeps each change once, by its ``change_id``.

    ``duplicates`` counts those that came again, ``conflicts`` those that came again and were different.
    """

    def __init__(
        self, settings: Settings, consumer: AIOKafkaConsumer, on_change: Callable[[Change], None]
    ) -> None:
        self.changes: dict[str, Change] = {}
        self.duplicates = 0
        self.conflicts: list[tuple[Change, Change]] = []
        self._consumer = consumer
        self._on_change = on_change
        topics = settings.topics
        self._places = _places(topics.membership_changes, topics.partitions)

    async def listen(self) -> None:
        """Take in changes as they come, without end."""
        self._consumer.assign(self._places)
        await self._consumer.seek_to_beginning(*self._places)
        while True:
            await self._take()
            # A live view has time, and the machine belongs to the worker: between two looks nothing is
            # fetched, also where a broker answers at once that there is nothing.
            self._consumer.pause(*self._places)
            await asyncio.sleep(_PAUSE_S)
            self._consumer.resume(*self._places)

    async def _take(self) -> None:
        found = await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=_MAX_RECORDS)
        for records in found.values():
            for record in records:
                self.note(decode_change(record.value))

    def note(self, change: Change) -> None:
        """Take in one change."""
        former = self.changes.setdefault(change.change_id, change)
        if former is change:
            self._on_change(change)
            return
        self.duplicates += 1
        if not same(former, change):
            self.conflicts.append((former, change))

    async def catch_up(self) -> None:
        """Read on to the topic's end of now. ``listen`` must have stopped."""
        self._consumer.resume(*self._places)
        ends: Mapping[TopicPartition, int] = await self._consumer.end_offsets(self._places)
        while [place for place in self._places if await self._consumer.position(place) < ends[place]]:
            await self._take()
        self._consumer.pause(*self._places)


async def read_state(settings: Settings) -> dict[bytes, Change]:
    """``membership.state`` as it is now: the latest row of each ``profile|segment``."""
    places = _places(settings.topics.membership_state, settings.topics.partitions)
    rows: dict[bytes, Change] = {}
    async with running_consumer(settings.kafka, isolation_level="read_committed") as consumer:
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends: Mapping[TopicPartition, int] = await consumer.end_offsets(places)
        while [place for place in places if await consumer.position(place) < ends[place]]:
            found = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_MAX_RECORDS)
            for record in (record for records in found.values() for record in records):
                if record.value is None:
                    rows.pop(record.key, None)
                else:
                    rows[record.key] = decode_change(record.value)
    return rows


def same(one: Change, other: Change) -> bool:
    """Whether two changes agree in everything but when they were worked off."""
    return bool(_said(one) == _said(other))


def differing(one: Change, other: Change) -> list[str]:
    """The fields in which two changes differ, ``evaluated_at`` left out."""
    return [field for field in _FIELDS if getattr(one, field) != getattr(other, field)]


def _places(topic: str, count: int) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in range(count)]
