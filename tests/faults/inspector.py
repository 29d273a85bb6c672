"""Looking at Kafka from outside: offsets, whole topics, and a few things that break them."""

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

Place = tuple[str, int]
Committed = dict[Place, tuple[int, str]]

_PATIENCE_S = 60.0


class KafkaInspector:
    """A loop of its own and clients that last as long as it; every call is a plain function.

    A call that a broker fault disturbs is tried again for a minute.
    """

    def __init__(self, bootstrap_servers: str, group: str) -> None:
        self._servers = bootstrap_servers
        self._group = group
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the loop."""
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
        """What the group has committed, with its metadata."""
        return self._call(self._committed)

    async def _committed(self) -> Committed:
        async with self.admin() as admin:
            found = await admin.list_consumer_group_offsets(self._group)
        return {(tp.topic, tp.partition): (o.offset, o.metadata) for tp, o in found.items() if o.offset >= 0}

    def ends(self, places: Sequence[Place], isolation: str = "read_uncommitted") -> dict[Place, int]:
        """Where the logs end; with read_committed, where the first open transaction begins."""
        return self._call(lambda: self._bounds(places, isolation, "end_offsets"))

    def beginnings(self, places: Sequence[Place]) -> dict[Place, int]:
        """Where the logs begin."""
        return self._call(lambda: self._bounds(places, "read_uncommitted", "beginning_offsets"))

    async def _bounds(self, places: Sequence[Place], isolation: str, which: str) -> dict[Place, int]:
        async with self.consumer(isolation) as consumer:
            found = await getattr(consumer, which)([TopicPartition(*place) for place in places])
        return {(tp.topic, tp.partition): offset for tp, offset in found.items()}

    # -- records -------------------------------------------------------------------------------

    def read(
        self, places: Sequence[Place], isolation: str, starts: Mapping[Place, int] | None = None
    ) -> dict[Place, list[Any]]:
        """Everything that these partitions hold now, from ``starts`` on, in the order of each log."""
        return self._call(lambda: self._read(places, isolation, starts or {}))

    async def _read(
        self, places: Sequence[Place], isolation: str, starts: Mapping[Place, int]
    ) -> dict[Place, list[Any]]:
        found: dict[Place, list[Any]] = {place: [] for place in places}
        async with self.consumer(isolation) as consumer:
            parts = [TopicPartition(*place) for place in places]
            consumer.assign(parts)
            begins, ends = await consumer.beginning_offsets(parts), await consumer.end_offsets(parts)
            for tp in parts:
                consumer.seek(tp, max(begins[tp], starts.get((tp.topic, tp.partition), 0)))
            left = [tp for tp in parts if await consumer.position(tp) < ends[tp]]
            while left:
                for tp, records in (await consumer.getmany(*left, timeout_ms=200)).items():
                    found[tp.topic, tp.partition] += [r for r in records if r.offset < ends[tp]]
                left = [tp for tp in left if await consumer.position(tp) < ends[tp]]
        return found

    # -- breaking things -----------------------------------------------------------------------

    def admin_call(self, name: str, *args: Any, **named: Any) -> Any:
        """A call of the admin client."""

        async def call() -> Any:
            async with self.admin() as admin:
                return await getattr(admin, name)(*args, **named)

        return self._call(call)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run this in the loop, once."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE_S)

    def produce(self, topic: str, partition: int, key: bytes, value: bytes | None) -> int:
        """Write one record; its offset."""
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

    def grow(
        self, topic: str, partition: int, values: Sequence[bytes], headers: Sequence[tuple[str, bytes]]
    ) -> None:
        """Write these values without a key."""
        self.run(self._grow(topic, partition, values, headers))

    async def _grow(
        self, topic: str, partition: int, values: Sequence[bytes], headers: Sequence[tuple[str, bytes]]
    ) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self._servers, linger_ms=20)
        await producer.start()
        try:
            sent = [await producer.send(topic, v, partition=partition, headers=list(headers)) for v in values]
            await asyncio.gather(*sent)
        finally:
            await producer.stop()

    def copy(self, topic: str, contents: Mapping[Place, list[Any]]) -> None:
        """Write the keys and values of these records into a topic."""
        for (_, partition), records in contents.items():
            if records:
                self.run(self._produce(topic, partition, [(r.key, r.value) for r in records]))

    def abort(self, topic: str, partition: int, records: Sequence[tuple[bytes, bytes]]) -> None:
        """Write these records in a transaction that is then aborted."""
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
        """An admin client."""
        client = AIOKafkaAdminClient(bootstrap_servers=self._servers, request_timeout_ms=10_000)
        await client.start()
        try:
            yield client
        finally:
            await client.close()

    @contextlib.asynccontextmanager
    async def consumer(self, isolation: str) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer without a group."""
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


def places_of(topics: Iterable[str], partitions: int) -> list[Place]:
    """Every partition of these topics."""
    return [(topic, number) for topic in topics for number in range(partitions)]
