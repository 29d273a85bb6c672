"""Publish records: batches per partition, sent in order, with every delivery awaited."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, Protocol

from segops.config import TopicSettings
from segops.core.events import Change, IndicatorValue
from segops.core.messages import Message
from segops.core.step import Erased
from segops.core.values import format_instant
from segops.kafka.positions import LogPartition
from segops.schemas.changes import encode_change
from segops.schemas.dead_letters import dead_letter
from segops.schemas.erasures import encode_receipt
from segops.schemas.indicators import encode_value, value_key
from segops.schemas.messages import encode_message, name_of
from segops.schemas.quarantine import (
    FOUND_HEADER,
    HANDOVER_MARK,
    ORIGIN_HEADER,
    QUARANTINE_HEADER,
    REASON_HEADER,
)
from segops.schemas.records import Headers, Record, partition_of
from segops.schemas.sizes import Published, RecordKey, encode_published, is_trend, key_of
from segops.schemas.ticks import TYPE_HEADER
from segops.stores.base import Write
from segops.streaming.partition.output import QuarantineRecord


class Producer(Protocol):
    """The methods used of an aiokafka producer."""

    def create_batch(self) -> Any: ...
    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> asyncio.Future[Any]: ...


class BatchProducer:
    """Sends record batches to Kafka, in order per partition.

    ``append`` is synchronous and preserves order; ``flush`` passes batches to the producer; ``settle``
    returns when everything appended before it is acknowledged, and raises the first delivery error.

    A batch has three states: it is filled (``_open``), then full or cut off (``_closed``), then due
    (``_due``), and ``flush`` sends it. Between ``cut`` and ``release`` no new batch becomes due.
    """

    def __init__(self, producer: Callable[[], Producer], *, max_waiting_bytes: int = 16 << 20) -> None:
        self._producer = producer
        self._max_waiting_bytes = max_waiting_bytes
        self._open: dict[LogPartition, Any] = {}
        self._closed: deque[tuple[LogPartition, Any]] = deque()
        self._due: deque[tuple[LogPartition, Any]] = deque()
        self._cut_pending = False
        self._in_flight: set[asyncio.Future[Any]] = set()
        self._bytes = 0
        self._error: BaseException | None = None
        self._lock = asyncio.Lock()
        self.acknowledged: dict[LogPartition, int] = {}
        #: Whether another partition waits for records appended since the last ``cut``.
        self.has_waiters = False

    @property
    def over_limit(self) -> bool:
        """Whether the unacknowledged bytes exceed the limit, so that the inputs should pause."""
        return self._bytes > self._max_waiting_bytes

    @property
    def waiting_bytes(self) -> int:
        """The size of the closed, unacknowledged batches in bytes."""
        return self._bytes

    @property
    def full(self) -> bool:
        """Whether ``flush(full_only=True)`` would send a batch."""
        return bool(self._due or (self._closed and not self._cut_pending))

    def append(
        self,
        partition: LogPartition,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Headers | None = None,
        timestamp: int | None = None,
    ) -> None:
        """Append a record to (topic, partition). ``timestamp``: Kafka's, in ms; None: the current time."""
        builder = self._open.get(partition)
        if builder is None:
            builder = self._open[partition] = self._producer().create_batch()
        if builder.append(timestamp=timestamp, key=key, value=value, headers=headers or []) is None:
            self._close(partition, builder)
            builder = self._open[partition] = self._producer().create_batch()
            builder.append(timestamp=timestamp, key=key, value=value, headers=headers or [])

    def append_writes(self, partition: LogPartition, writes: Iterable[Write]) -> None:
        """Append store writes as records of the changelog."""
        for write in writes:
            self.append(partition, key=write.profile_id.encode(), value=write.state)

    def _close(self, partition: LogPartition, builder: Any) -> None:
        builder.close()
        self._bytes += builder.size()
        self._closed.append((partition, builder))

    def _make_due(self, *, full_only: bool) -> None:
        if not full_only:
            for partition, builder in self._open.items():
                self._close(partition, builder)
            self._open = {}
        self._due.extend(self._closed)
        self._closed.clear()

    def cut(self) -> None:
        """Until ``release``, restrict the other methods to records appended before: later ones wait."""
        self._make_due(full_only=False)
        self._cut_pending = True
        self.has_waiters = False

    def release(self) -> None:
        """Allow records appended since ``cut`` to be sent."""
        self._cut_pending = False

    async def flush(self, *, full_only: bool = False) -> None:
        """Pass the appended batches to the producer. Raises the first delivery error."""
        async with self._lock:
            self._raise_error()
            if not self._cut_pending:
                self._make_due(full_only=full_only)
            while self._due:
                await self._send(*self._due.popleft())

    async def _send(self, partition: LogPartition, builder: Any) -> None:
        size, records = builder.size(), builder.record_count()
        delivery = await self._producer().send_batch(builder, partition[0], partition=partition[1])
        self._in_flight.add(delivery)
        delivery.add_done_callback(lambda done: self._delivered(done, partition, records, size))

    def _delivered(
        self, delivery: asyncio.Future[Any], partition: LogPartition, records: int, size: int
    ) -> None:
        self._in_flight.discard(delivery)
        self._bytes -= size
        error = asyncio.CancelledError() if delivery.cancelled() else delivery.exception()
        if error is not None:
            self._error = self._error or error
            return
        last = delivery.result().offset + records - 1
        self.acknowledged[partition] = max(self.acknowledged.get(partition, -1), last)

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    async def settle(self) -> None:
        """Wait until everything appended so far is acknowledged. Raises the first delivery error."""
        await self.flush()
        waiting = list(self._in_flight)
        if waiting:
            await asyncio.wait(waiting)
            await asyncio.sleep(0)  # lets the delivery callbacks run first
        self._raise_error()


async def log_states(
    outputs: BatchProducer, changelog: LogPartition, slices: Iterable[Iterable[Write]]
) -> None:
    """Append store writes to the changelog, in slices between which other work may run."""
    for few in slices:
        outputs.append_writes(changelog, few)
        await asyncio.sleep(0)


class ChangePublisher:
    """Membership changes as records of the two membership topics (``SPEC.md#changes``)."""

    def __init__(self, outputs: BatchProducer, topics: TopicSettings, *, app_id: str) -> None:
        self._outputs = outputs
        self._topics = (topics.membership_changes, topics.membership_state)
        self._receipts = topics.receipts
        #: The source of CloudEvents.
        self.source = f"segops/{app_id}".encode()
        self._common = [
            ("ce_specversion", b"1.0"),
            ("ce_source", self.source),
            ("content-type", b"application/json"),
        ]

    def targets(self, partition: int) -> tuple[LogPartition, LogPartition]:
        """Return where the changes of a partition go: as changes, and as rows."""
        return (self._topics[0], partition), (self._topics[1], partition)

    def publish(self, partition: int, changes: Sequence[Change], *, now_ms: int) -> None:
        """Append each change to both topics. ``now_ms``: the time of evaluation."""
        changes_topic, state_topic = self._topics
        for change in changes:
            value = encode_change(change, now_ms)
            headers = self._headers(change)
            key = change.profile_id
            append = self._outputs.append
            append((changes_topic, partition), key=key.encode(), value=value, headers=headers)
            state_key = f"{key}|{change.segment_key}".encode()
            append((state_topic, partition), key=state_key, value=value, headers=headers)

    def forget(
        self, partition: int, erased: Sequence[Erased], segments: Collection[str], *, offset: int, now_ms: int
    ) -> None:
        """Delete the rows of profiles erased by the record at ``offset`` in ``segments``; append receipts."""
        for each in erased:
            for segment in sorted(segments):
                self.delete_rows(partition, [f"{each.identifier}|{segment}".encode()])
            receipt_key, value = encode_receipt(each, now_ms, offset)
            self._outputs.append((self._receipts, partition), key=receipt_key, value=value)

    def delete_rows(self, partition: int, keys: Sequence[bytes]) -> None:
        """Append a tombstone to the state topic for each key."""
        for key in keys:
            self._outputs.append((self._topics[1], partition), key=key, value=None)

    def _headers(self, change: Change) -> Headers:
        return [
            *self._common,
            ("ce_id", change.change_id.encode()),
            ("ce_type", b"segops.membership." + change.action.encode()),
            ("ce_time", format_instant(change.occurred_at).encode()),
            ("segops_version", str(change.sequence).encode()),
        ]


class IndicatorPublisher:
    """Values of indicators as records of their topic: JSON, or a tombstone for a missing value."""

    _HEADERS: Final = [("content-type", b"application/json")]

    def __init__(self, outputs: BatchProducer, partition: LogPartition) -> None:
        self._outputs = outputs
        self._partition = partition

    def publish(self, values: Sequence[IndicatorValue]) -> None:
        """Append values in order."""
        for value in values:
            record, key = encode_value(value), value_key(value.profile_id, value.indicator)
            headers = [] if record is None else self._HEADERS
            self._outputs.append(self._partition, key=key, value=record, headers=headers)

    def delete(self, keys: Sequence[bytes]) -> None:
        """Append a tombstone for each key."""
        for key in keys:
            self._outputs.append(self._partition, key=key, value=None)


class MessageSender:
    """Messages between profiles, as records of the receiver's partition."""

    def __init__(self, outputs: BatchProducer, *, topic: str, partitions: int) -> None:
        self._outputs = outputs
        self._topic = topic
        self._partitions = partitions

    def send(self, message: Message, *, timestamp: int) -> None:
        """Append a message with the Kafka timestamp of the record that caused it."""
        self.send_encoded(message.to, name_of(message), encode_message(message), timestamp=timestamp)

    def send_encoded(self, to: str, kind: str, value: bytes, *, timestamp: int) -> None:
        """Append an encoded message of a type."""
        key = to.encode()
        self._outputs.append(
            (self._topic, partition_of(key, self._partitions)),
            key=key,
            value=value,
            headers=[(TYPE_HEADER, kind.encode())],
            timestamp=timestamp,
        )
        self._outputs.has_waiters = True


class DeadLetters:
    """Records of the partition ``origin`` that failed: their original bytes, with reason and position.

    A record that would be too large for the broker with its headers is truncated.
    """

    def __init__(self, outputs: BatchProducer, *, partition: LogPartition, origin: LogPartition) -> None:
        self.origin = origin
        self._outputs = outputs
        self._partition = partition

    def put(self, record: Record, reason: str, detail: str) -> None:
        """Append ``record`` to the dead-letter topic."""
        origin = "{}:{}:{}".format(*self.origin, record.offset)
        key, value, headers = dead_letter(record, origin, reason, detail)
        self._outputs.append(self._partition, key=key, value=value, headers=headers)


class FiguresPublisher:
    """Sizes, trends and the population as records of their topics."""

    def __init__(self, outputs: BatchProducer, topics: TopicSettings) -> None:
        self._outputs = outputs
        self._sizes = topics.sizes
        self._trends = topics.trends

    def put(self, partition: int, record: Published) -> None:
        """Append a record to its topic."""
        topic = self._trends if is_trend(record) else self._sizes
        self._outputs.append((topic, partition), key=key_of(record), value=encode_published(record))

    def delete(self, partition: int, key: RecordKey) -> None:
        """Append a tombstone for a size."""
        self._outputs.append((self._sizes, partition), key=str(key).encode(), value=None)


class QuarantinePublisher:
    """Unreadable bytes as records of the quarantine topic: unchanged, described by headers."""

    def __init__(self, outputs: BatchProducer, *, topic: str, partitions: int, origin: LogPartition) -> None:
        self._outputs = outputs
        self._topic = topic
        self._partitions = partitions
        self._origin = origin

    def put(self, record: QuarantineRecord) -> None:
        """Append the bytes under the id of their profile."""
        headers = [
            (QUARANTINE_HEADER, record.of.encode()),
            (FOUND_HEADER, record.found_in.encode()),
            (REASON_HEADER, record.reason[:1_000].encode(errors="replace")),
            (ORIGIN_HEADER, "{}:{}:{}".format(*self._origin, record.offset).encode()),
        ]
        key = record.profile_id.encode()
        if record.found_in == "handover":  # the profile itself may be quarantined, too
            key += HANDOVER_MARK + record.of.encode()
        self._append(record.profile_id, key, record.data, headers)

    def delete(self, profile_id: str) -> None:
        """Append a tombstone for a profile."""
        self._append(profile_id, profile_id.encode(), None, [])

    def _append(self, profile_id: str, key: bytes, value: bytes | None, headers: Headers) -> None:
        partition = (self._topic, partition_of(profile_id.encode(), self._partitions))
        self._outputs.append(partition, key=key, value=value, headers=headers)
