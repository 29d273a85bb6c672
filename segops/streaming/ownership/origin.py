"""The start positions of an assignment, and the check that its topics are those that the state came from.

An offset is valid in one topic only. A state names its topics, and each topic is identified by the last
record that was read from it (``marks``): committed with each offset, and stored with the state. Where that
record has expired, a committed offset is sufficient proof, since a broker deletes it together with its
topic.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, Protocol
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, TopicPartition

from segops.config import Settings
from segops.core.errors import UserError
from segops.kafka.positions import CommittedPosition, LogPartition, Positions
from segops.schemas.origin import Mark, Origin, decode_origin
from segops.schemas.owner import Owner
from segops.schemas.positions import decode_positions
from segops.stores.base import ProfileStore
from segops.streaming.durability.restorer import read_offset
from segops.streaming.ownership.owner import REMEDIES
from segops.streaming.partition.marks import mark_of, split_mark
from segops.streaming.partition.snapshot import ORIGIN_META, POSITIONS_META, SOURCE_META

log = logging.getLogger(__name__)

_POLL_MS: Final = 200


class Offsets(Protocol):
    """The methods used of the group's consumer."""

    async def committed(
        self, partitions: Iterable[LogPartition]
    ) -> dict[LogPartition, CommittedPosition]: ...
    async def beginnings(self, partitions: Iterable[LogPartition]) -> dict[LogPartition, int]: ...
    async def ends(self, partitions: Iterable[LogPartition]) -> dict[LogPartition, int]: ...


class _Logs(NamedTuple):
    """The first and end offsets of the logs, and the committed positions of the group."""

    begins: Mapping[LogPartition, int]
    ends: Mapping[LogPartition, int]
    committed: Mapping[LogPartition, CommittedPosition]


class Starts(NamedTuple):
    """Where partitions go on; ``lost``: what the group has committed where Kafka lost an offset."""

    positions: dict[LogPartition, CommittedPosition]
    lost: dict[LogPartition, CommittedPosition | None]

    @property
    def committed(self) -> Positions:
        """The positions that need not be committed again."""
        known = {**self.positions, **self.lost}
        return {partition: at for partition, at in known.items() if at is not None}


def lost_offsets(
    stores: Mapping[int, ProfileStore], committed: Positions
) -> dict[LogPartition, CommittedPosition]:
    """Return the positions that a transaction committed and Kafka lost (``schemas.positions``).

    They are those of the last transaction of a partition, where the group is still at the offset before.
    """
    found = {}
    for number, store in stores.items():
        for topic, move in decode_positions(store.meta(POSITIONS_META) or b"{}").items():
            partition = (topic, number)
            at = committed.get(partition)
            if (None if at is None else at.offset) == move.before != move.offset:
                log.warning("%s:%d: Kafka lost a committed offset: reading on at %d", *partition, move.offset)
                found[partition] = CommittedPosition(move.offset, move.metadata)
    return found


class OriginCheck:
    """Compares state and topics. ``lost`` is called with a topic and its number of records deleted unread."""

    def __init__(
        self,
        settings: Settings,
        owner: Owner,
        consumer: Callable[..., AIOKafkaConsumer],
        lost: Callable[[str, int], None],
    ) -> None:
        self._settings = settings
        self._owner = owner
        self._consumer = consumer
        self._lost = lost

    def is_stale(self, store: ProfileStore) -> bool:
        """Return whether its state is older than the last decision to start fresh."""
        origin = origin_of(store)
        return self._owner.generation > (0 if origin is None else origin.generation)

    def new_origin(self, *, sweep_until: int = 0) -> Origin:
        """Return the origin of a new state, or of one that has none recorded."""
        topics, app_id = self._settings.topics, self._settings.worker.app_id
        return Origin(
            app_id,
            topics.prefix,
            topics.partitions,
            uuid4().hex,
            self._owner.generation,
            sweep_until=sweep_until,
        )

    def check_names(self, number: int, store: ProfileStore) -> None:
        """Raise UserError if the state of a partition belongs to other topics or another application."""
        origin, expected = origin_of(store), self.new_origin()
        if origin is None:
            return
        if (origin.prefix, origin.partitions) != (expected.prefix, expected.partitions):
            raise UserError(
                f"the stored profiles of {origin.app_id} (partition {number}) belong to the topics "
                f"{origin.prefix}* with {origin.partitions} partitions, not to {expected.prefix}* with "
                f"{expected.partitions}. {REMEDIES}"
            )
        if origin.app_id != expected.app_id:
            raise UserError(
                f"the data folder holds the profiles of the application {origin.app_id}, not of "
                f"{expected.app_id}: choose another folder (SEGOPS_DATA_DIR), or empty it"
            )

    async def is_replaced(self, partition: LogPartition, group: Offsets) -> bool:
        """Return whether a topic was replaced since the group committed an offset of it."""
        committed = await group.committed([partition])
        logs = _Logs(await group.beginnings([partition]), await group.ends([partition]), committed)
        try:
            await self._check_marks(self._marks({}, logs), logs, group)
        except UserError as error:
            log.warning("reading %s:%d from the beginning: %s", *partition, error)
            return True
        return False

    async def starts(
        self,
        partitions: list[LogPartition],
        stores: Mapping[int, ProfileStore],
        group: Offsets,
        fresh: Positions,
    ) -> Starts:
        """Return the start position of each partition. ``fresh``: positions that were just committed.

        Raises UserError if a topic was replaced, or if unread records were deleted.
        """
        for number, store in stores.items():
            self.check_names(number, store)
        committed = {**await group.committed(partitions), **fresh}
        lost = lost_offsets(stores, committed)
        known = {**committed, **lost}
        logs = _Logs(await group.beginnings(partitions), await group.ends(partitions), known)
        await self._check_marks(self._marks(stores, logs), logs, group)
        starts = {partition: self._start(partition, logs) for partition in partitions}
        return Starts(starts, {partition: committed.get(partition) for partition in lost})

    def _start(self, partition: LogPartition, logs: _Logs) -> CommittedPosition:
        begin = logs.begins[partition]
        position = logs.committed.get(partition, CommittedPosition(begin, ""))
        if position.offset >= begin:
            return position
        if position.metadata:  # else none of its records were read so far
            self._report_lost(partition, begin - position.offset, begin)
        return CommittedPosition(begin, position.metadata)

    def _report_lost(self, partition: LogPartition, records: int, begin: int) -> None:
        where = f"{partition[0]}:{partition[1]}: {records} records up to {begin - 1}"
        text = f"{where} were deleted before they were read"
        if self._settings.worker.on_lost_records == "stop":
            raise UserError(f"{text}; SEGOPS_ON_LOST_RECORDS=continue skips them")
        log.error(text)
        self._lost(partition[0], records)

    def _marks(self, stores: Mapping[int, ProfileStore], logs: _Logs) -> list[tuple[LogPartition, Mark]]:
        """Return the marks to compare. Raises UserError if a log ends before the offset read."""
        marks: list[tuple[LogPartition, Mark]] = []
        for partition, position in logs.committed.items():
            _check_length(partition, position.offset, logs)
            mark = split_mark(position.metadata)[1]
            marks += [] if mark is None else [(partition, mark)]
        for number, store in stores.items():
            partition = (self._settings.topics.profile_events, number)
            _check_length(partition, read_offset(store, SOURCE_META) or 0, logs)
            mark = self._mark_of_state(partition, store, logs)
            marks += [] if mark is None or (partition, mark) in marks else [(partition, mark)]
        return marks

    def _mark_of_state(self, partition: LogPartition, store: ProfileStore, logs: _Logs) -> Mark | None:
        origin = origin_of(store)
        if origin is not None:
            return origin.mark
        # The state of an earlier version. Brokers delete committed offsets together with their topic.
        if partition not in logs.committed and store.profile_ids(None, 1):
            self._require_acceptance(
                f"the stored profiles do not record their topics, and no offset of "
                f"{partition[0]}:{partition[1]} is committed"
            )
        return None

    def _require_acceptance(self, text: str) -> None:
        """Raise UserError unless the operator has accepted the topics."""
        if not self._settings.accept_topics:
            raise UserError(
                f"{text}: cannot verify that the stored profiles came from this topic. If they did, confirm "
                f"it once with `segops worker --accept-topics`. {REMEDIES}"
            )
        log.warning("%s: topic accepted by --accept-topics", text)

    async def _check_marks(
        self, marks: Iterable[tuple[LogPartition, Mark]], logs: _Logs, group: Offsets
    ) -> None:
        comparable = []
        for partition, mark in marks:
            _check_length(partition, mark.offset + 1, logs)
            if mark.offset >= logs.begins[partition]:
                comparable.append((partition, mark))
            elif partition not in logs.committed:
                self._expired(partition, mark, logs.begins[partition])
        different = [(partition, mark) async for partition, mark in self._different(comparable)]
        if different:  # unless the record has expired meanwhile
            begins = await group.beginnings([partition for partition, _ in different])
            for partition, mark in different:
                if mark.offset >= begins[partition]:
                    raise UserError(_replaced_text(partition, mark))

    def _expired(self, partition: LogPartition, mark: Mark, begin: int) -> None:
        where = f"{partition[0]}:{partition[1]}"
        gap = begin - mark.offset - 1
        unread = f", and {gap} records after it may not have been read" if gap else ""
        self._require_acceptance(
            f"no offset of {where} is committed any more, and the record at offset {mark.offset}, the last "
            f"one that was applied, has expired{unread}"
        )

    async def _different(self, marks: list[tuple[LogPartition, Mark]]) -> Any:
        """Yield the marks whose offsets now hold another record, or none."""
        if not marks:
            return
        # Records of aborted transactions count as well: they, too, show that the log is another one.
        consumer = self._consumer(isolation_level="read_uncommitted")
        try:
            await consumer.start()
            consumer.assign({TopicPartition(*partition) for partition, _ in marks})
            for partition, mark in marks:
                if await _mark_at(consumer, TopicPartition(*partition), mark.offset) != mark:
                    yield partition, mark
        finally:
            await consumer.stop()


async def _mark_at(consumer: AIOKafkaConsumer, partition: TopicPartition, offset: int) -> Mark | None:
    consumer.seek(partition, offset)
    # By position: a transaction marker occupies an offset without a record.
    while await consumer.position(partition) <= offset:
        found: list[Any] = (await consumer.getmany(partition, timeout_ms=_POLL_MS, max_records=1)).get(
            partition, []
        )
        if found:
            return mark_of(found[0]) if found[0].offset == offset else None
    return None


def origin_of(store: ProfileStore) -> Origin | None:
    """Return the origin of a store's state, None if it is not recorded. Raises StateError when unreadable."""
    data = store.meta(ORIGIN_META)
    return decode_origin(data) if data else None


def _check_length(partition: LogPartition, read: int, logs: _Logs) -> None:
    if read > logs.ends[partition]:
        raise UserError(
            f"{partition[0]}:{partition[1]} ends at {logs.ends[partition]}, but was read up to {read}: it "
            f"was recreated or truncated, and the stored profiles do not match it. {REMEDIES}"
        )


def _replaced_text(partition: LogPartition, mark: Mark) -> str:
    return (
        f"{partition[0]}:{partition[1]} holds another record at offset {mark.offset} than the one that was "
        f"read: the topic was recreated, and has grown beyond that offset. The stored profiles would miss "
        f"records of it. {REMEDIES}"
    )
