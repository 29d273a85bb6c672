"""How far the pipeline is, by what it has committed: facts of the broker, whatever the worker says."""

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
    """Looks at the group's commits and the ends of the topics.

    ``events`` of the input are durably applied, ``lag`` records are not, and every partition has reached
    ``clock_ms`` (0: not known yet).
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
        self._input = _places(settings.topics.events, self._count)
        self._applied = _places(settings.topics.profile_events, self._count)
        self._changelog = _places(settings.worker.changelog, self._count)
        self._due: dict[bytes, int | None] = {}

    async def look(self) -> None:
        """Bring the figures up to date. Where the broker cannot say for the moment, all is taken as open."""
        try:
            await self._look()
            self._known = True
        except KafkaError as error:
            if not error.retriable:  # as it is while a fresh broker makes its topic of commits
                raise
            self._known = False

    async def _look(self) -> None:
        # The input first, and of each topic its end before its commits: when all of the input is committed,
        # what it forwarded is in the next topic, so that a lag of 0 there is one for good.
        resolved, waiting, _ = await self._behind(self._input)
        _, unapplied, clocks = await self._behind(self._applied)
        self.lag = waiting + unapplied
        self.events = max(self.events, resolved - unapplied)
        self.clock_ms = max(self.clock_ms, min(clocks, default=0))
        self.position = (resolved, unapplied, self.clock_ms)

    async def _behind(self, places: list[TopicPartition]) -> tuple[int, int, list[int]]:
        ends: Offsets = await self._consumer.end_offsets(places)
        committed = await self._admin.list_consumer_group_offsets(self._group, partitions=places)
        if not committed.keys() >= set(places):  # the client passes over an error of the whole answer
            raise GroupLoadInProgressError
        offsets = {place: max(0, committed[place].offset) for place in places}
        clocks = [self._clock_ms(committed[place].metadata or "") for place in places]
        behind = sum(max(0, ends[place] - offsets[place]) for place in places)
        return sum(offsets.values()), behind, clocks

    def _clock_ms(self, metadata: str) -> int:
        clock = PartitionClock(sources=self._count, processors=self._count, by_events=True)
        clock.load(split_mark(metadata)[0])
        return clock.now_ms

    async def caught_up(self) -> bool:
        """Whether at the last look every record was committed."""
        return self._known and self.lag == 0

    async def all_evaluated(self, until_ms: int) -> bool:
        """Whether that is so, and no profile is left to be judged at an instant up to ``until_ms``."""
        return await self.caught_up() and await self.nothing_due(until_ms)

    async def nothing_due(self, until_ms: int) -> bool:
        """Whether no stored profile has anything left to be judged up to ``until_ms``.

        A profile is written to the changelog after its changes were acknowledged, so this says that
        all changes up to that instant are in their topic.
        """
        if not self._consumer.assignment():
            self._consumer.assign(self._changelog)
            await self._consumer.seek_to_beginning(*self._changelog)
        self._consumer.resume(*self._changelog)
        ends: Offsets = await self._consumer.end_offsets(self._changelog)
        states: dict[bytes, bytes | None] = {}
        while [place for place in ends if await self._consumer.position(place) < ends[place]]:
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


def _places(topic: str, count: int) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in range(count)]
