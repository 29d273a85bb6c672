"""Synchronous access to Kafka for faults and checks: offsets, whole topics and destructive operations."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

#: A topic and the number of one of its partitions.
Partition = tuple[str, int]
Committed = dict[Partition, tuple[int, str]]

_PATIENCE_S = 60.0


class KafkaInspector:
    """Synchronous calls of Kafka clients that run in their own event loop.

    Reads and admin calls are retried for a minute when a broker fault disturbs them.
    """

    def __init__(self, bootstrap_servers: str, group: str) -> None:
        self._servers = bootstrap_servers
        self._group = group
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the event loop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _call(self, make: Any) -> Any:
        until = time.monotonic() + _PATIENCE_S
        while True:
            work: Coroutine[Any, Any, Any] = make()
            try:
                return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE_S)
            except (KafkaError, OSError, TimeoutError):
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    # -- offsets -------------------------------------------------------------------------------

    def committed(self) -> Committed:
        """Return the committed offset and metadata of each partition of the group."""
        return self._call(self._committed)

    async def _committed(self) -> Committed:
        async with self.admin() as admin:
            found = await admin.list_consumer_group_offsets(self._group)
        return {(tp.topic, tp.partition): (o.offset, o.metadata) for tp, o in found.items() if o.offset >= 0}

    def ends(
        self, partitions: Sequence[Partition], isolation: str = "read_uncommitted"
    ) -> dict[Partition, int]:
        """Return the end offsets; with read_committed, the last stable offsets."""
        return self._call(lambda: self._bounds(partitions, isolation, "end_offsets"))

    def beginnings(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Return the beginning offsets."""
        return self._call(lambda: self._bounds(partitions, "read_uncommitted", "beginning_offsets"))

    async def _bounds(
        self, partitions: Sequence[Partition], isolation: str, which: str
    ) -> dict[Partition, int]:
        async with self.consumer(isolation) as consumer:
            found = await getattr(consumer, which)([TopicPartition(*partition) for partition in partitions])
        return {(tp.topic, tp.partition): offset for tp, offset in found.items()}

    # -- records -------------------------------------------------------------------------------

    def read(
        self, partitions: Sequence[Partition], isolation: str, starts: Mapping[Partition, int] | None = None
    ) -> dict[Partition, list[Any]]:
        """Return all records that these partitions hold now, from ``starts`` on, in the order of each log."""
        return self._call(lambda: self._read(partitions, isolation, starts or {}))

    async def _read(
        self, partitions: Sequence[Partition], isolation: str, starts: Mapping[Partition, int]
    ) -> dict[Partition, list[Any]]:
        found: dict[Partition, list[Any]] = {partition: [] for partition in partitions}
        async with self.consumer(isolation) as consumer:
            topic_partitions = [TopicPartition(*partition) for partition in partitions]
            consumer.assign(topic_partitions)
            begins, ends = (
                await consumer.beginning_offsets(topic_partitions),
                await consumer.end_offsets(topic_partitions),
            )
            for tp in topic_partitions:
                consumer.seek(tp, max(begins[tp], starts.get((tp.topic, tp.partition), 0)))
            left = [tp for tp in topic_partitions if await consumer.position(tp) < ends[tp]]
            while left:
                for tp, records in (await consumer.getmany(*left, timeout_ms=200)).items():
                    found[tp.topic, tp.partition] += [r for r in records if r.offset < ends[tp]]
                left = [tp for tp in left if await consumer.position(tp) < ends[tp]]
        return found

    # -- changes -------------------------------------------------------------------------------

    def admin_call(self, name: str, *args: Any, **named: Any) -> Any:
        """Call a method of the admin client and return its result."""

        async def call() -> Any:
            async with self.admin() as admin:
                return await getattr(admin, name)(*args, **named)

        return self._call(call)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine in the event loop, without retries."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE_S)

    def produce(self, topic: str, partition: int, key: bytes, value: bytes | None) -> int:
        """Write one record and return its offset."""
        return int(self.run(self._produce(topic, partition, [(key, value)])))

    async def _produce(
        self, topic: str, partition: int, records: Sequence[tuple[bytes, bytes | None]]
    ) -> int:
        producer = AIOKafkaProducer(bootstrap_servers=self._servers, max_request_size=8 << 20)
        await producer.start()
        try:
            for key, value in records:
                done = await producer.send_and_wait(topic, value, key=key, partition=partition)
            return int(done.offset)
        finally:
            await producer.stop()

    def append(
        self, topic: str, partition: int, values: Sequence[bytes], headers: Sequence[tuple[str, bytes]]
    ) -> None:
        """Append values without keys."""
        self.run(self._append(topic, partition, values, headers))

    async def _append(
        self, topic: str, partition: int, values: Sequence[bytes], headers: Sequence[tuple[str, bytes]]
    ) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self._servers, linger_ms=20)
        await producer.start()
        try:
            sent = [await producer.send(topic, v, partition=partition, headers=list(headers)) for v in values]
            await asyncio.gather(*sent)
        finally:
            await producer.stop()

    def copy(self, topic: str, contents: Mapping[Partition, list[Any]]) -> None:
        """Write the keys and values of these records to a topic, partition by partition."""
        for (_, partition), records in contents.items():
            if records:
                self.run(self._produce(topic, partition, [(r.key, r.value) for r in records]))

    def abort(self, topic: str, partition: int, records: Sequence[tuple[bytes, bytes]]) -> None:
        """Write records in a transaction and abort it."""
        self.run(self._abort(topic, partition, records))

    async def _abort(self, topic: str, partition: int, records: Sequence[tuple[bytes, bytes]]) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._servers, transactional_id=f"abort-{topic}-{partition}"
        )
        await producer.start()
        try:
            await producer.begin_transaction()
            for key, value in records:
                await producer.send_and_wait(topic, value, key=key, partition=partition)
            await producer.abort_transaction()
        finally:
            await producer.stop()

    @contextlib.asynccontextmanager
    async def admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        """Open an admin client for the duration of the block."""
        client = AIOKafkaAdminClient(bootstrap_servers=self._servers, request_timeout_ms=10_000)
        await client.start()
        try:
            yield client
        finally:
            await client.close()

    @contextlib.asynccontextmanager
    async def consumer(self, isolation: str) -> AsyncIterator[AIOKafkaConsumer]:
        """Open a consumer without a group for the duration of the block."""
        client = AIOKafkaConsumer(
            bootstrap_servers=self._servers,
            isolation_level=isolation,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=50,
            request_timeout_ms=10_000,
        )
        await client.start()
        try:
            yield client
        finally:
            await client.stop()


def partitions_of(topics: Iterable[str], count: int) -> list[Partition]:
    """Return every partition of topics that have ``count`` partitions each."""
    return [(topic, number) for topic in topics for number in range(count)]
