"""The progress of the pipeline, by its committed offsets: facts from the broker, not from the worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupLoadInProgressError, KafkaError

from segops.config import Settings
from segops.core.links import is_waiting
from segops.schemas.state import decode_profile
from segops.streaming.partition.clock import NO_CLOCK, PartitionClock
from segops.streaming.partition.marks import split_mark

_POLL_MS: Final = 500

Offsets = Mapping[TopicPartition, int]


class Progress:
    """Compares the group's committed offsets with the ends of the topics.

    ``events`` of the input are durably applied, ``lag`` records are not, and every partition has reached
    ``clock_ms`` (0: unknown).
    """

    def __init__(self, settings: Settings, admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer) -> None:
        self.events = 0
        self.lag = 0
        self.clock_ms = 0
        self.position: tuple[int, ...] = ()
        self._known = False
        self._admin = admin
        self._consumer = consumer
        self._group = settings.worker.app_id
        self._count = settings.topics.partitions
        self._input = _partitions(settings.topics.events, self._count)
        self._applied = _partitions(settings.topics.profile_events, self._count)
        self._changelog = _partitions(settings.worker.changelog, self._count)
        self._due: dict[bytes, int | None] = {}

    async def look(self) -> None:
        """Update the figures. While the broker cannot answer, the pipeline counts as not caught up."""
        try:
            await self._look()
            self._known = True
        except KafkaError as error:
            if not error.retriable:  # retriable while a fresh broker creates its offsets topic
                raise
            self._known = False

    async def _look(self) -> None:
        # The input first, and for each topic its end before its commits: once all input is committed, the
        # forwarded records are in the next topic, so that a lag of 0 there is final.
        resolved, waiting, _ = await self._lag_of(self._input)
        _, unapplied, clocks = await self._lag_of(self._applied)
        self.lag = waiting + unapplied
        self.events = max(self.events, resolved - unapplied)
        self.clock_ms = max(self.clock_ms, min(clocks, default=0))
        self.position = (resolved, unapplied, self.clock_ms)

    async def _lag_of(self, partitions: list[TopicPartition]) -> tuple[int, int, list[int]]:
        ends: Offsets = await self._consumer.end_offsets(partitions)
        committed = await self._admin.list_consumer_group_offsets(self._group, partitions=partitions)
        if not committed.keys() >= set(partitions):  # the client ignores an error of the whole answer
            raise GroupLoadInProgressError
        offsets = {each: max(0, committed[each].offset) for each in partitions}
        clocks = [self._clock_ms(committed[each].metadata or "") for each in partitions]
        lag = sum(max(0, ends[each] - offsets[each]) for each in partitions)
        return sum(offsets.values()), lag, clocks

    def _clock_ms(self, metadata: str) -> int:
        clock = PartitionClock(sources=self._count, processors=self._count, by_events=True)
        clock.load(split_mark(metadata)[0])
        return clock.now_ms

    async def caught_up(self) -> bool:
        """Tell whether every record was committed at the last update."""
        return self._known and self.lag == 0

    async def all_evaluated(self, until_ms: int) -> bool:
        """Tell whether it has caught up and no profile has a timer due by ``until_ms``."""
        return await self.caught_up() and await self.nothing_due(until_ms)

    async def nothing_due(self, until_ms: int) -> bool:
        """Tell whether no stored profile has a timer due by ``until_ms``.

        A profile is written to the changelog after its changes were acknowledged, so all changes up to that
        instant are then in their topic.
        """
        if not self._consumer.assignment():
            self._consumer.assign(self._changelog)
            await self._consumer.seek_to_beginning(*self._changelog)
        self._consumer.resume(*self._changelog)
        ends: Offsets = await self._consumer.end_offsets(self._changelog)
        states: dict[bytes, bytes | None] = {}
        while [each for each in ends if await self._consumer.position(each) < ends[each]]:
            for records in (await self._consumer.getmany(timeout_ms=_POLL_MS)).values():
                states |= {r.key: r.value for r in records if not r.key.startswith(b"\0")}
        self._consumer.pause(*self._changelog)
        self._due |= {profile: _due_ms(state) for profile, state in states.items()}
        return all(due_ms is None or due_ms > until_ms for due_ms in self._due.values())


def _due_ms(state: bytes | None) -> int | None:
    if state is None:
        return None
    profile = decode_profile(state)
    return NO_CLOCK if is_waiting(profile) else profile.due_ms


def _partitions(topic: str, count: int) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in range(count)]
