"""Sweeps over the published memberships: after a fresh start, and after a segment was retired.

After a fresh start, a sweep ends the published memberships that no longer hold.

A partition is compared once it has caught up: all input from before it was opened is forwarded, and the
forwarded records are evaluated. Earlier, the sweep would end memberships that later records establish again.

After a segment was retired and its members have exited, a sweep deletes its rows, also of former members.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition

from segops.config import Settings
from segops.kafka.batches import fetch
from segops.kafka.positions import LogPartition
from segops.streaming.failpoints import Failpoints
from segops.streaming.ownership.origin import Offsets
from segops.streaming.ownership.published import latest_rows, rows_before
from segops.streaming.partition.segment import SegmentProcessor

log = logging.getLogger(__name__)

_LOOK_S: Final = 1.0
_QUIET_S: Final = 0.5
_SLICE: Final = 200


class Group(Offsets, Protocol):
    """The methods used of the group's consumer."""

    def behind(self, partition: LogPartition, offset: int) -> int | None: ...


class SegmentProcessors(Protocol):
    """The methods used of the pipeline."""

    @property
    def processors(self) -> dict[int, SegmentProcessor]: ...
    @property
    def running(self) -> bool: ...
    async def checkpoint(self) -> bool: ...
    async def wait_for_capacity(self) -> None: ...


@dataclass
class _Goal:
    """The end offsets at the first look at a partition, and when all its events were forwarded."""

    events: Mapping[LogPartition, int]
    profile_events: int | None = None


class Sweeper:
    """Compares the state topic with the processors that have a pending sweep."""

    def __init__(
        self, settings: Settings, consumer: Callable[..., AIOKafkaConsumer], failpoints: Failpoints
    ) -> None:
        self._topics = settings.topics
        self._republish = not settings.exactly_once
        self._consumer = consumer
        self._failpoints = failpoints
        self._goals: dict[SegmentProcessor, _Goal] = {}

    async def run(self, pipeline: SegmentProcessors, group: Callable[[], Group]) -> None:
        """Sweep each partition once it has caught up. Runs until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            processors = {
                number: processor
                for number, processor in pipeline.processors.items()
                if processor.sweep_until
            }
            self._goals = {
                processor: goal for processor, goal in self._goals.items() if processor in processors.values()
            }
            for number, processor in processors.items():
                if pipeline.running and await self._caught_up(number, processor, group()):
                    await self._sweep(number, processor, pipeline)
            for number, processor in list(pipeline.processors.items()):
                if pipeline.running and processor.has_retired_rows and not processor.sweep_until:
                    await self._delete_rows(number, processor, pipeline)

    async def _caught_up(self, number: int, processor: SegmentProcessor, group: Group) -> bool:
        goal = self._goals.get(processor)
        if goal is None:
            partitions = [(self._topics.events, each) for each in range(self._topics.partitions)]
            goal = self._goals[processor] = _Goal(await group.ends(partitions))
        partition = (self._topics.profile_events, number)
        if goal.profile_events is None:
            if await self._is_unread(goal.events, group):
                return False
            goal.profile_events = (await group.ends([partition]))[partition]
        passed = processor.offset >= goal.profile_events or group.behind(partition, processor.offset) == 0
        return passed and not (processor.recording or processor.replaying or processor.scanning)

    async def _is_unread(self, ends: Mapping[LogPartition, int], group: Group) -> bool:
        """Return whether there is an uncommitted record before these end offsets."""
        committed, begins = await group.committed(ends), await group.beginnings(ends)
        read = {
            partition: committed[partition].offset if partition in committed else begins[partition]
            for partition in ends
        }
        behind = {
            TopicPartition(*partition): read[partition]
            for partition, end in ends.items()
            if read[partition] < end
        }
        if not behind:
            return False
        consumer = self._consumer()
        try:
            await consumer.start()
            consumer.assign(list(behind))
            for part, offset in behind.items():
                consumer.seek(part, offset)
            return await _finds_any(consumer, {part: ends[part.topic, part.partition] for part in behind})
        finally:
            await consumer.stop()

    async def _sweep(self, number: int, processor: SegmentProcessor, pipeline: SegmentProcessors) -> None:
        def is_open() -> bool:
            return pipeline.running and pipeline.processors.get(number) is processor

        processor.begin_sweep()
        if not await pipeline.checkpoint():  # the changes published before are in the topic now
            return
        partition = (self._topics.membership_state, number)
        found = await rows_before(self._consumer, partition, until=processor.sweep_until)
        rows = iter(found.items())
        count = 0
        while is_open() and (few := list(islice(rows, _SLICE))):
            count += sum(
                processor.withdraw(profile_id, rows, again=self._republish) for profile_id, rows in few
            )
            self._failpoints.passed("during_sweep")
            await pipeline.wait_for_capacity()
        await self._delete_values(number, pipeline, is_open, retired=False)
        if is_open():
            processor.end_sweep()
            log.info("partition %d: ended %d published memberships that no longer held", number, count)

    async def _delete_rows(
        self, number: int, processor: SegmentProcessor, pipeline: SegmentProcessors
    ) -> None:
        """Delete the rows of what is not in force, unless the definitions change meanwhile."""
        version = processor.in_force.version

        def goes_on() -> bool:
            is_open = pipeline.running and pipeline.processors.get(number) is processor
            return is_open and processor.has_retired_rows and processor.in_force.version == version

        if not await pipeline.checkpoint():  # the exits of all members are in the topic now
            return
        partition, count = (self._topics.membership_state, number), 0
        rows = {key async for key, value in latest_rows(self._consumer, partition) if value is not None}
        keys = iter(sorted(rows))
        while few := list(islice(keys, _SLICE)):
            if not goes_on():
                return
            count += processor.delete_retired_rows(few)
            self._failpoints.passed("during_row_deletion")
            await pipeline.wait_for_capacity()
        await self._delete_values(number, pipeline, goes_on, retired=True)
        if not goes_on():  # definitions that came into force meanwhile may lack more
            return
        processor.retired_rows_deleted()
        if count:
            log.info("partition %d: deleted %d rows of retired segments", number, count)

    async def _delete_values(
        self, number: int, pipeline: SegmentProcessors, goes_on: Callable[[], bool], *, retired: bool
    ) -> None:
        """Delete the values of ``retired`` indicators, or all that no profile has, while it ``goes_on``."""
        rows: dict[bytes, bytes | None] = {}
        async for key, value in latest_rows(self._consumer, (self._topics.indicators, number)):
            rows[key] = value
        keys, count = iter(sorted(key for key, value in rows.items() if value is not None)), 0
        while few := list(islice(keys, _SLICE)):
            if not goes_on():
                return
            count += pipeline.processors[number].delete_values(few, retired=retired)
            await pipeline.wait_for_capacity()
        if count:
            log.info("partition %d: deleted %d values of indicators that no longer held", number, count)


async def _finds_any(consumer: Any, ends: Mapping[TopicPartition, int]) -> bool:
    """Return whether there is a record before these end offsets, other than transaction markers."""
    while any([await consumer.position(part) < end for part, end in ends.items()]):
        for part, fetched in await fetch(consumer, _QUIET_S):
            if any(record.offset < ends[part] for record in fetched):
                return True
    return False
