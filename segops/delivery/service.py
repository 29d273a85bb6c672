"""The process that delivers audiences: a consumer group of its own, a router and a shard per partition."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from aiokafka import TopicPartition

from segops.config import Settings
from segops.core.errors import SegopsError
from segops.delivery.board import Board
from segops.delivery.breaker import Breaker
from segops.delivery.entries import Entries
from segops.delivery.gates import Gate
from segops.delivery.router import Router
from segops.delivery.shard import Shard
from segops.delivery.telling import Teller
from segops.kafka.clients import running_consumer, running_producer
from segops.kafka.copying import group_options
from segops.kafka.partition_tasks import PartitionTasks, Rebalances, cancel_all
from segops.kafka.sessions import Sessions
from segops.kafka.topics import partition_counts
from segops.metrics import Metrics
from segops.stores.base import ProfileStore
from segops.stores.rocksdb import RocksDBStores

log = logging.getLogger(__name__)

_TRANSACTION_MS: Final = 60_000
_PRODUCER: Final = {"linger_ms": 0, "max_batch_size": 256 * 1024, "compression_type": "lz4"}
#: Of each partition.
_CACHE_BYTES: Final = 8 << 20
_BUFFER_BYTES: Final = 8 << 20


def group_of(settings: Settings) -> str:
    """Return the consumer group of the processes that deliver."""
    return f"{settings.worker.app_id}-activate"


class DeliveryService:
    """The process of these settings. ``passed`` is called at each failpoint."""

    def __init__(self, settings: Settings, metrics: Metrics, *, passed: Callable[[str], None]) -> None:
        self._settings = settings
        self._metrics = metrics
        self._passed = passed
        self._sessions = Sessions()
        self._gates: dict[str, Gate] = {}
        self._tasks: PartitionTasks | None = None
        self._stores: RocksDBStores | None = None

    @property
    def waits_for(self) -> str | None:
        """The reason why nothing is delivered at present, or None."""
        assigned = self._tasks is not None and self._tasks.running()
        return self._sessions.waits_for or (None if assigned else "no partition is assigned")

    @property
    def closed(self) -> Mapping[str, str]:
        """The destinations that take nothing at present -> why."""
        return {name: each.reason for name, each in self._gates.items() if each.reason is not None}

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until ``stop``. After an outage of Kafka begin again from the topics. Raises all else."""
        await self._sessions.run(lambda: self._session(stop), stop, self._lost)

    def _lost(self) -> None:
        self._tasks = None

    async def _session(self, stop: asyncio.Event) -> None:
        failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        board = Board(self._settings, self._metrics)
        breaker = Breaker(self._settings, board)
        ending: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(stop.wait()),
            failure,
            asyncio.ensure_future(board.follow()),
            asyncio.ensure_future(breaker.run()),
        ]
        try:
            async with self._working(board, breaker, failure, ending):
                done, _ = await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
                for each in done:
                    each.result()
        finally:
            await cancel_all(ending)
            await board.close()

    @asynccontextmanager
    async def _working(
        self, board: Board, breaker: Breaker, failure: asyncio.Future[None], ending: list[asyncio.Future[Any]]
    ) -> AsyncIterator[None]:
        """Route and tell in tasks during the block."""
        topics, kafka = self._settings.topics, self._settings.kafka
        shared = [topics.membership_state, topics.indicators, topics.targets, topics.routes, topics.told]
        counts = await partition_counts(kafka, shared)
        if len({*counts.values()}) != 1:
            raise SegopsError(f"expected the same number of partitions of {counts}")
        await self._await_board(board, ending)
        options = group_options(group_of(self._settings), self._settings.worker.session_timeout_ms)
        teller = Teller(board, breaker, self._metrics)
        async with running_consumer(kafka, **options) as consumer:
            tasks = PartitionTasks(lambda source: self._work(source, board, teller), failure, self._forget)
            read = [topics.membership_state, topics.targets]
            consumer.subscribe(read, listener=Rebalances(consumer, tasks))
            self._sessions.connected()
            self._tasks = tasks
            try:
                yield
            finally:
                await tasks.stop(tasks.running())
                self._tasks = None

    @staticmethod
    async def _await_board(board: Board, ending: list[asyncio.Future[Any]]) -> None:
        """Wait until what is published was read. Raises what ended instead."""
        reading = asyncio.ensure_future(board.changed(0))
        try:
            done, _ = await asyncio.wait((reading, *ending), return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            await cancel_all([reading])

    def _forget(self, source: TopicPartition) -> None:
        self._metrics.forget_delivered(source.topic, source.partition)

    async def _work(self, source: TopicPartition, board: Board, teller: Teller) -> None:
        """Route, or tell, for one partition."""
        kafka, number = self._settings.kafka, source.partition
        routes = source.topic == self._settings.topics.membership_state
        kind = "routes" if routes else "targets"
        options = {
            **_PRODUCER,
            "transactional_id": f"{group_of(self._settings)}-{kind}-{number}",
            "transaction_timeout_ms": _TRANSACTION_MS,
        }
        common: dict[str, Any] = {"metrics": self._metrics, "passed": self._passed}
        with self._store(kind, number) as store:
            async with running_producer(kafka, **options) as producer, running_consumer(kafka) as consumer:
                if routes:
                    router = Router(self._settings, number, board, store=store, **common)
                    await router.run(producer, consumer)
                else:
                    common |= {"entries": Entries(store), "teller": teller, "gate": self._gate}
                    await Shard(self._settings, number, board, **common).run(producer, consumer)

    def _gate(self, destination: str) -> Gate:
        if destination not in self._gates:
            now = asyncio.get_running_loop().time
            self._gates[destination] = Gate(destination, self._metrics, now)
        return self._gates[destination]

    @contextmanager
    def _store(self, kind: str, number: int) -> Iterator[ProfileStore]:
        """Provide an empty store: whatever a killed process has left is no longer true."""
        folder = self._settings.state.data_dir / "activate" / kind
        stores = RocksDBStores(folder, block_cache_bytes=_CACHE_BYTES, write_buffer_bytes=_BUFFER_BYTES)
        stores.open(number).destroy()
        store = stores.open(number)
        try:
            yield store
        finally:
            store.destroy()
