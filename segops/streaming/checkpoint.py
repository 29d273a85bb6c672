"""The checkpoint: the one way in which work becomes durable.

Every path that commits (timer, record bound, rebalance, shutdown) runs ``Checkpointer.run``:

1. membership changes, forwarded events, dead letters and ticks are acknowledged,
2. the changelog is: one record per profile that changed,
3. the store of each partition takes one write: states, due index, changelog and source offset,
4. the source offsets are committed, each with its clock as metadata.

What is made durable is fixed (``collect``) before step 1, lane by lane, so that lanes may go on with
new batches while acknowledgements are awaited. Any failure leaves the offsets uncommitted; the caller
then stops the process, because what is in memory may be ahead of what is known to be safe.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from segops.streaming.crash import CrashPoints
from segops.streaming.lane import Collected, SegmentLane
from segops.streaming.outputs import Outputs
from segops.streaming.resolve import SourceLane


class Position(NamedTuple):
    """Where to go on in a partition, and what to keep with that."""

    offset: int
    metadata: str


Positions = Mapping[tuple[str, int], Position]
Commit = Callable[[Positions], Awaitable[None]]


class _Part(NamedTuple):
    lane: SegmentLane
    collected: Collected


class Topics(NamedTuple):
    """The topics that a checkpoint is about."""

    events: str
    profile_events: str
    changelog: str


class Durable(NamedTuple):
    """What a checkpoint did."""

    records: int
    seconds: float


@dataclass(frozen=True)
class Owned:
    """The partitions of one assignment, by number."""

    lanes: Mapping[int, SegmentLane]
    sources: Mapping[int, SourceLane]


@dataclass(frozen=True)
class Ways:
    """How things leave: outputs, changelog records, offset commits.

    ``fence`` raises when this process may no longer own its partitions.
    """

    outputs: Outputs
    changelog: Outputs
    commit: Commit
    fence: Callable[[], None]


class Checkpointer:
    """Takes checkpoints of the lanes, one at a time."""

    def __init__(self, topics: Topics, owned: Owned, ways: Ways, crash: CrashPoints) -> None:
        self._topics = topics
        self._lanes = owned.lanes
        self._sources = owned.sources
        self._outputs = ways.outputs
        self._changelog = ways.changelog
        self._commit = ways.commit
        self._fence = ways.fence
        self._crash = crash
        self._committed: dict[tuple[str, int], Position] = {}
        self._failure: BaseException | None = None
        self._lock = asyncio.Lock()

    def committed(self, positions: Positions) -> None:
        """These positions are what is committed now: they need not be committed again."""
        self._committed = dict(positions)

    async def run(self) -> Durable:
        """Make durable all that was processed before this call. Raises whatever went wrong.

        A caller that is cancelled does not stop it half-way; after a failure every call fails.
        """
        return await asyncio.shield(asyncio.ensure_future(self._run_alone()))

    async def _run_alone(self) -> Durable:
        async with self._lock:
            if self._failure is not None:
                raise self._failure
            try:
                return await self._run()
            except BaseException as error:
                self._failure = error
                raise

    async def _run(self) -> Durable:
        started = time.perf_counter()
        positions = self._source_positions()
        collected = await self._collect()
        await self._outputs.settle()  # 1
        self._crash.passed("cp2")
        self._fence()
        await self._write_changelog(collected)  # 2
        self._crash.passed("cp3")
        await self._write_stores(collected)  # 3
        self._crash.passed("cp4")
        positions.update(self._lane_positions(collected))
        await self._commit_changed(positions)  # 4
        self._crash.passed("cp5")
        records = sum(part.collected.records for part in collected.values())
        return Durable(records, time.perf_counter() - started)

    def _source_positions(self) -> dict[tuple[str, int], Position]:
        topic = self._topics.events
        return {
            (topic, source): Position(lane.offset, lane.metadata) for source, lane in self._sources.items()
        }

    async def _collect(self) -> dict[int, _Part]:
        collected = {}
        for partition, lane in list(self._lanes.items()):
            collected[partition] = _Part(lane, lane.collect())
            await asyncio.sleep(0)  # encoding thousands of profiles takes a while
        return collected

    async def _write_changelog(self, collected: dict[int, _Part]) -> None:
        for partition, part in collected.items():
            place = (self._topics.changelog, partition)
            for write in part.collected.writes:
                self._changelog.append(place, key=write.profile_id.encode(), value=write.state)
        await self._changelog.settle()

    async def _write_stores(self, collected: dict[int, _Part]) -> None:
        acknowledged = self._changelog.acknowledged
        for partition, part in collected.items():
            part.lane.write(part.collected, acknowledged.get((self._topics.changelog, partition)))
            await asyncio.sleep(0)

    def _lane_positions(self, collected: dict[int, _Part]) -> Positions:
        topic = self._topics.profile_events
        return {
            (topic, partition): Position(part.collected.offset, part.collected.metadata)
            for partition, part in collected.items()
        }

    async def _commit_changed(self, positions: Positions) -> None:
        changed = {
            place: position for place, position in positions.items() if self._committed.get(place) != position
        }
        if changed:
            await self._commit(changed)
            self._committed.update(changed)
