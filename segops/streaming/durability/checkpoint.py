"""The checkpoint: the only way in which work becomes durable.

Every path that commits (timer, record bound, rebalance, shutdown) runs ``Checkpointer.run``. It first takes a
snapshot of each partition, so that processors may continue with new batches while the snapshot is encoded and
acknowledgements are awaited. Then, at least once (``AtLeastOnce``):

1. membership changes, forwarded events, dead letters and ticks are acknowledged,
2. the changelog is acknowledged: one record per changed profile, then the definitions if they changed,
3. the store of each partition is written at once: states, due index, changelog offset and source offset,
4. the source offsets are committed, each with its clock as metadata.

Exactly once (``ExactlyOnce``), for each partition separately and for all concurrently:

1. and 2. as above, within the transaction of the partition,
3. the source offsets, each with its clock, join the transaction, and it is committed,
4. the store of the partition is written.

There the store is written after the commit, because a store write cannot be rolled back: a store with states
of an aborted transaction would be ahead of its changelog, and recovery only ever adds. If the process dies in
between, the store is behind, and recovery reads the rest from the changelog offset in the store.

Any failure leaves the offsets uncommitted. The caller then stops the process, because its memory may be
ahead of the durable state.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from segops.config import TopicSettings
from segops.kafka.positions import CommittedPosition, LogPartition, Positions
from segops.schemas.positions import Move, encode_positions
from segops.streaming.durability.transactions import Transaction
from segops.streaming.failpoints import Failpoints
from segops.streaming.partition.control import ControlProcessor
from segops.streaming.partition.marks import with_mark
from segops.streaming.partition.resolve import ResolveProcessor
from segops.streaming.partition.segment import SegmentProcessor
from segops.streaming.partition.snapshot import POSITIONS_META, PartitionSnapshot
from segops.streaming.publishers import BatchProducer, log_states

Commit = Callable[[Positions], Awaitable[None]]


class _ProcessorSnapshot(NamedTuple):
    processor: SegmentProcessor
    snapshot: PartitionSnapshot


class Durable(NamedTuple):
    """The result of a checkpoint: the input records it made durable, and its duration."""

    records: int
    seconds: float


class Checkpointer(ABC):
    """Takes checkpoints of the partitions of one assignment, one at a time.

    ``processors``, ``sources`` and ``controls`` are by partition number.
    """

    def __init__(
        self,
        topics: TopicSettings,
        changelog_topic: str,
        *,
        processors: Mapping[int, SegmentProcessor],
        sources: Mapping[int, ResolveProcessor],
        controls: Mapping[int, ControlProcessor],
        failpoints: Failpoints,
    ) -> None:
        self._topics = topics
        self._changelog_topic = changelog_topic
        self._processors = processors
        self._sources = sources
        self._controls = controls
        self._failpoints = failpoints
        self._committed: dict[LogPartition, CommittedPosition] = {}
        self._failure: BaseException | None = None
        self._ended = False
        self._lock = asyncio.Lock()

    def committed(self, positions: Positions) -> None:
        """Note positions that are already committed and need not be committed again."""
        self._committed.update(positions)

    async def run(self, *, last: bool = False) -> Durable:
        """Make everything processed before this call durable. Raises the error of the step that failed.

        Cancelling the caller does not interrupt it. After a failure every call raises the same error. After
        the ``last`` checkpoint every call does nothing, including one that was already waiting.
        """
        return await asyncio.shield(asyncio.ensure_future(self._run_alone(last=last)))

    async def _run_alone(self, *, last: bool) -> Durable:
        async with self._lock:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return Durable(0, 0.0)
            self._ended = last
            started = time.perf_counter()
            try:
                records = await self._run()
            except BaseException as error:
                self._failure = error
                raise
            return Durable(records, time.perf_counter() - started)

    @abstractmethod
    async def _run(self) -> int:
        """Take a checkpoint; return how many input records it made durable."""

    def _changed(self, positions: Positions) -> Positions:
        return {partition: at for partition, at in positions.items() if self._committed.get(partition) != at}

    def _source_position(self, number: int) -> Positions:
        processor, control = self._sources[number], self._controls[number]
        return {
            (self._topics.events, number): CommittedPosition(
                processor.offset, with_mark(processor.metadata, processor.mark)
            ),
            (self._topics.control, number): CommittedPosition(control.offset, with_mark("", control.mark)),
        }

    def _segment_position(self, number: int, snapshot: PartitionSnapshot) -> Positions:
        metadata = with_mark(snapshot.metadata, snapshot.mark)
        return {(self._topics.profile_events, number): CommittedPosition(snapshot.offset, metadata)}


async def _encode(snapshot: PartitionSnapshot) -> None:
    """Encode a snapshot in slices, so that events need not wait for all of it."""
    while snapshot.encode():
        await asyncio.sleep(0)


class AtLeastOnce(Checkpointer):
    """Takes all partitions through the steps together, with one producer.

    ``fence`` raises when this process may no longer own its partitions.
    """

    def __init__(
        self,
        topics: TopicSettings,
        changelog_topic: str,
        *,
        processors: Mapping[int, SegmentProcessor],
        sources: Mapping[int, ResolveProcessor],
        controls: Mapping[int, ControlProcessor],
        failpoints: Failpoints,
        outputs: BatchProducer,
        changelog: BatchProducer,
        commit: Commit,
        fence: Callable[[], None],
    ) -> None:
        super().__init__(
            topics,
            changelog_topic,
            processors=processors,
            sources=sources,
            controls=controls,
            failpoints=failpoints,
        )
        self._outputs = outputs
        self._changelog = changelog
        self._commit = commit
        self._fence = fence

    async def _run(self) -> int:
        positions: dict[LogPartition, CommittedPosition] = {}
        for number in self._sources:
            positions.update(self._source_position(number))
        snapshots = await self._snapshot()
        await self._outputs.settle()  # 1
        self._failpoints.passed("after_output_ack")
        self._fence()
        await self._write_changelog(snapshots)  # 2
        self._failpoints.passed("after_changelog_ack")
        await self._write_stores(snapshots)  # 3
        self._failpoints.passed("after_store_write")
        for number, taken in snapshots.items():
            positions.update(self._segment_position(number, taken.snapshot))
        await self._commit_changed(self._changed(positions))  # 4
        self._failpoints.passed("after_offset_commit")
        for taken in snapshots.values():
            taken.processor.committed()
        return sum(taken.snapshot.records for taken in snapshots.values())

    async def _snapshot(self) -> dict[int, _ProcessorSnapshot]:
        snapshots = {
            number: _ProcessorSnapshot(processor, processor.snapshot())
            for number, processor in self._processors.items()
        }
        for taken in snapshots.values():
            await _encode(taken.snapshot)
        return snapshots

    async def _write_changelog(self, snapshots: dict[int, _ProcessorSnapshot]) -> None:
        for partition, taken in snapshots.items():
            await log_states(self._changelog, (self._changelog_topic, partition), taken.snapshot.logged)
        await self._changelog.settle()

    async def _write_stores(self, snapshots: dict[int, _ProcessorSnapshot]) -> None:
        acknowledged = self._changelog.acknowledged
        for partition, taken in snapshots.items():
            taken.processor.write(taken.snapshot, acknowledged.get((self._changelog_topic, partition)))
            await asyncio.sleep(0)

    async def _commit_changed(self, changed: Positions) -> None:
        if changed:
            await self._commit(changed)
            self.committed(changed)


class ExactlyOnce(Checkpointer):
    """Commits one transaction per partition, all of them concurrently."""

    def __init__(
        self,
        topics: TopicSettings,
        changelog_topic: str,
        *,
        processors: Mapping[int, SegmentProcessor],
        sources: Mapping[int, ResolveProcessor],
        controls: Mapping[int, ControlProcessor],
        failpoints: Failpoints,
        transactions: Mapping[int, Transaction],
    ) -> None:
        super().__init__(
            topics,
            changelog_topic,
            processors=processors,
            sources=sources,
            controls=controls,
            failpoints=failpoints,
        )
        self._transactions = transactions

    async def _run(self) -> int:
        commits = []
        for number in list(self._transactions):
            commits.append(self._cut(number))
            await asyncio.sleep(0)  # lets the commits that have started proceed
        return sum(await asyncio.gather(*commits))

    def _cut(self, number: int) -> asyncio.Future[int]:
        # No await here: offsets, states and outputs must be of the same instant.
        snapshot = self._processors[number].snapshot()
        positions = {**self._source_position(number), **self._segment_position(number, snapshot)}
        self._transactions[number].outputs.cut()
        return asyncio.ensure_future(self._commit(number, snapshot, self._changed(positions)))

    async def _commit(self, number: int, snapshot: PartitionSnapshot, positions: Positions) -> int:
        changelog = (self._changelog_topic, number)
        if positions:
            snapshot.meta[POSITIONS_META] = encode_positions(self._moves(positions))
        await _encode(snapshot)
        offset = await self._transactions[number].commit(changelog, snapshot.logged, positions)  # 1 to 3
        self.committed(positions)
        self._processors[number].write(snapshot, offset)  # 4
        self._processors[number].committed()
        if len(snapshot.profiles):
            self._failpoints.passed("after_store_write")
        return snapshot.records

    def _moves(self, positions: Positions) -> dict[str, Move]:
        """Return what these positions change, by topic: Kafka may lose them, but not the changelog."""
        moves = {}
        for partition, at in positions.items():
            former = self._committed.get(partition)
            moves[partition[0]] = Move(None if former is None else former.offset, at.offset, at.metadata)
        return moves
