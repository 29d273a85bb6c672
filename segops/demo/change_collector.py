"""The consumer's view: every membership change, and the compacted state."""

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
_compared: Final = attrgetter(*_FIELDS)


class ChangeCollector:
    """Reads ``membership.changes`` from its beginning and keeps each change once, by its ``change_id``.

    ``duplicates`` counts repeated changes; ``conflicts`` holds repeated changes that differ from the first.
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
        self._partitions = _partitions(topics.membership_changes, topics.partitions)

    async def listen(self) -> None:
        """Collect changes as they arrive. Runs until cancelled."""
        self._consumer.assign(self._partitions)
        await self._consumer.seek_to_beginning(*self._partitions)
        while True:
            await self._take()
            # The machine belongs to the worker: fetch nothing between two polls, even if the broker answers
            # an empty fetch at once.
            self._consumer.pause(*self._partitions)
            await asyncio.sleep(_PAUSE_S)
            self._consumer.resume(*self._partitions)

    async def _take(self) -> None:
        found = await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=_MAX_RECORDS)
        for records in found.values():
            for record in records:
                self.note(decode_change(record.value))

    def note(self, change: Change) -> None:
        """Collect one change."""
        former = self.changes.setdefault(change.change_id, change)
        if former is change:
            self._on_change(change)
            return
        self.duplicates += 1
        if not same(former, change):
            self.conflicts.append((former, change))

    async def catch_up(self) -> None:
        """Read on to the current end of the topic. ``listen`` must have stopped."""
        self._consumer.resume(*self._partitions)
        ends: Mapping[TopicPartition, int] = await self._consumer.end_offsets(self._partitions)
        while [each for each in self._partitions if await self._consumer.position(each) < ends[each]]:
            await self._take()
        self._consumer.pause(*self._partitions)


async def read_state(settings: Settings) -> dict[bytes, Change]:
    """Read ``membership.state`` to its current end: the latest row per ``profile|segment``."""
    partitions = _partitions(settings.topics.membership_state, settings.topics.partitions)
    rows: dict[bytes, Change] = {}
    async with running_consumer(settings.kafka, isolation_level="read_committed") as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends: Mapping[TopicPartition, int] = await consumer.end_offsets(partitions)
        while [each for each in partitions if await consumer.position(each) < ends[each]]:
            found = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_MAX_RECORDS)
            for record in (record for records in found.values() for record in records):
                if record.value is None:
                    rows.pop(record.key, None)
                else:
                    rows[record.key] = decode_change(record.value)
    return rows


def same(one: Change, other: Change) -> bool:
    """Tell whether two changes agree in every field except ``evaluated_at``."""
    return bool(_compared(one) == _compared(other))


def differing(one: Change, other: Change) -> list[str]:
    """Return the fields in which two changes differ, except ``evaluated_at``."""
    return [field for field in _FIELDS if getattr(one, field) != getattr(other, field)]


def _partitions(topic: str, count: int) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in range(count)]
