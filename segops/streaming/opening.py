"""Making the lanes of an assignment: stores restored, clocks and offsets as committed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from aiokafka import AIOKafkaConsumer

from segops.config import Settings
from segops.core.engine import Engine
from segops.metrics import Metrics
from segops.schemas.events import IdentityLimits, route
from segops.stores.base import ProfileStore
from segops.streaming.checkpoint import Checkpointer, Owned, Position, Positions, Topics, Ways
from segops.streaming.clock import PartitionClock
from segops.streaming.connections import SESSION_TIMEOUT_MS
from segops.streaming.crash import CrashPoints
from segops.streaming.lane import SegmentLane, Start
from segops.streaming.outlet import KafkaOutlet
from segops.streaming.outputs import ChangePublisher, DeadLetters, Outputs, Producer
from segops.streaming.pulse import Pulse
from segops.streaming.recovery import Disk, Recovery
from segops.streaming.resolve import Forwarding, SourceLane, read_watermark

log = logging.getLogger(__name__)

Place = tuple[str, int]


class Group(Protocol):
    """What the pipeline asks of the group's consumer."""

    async def committed(self, places: Iterable[Place]) -> dict[Place, Position]: ...
    async def commit_positions(self, positions: Positions) -> None: ...
    async def beginnings(self, places: Iterable[Place]) -> dict[Place, int]: ...
    async def at_end(self, place: Place) -> bool: ...
    def log_end(self, place: Place) -> int | None: ...


@dataclass(frozen=True)
class Parts:
    """What a pipeline is made of."""

    metrics: Metrics
    disk: Disk
    changelog_consumer: Callable[[], AIOKafkaConsumer]
    producer: Callable[[], Producer]
    crash: CrashPoints


@dataclass(frozen=True)
class Opened:
    """What belongs to one assignment."""

    lanes: dict[int, SegmentLane]
    sources: dict[int, SourceLane]
    outlets: list[KafkaOutlet]
    checkpointer: Checkpointer


class Opener:
    """Makes lanes; ``outputs`` is where all of them send."""

    def __init__(self, settings: Settings, parts: Parts, changelog: Outputs) -> None:
        topics = settings.topics
        self.outputs = Outputs(parts.producer)
        self.pulse = Pulse(0.9 * SESSION_TIMEOUT_MS / 1000)
        self._settings = settings
        self._parts = parts
        self._changelog = changelog
        self._dead_letters = DeadLetters(
            self.outputs, topic=topics.dead_letters, partitions=topics.partitions
        )
        self._publisher = ChangePublisher(
            self.outputs,
            changes_topic=topics.membership_changes,
            state_topic=topics.membership_state,
            app_id=settings.worker.app_id,
        )
        self._forwarding = self._new_forwarding()

    def _new_forwarding(self) -> Forwarding:
        topics, engine = self._settings.topics, self._settings.engine
        limits = IdentityLimits(max_bytes=engine.max_event_bytes, max_ahead_ms=engine.max_event_ahead_ms)
        return Forwarding(
            route=partial(route, limits=limits),
            outputs=self.outputs,
            dead_letters=self._dead_letters,
            places=[(topics.profile_events, number) for number in range(topics.partitions)],
            event_clock=self._by_events,
        )

    @property
    def _by_events(self) -> bool:
        return self._settings.engine.clock == "event"

    async def open(self, assigned: Iterable[Place], group: Group, engine: Engine) -> Opened:
        """The lanes of these partitions, at what the group committed."""
        topics = self._settings.topics
        places = [place for place in assigned if place[0] in (topics.events, topics.profile_events)]
        starts = await self._starts(places, group)
        numbers = sorted(number for topic, number in places if topic == topics.profile_events)
        stores = await self._restore(numbers)
        outlets = {number: self._outlet(number) for number in numbers}
        lanes = {
            number: SegmentLane(
                stores[number],
                engine,
                start=self._start(number, starts[topics.profile_events, number]),
                outlet=outlets[number],
                bound=self._settings.state.cache_profiles // len(numbers),
            )
            for number in numbers
        }
        sources = {n: self._source(n, starts[topic, n]) for topic, n in places if topic == topics.events}
        checkpointer = self._checkpointer(Owned(lanes, sources), group)
        checkpointer.committed(starts)
        return Opened(lanes, sources, list(outlets.values()), checkpointer)

    async def _starts(self, places: list[Place], group: Group) -> dict[Place, Position]:
        committed = await group.committed(places)
        beginnings = await group.beginnings(places)
        for place, position in committed.items():
            if position.offset < beginnings[place]:
                gone = f"records {position.offset} to {beginnings[place] - 1}"
                log.error("%s:%d: %s were deleted before they were read", *place, gone)
                committed[place] = Position(beginnings[place], position.metadata)
        return {place: committed.get(place, Position(beginnings[place], "")) for place in places}

    async def _restore(self, partitions: list[int]) -> dict[int, ProfileStore]:
        parts, gauge = self._parts, self._parts.metrics.partitions_recovering
        recovery = Recovery(
            self._settings.worker.changelog,
            parts.disk,
            parts.changelog_consumer,
            crash=parts.crash,
            restored=parts.metrics.recovery_records.inc,
        )
        gauge.set(len(partitions))
        try:
            return await recovery.run(partitions)
        finally:
            gauge.set(0)

    def _outlet(self, number: int) -> KafkaOutlet:
        return KafkaOutlet(number, self._publisher, self._dead_letters, self._parts.metrics)

    def _start(self, number: int, start: Position) -> Start:
        clock = PartitionClock(sources=self._settings.topics.partitions, by_events=self._by_events)
        if not clock.load(start.metadata) and start.metadata:
            log.warning("partition %d: its clock was lost and starts anew", number)
        return Start(start.offset, clock)

    def _source(self, number: int, start: Position) -> SourceLane:
        watermark_ms = read_watermark(start.metadata)
        return SourceLane(number, self._forwarding, offset=start.offset, watermark_ms=watermark_ms)

    def _checkpointer(self, owned: Owned, group: Group) -> Checkpointer:
        topics = self._settings.topics
        names = Topics(topics.events, topics.profile_events, self._settings.worker.changelog)
        ways = Ways(self.outputs, self._changelog, group.commit_positions, self.pulse.check)
        return Checkpointer(names, owned, ways, self._parts.crash)
