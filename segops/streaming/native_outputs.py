"""Record batches filled by the kernel, and the Kafka output of a partition that publishes by it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from segops.kafka.positions import LogPartition
from segops.schemas.records import Headers
from segops.stores.base import Write
from segops.streaming.kafka_output import KafkaOutput
from segops.streaming.partition.native_profiles import NativeWrites
from segops.streaming.partition.output import Encoded, OutboxOutput
from segops.streaming.publishers import BatchProducer, Producer
from segops.wall_clock import wall_ms


class NativeBatchProducer(BatchProducer):
    """A ``BatchProducer`` whose batches the kernel fills: also itself, through ``outbox``.

    ``limit``: the most bytes of a batch before compression.
    """

    def __init__(
        self, producer: Callable[[], Producer], *, native: Any, limit: int, transactional: bool
    ) -> None:
        super().__init__(producer)
        self._outboxes: dict[LogPartition, Any] = {}
        self._make_outbox: Callable[[], Any] = lambda: native.Outbox(limit, transactional)

    def outbox(self, partition: LogPartition) -> Any:
        """Return the outbox of (topic, partition), which keeps the order of all that is appended."""
        outbox = self._outboxes.get(partition)
        if outbox is None:
            outbox = self._outboxes[partition] = self._make_outbox()
        return outbox

    def append(
        self,
        partition: LogPartition,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Headers | None = None,
        timestamp: int | None = None,
    ) -> None:
        self.outbox(partition).append(
            wall_ms() if timestamp is None else timestamp, key, value, list(headers or ())
        )

    def append_writes(self, partition: LogPartition, writes: Iterable[Write]) -> None:
        outbox, now_ms = self.outbox(partition), wall_ms()
        if isinstance(writes, NativeWrites):
            writes.append_to(outbox, now_ms)
        else:
            outbox.append_writes(now_ms, list(writes))

    @property
    def over_limit(self) -> bool:
        self._gather(full_only=True)
        return super().over_limit

    @property
    def waiting_bytes(self) -> int:
        self._gather(full_only=True)
        return super().waiting_bytes

    @property
    def full(self) -> bool:
        self._gather(full_only=True)
        return super().full

    def _gather(self, *, full_only: bool) -> None:
        for partition, outbox in self._outboxes.items():
            for batch in outbox.take(full_only):
                self._bytes += batch.size()
                self._closed.append((partition, batch))

    def _make_due(self, *, full_only: bool) -> None:
        self._gather(full_only=full_only)
        super()._make_due(full_only=full_only)


class NativeKafkaOutput(KafkaOutput, OutboxOutput):
    """A ``KafkaOutput`` through a ``NativeBatchProducer``."""

    _outputs: NativeBatchProducer

    @property
    def forward_outboxes(self) -> Sequence[Any]:
        """The outboxes of the partitions of profile events."""
        return [self._outputs.outbox(partition) for partition in self._partitions]

    def send_from(self, native: Any) -> None:
        """Send the messages of the kernel's part of a partition to the partitions of their receivers."""
        if native.send(self.forward_outboxes):
            self._outputs.has_waiters = True

    def publish_from(self, native: Any) -> Encoded | None:
        """Publish the changes of the kernel's part of a partition and measure their latency."""
        now_ms = wall_ms()
        targets, source = self._publisher.targets(self._partition), self._publisher.source
        found = native.publish(*map(self._outputs.outbox, targets), source, now_ms)
        if found is None:
            return None
        counts, moves, arrived = found
        for segment, action, reason, _, number in counts:
            self._published[segment, action, reason] += number
        self._latencies_s += [max(0, now_ms - arrived_ms) / 1000 for arrived_ms in arrived]
        return Encoded(counts, moves)
