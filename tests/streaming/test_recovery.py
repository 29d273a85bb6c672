"""Recovery from real changelogs with gaps, transaction markers, aborted transactions and deleted heads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from prometheus_client import CollectorRegistry

from segops.brokers import LocalBroker
from segops.config import load
from segops.core.engine import Engine
from segops.core.profile import Profile
from segops.core.segments import SegmentSet
from segops.kafka.positions import CommittedPosition, LogPartition
from segops.metrics import Metrics
from segops.schemas.owner import Owner
from segops.schemas.state import encode_profile
from segops.stores.base import ProfileStore
from segops.stores.rocksdb import RocksDBStores
from segops.streaming import assignment
from segops.streaming.assignment import AssignmentOpener, Dependencies
from segops.streaming.connections import Connections
from segops.streaming.durability.recovery import Recovery, StoreManager
from segops.streaming.failpoints import Failpoints

pytestmark = pytest.mark.broker


class Changelog:
    """A changelog with one partition, and the store restored from it."""

    def __init__(self, broker: LocalBroker, name: str, folder: Path) -> None:
        self.servers = broker.bootstrap_servers
        self.settings = load(kafka={"bootstrap_servers": self.servers}, worker={"app_id": name})
        self.topic = self.settings.worker.changelog
        self.connections = Connections(self.settings)
        self.stores = RocksDBStores(folder, block_cache_bytes=8 << 20, write_buffer_bytes=8 << 20)
        self.restored = 0

    async def create(self) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.servers)
        await admin.start()
        await admin.create_topics([NewTopic(self.topic, 1, 1)])
        await admin.close()

    async def delete_before(self, offset: int) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.servers)
        await admin.start()
        await admin.delete_records({TopicPartition(self.topic, 0): RecordsToDelete(offset)})
        await admin.close()

    async def send(self, transactions: list[tuple[dict[str, int], bool]]) -> None:
        """Write each of these as a transaction: due times by profile, and whether it is committed."""
        producer = AIOKafkaProducer(bootstrap_servers=self.servers, transactional_id=self.topic)
        await producer.start()
        for values, committed in transactions:
            await producer.begin_transaction()
            for id_, due_ms in values.items():
                state = encode_profile(Profile(id_, due_ms=due_ms))
                await producer.send_and_wait(self.topic, state, key=id_.encode(), partition=0)
            await (producer.commit_transaction() if committed else producer.abort_transaction())
        await producer.stop()

    @property
    def dependencies(self) -> Dependencies:
        return Dependencies(
            metrics=Metrics(CollectorRegistry()),
            store_manager=StoreManager(self.stores, discard=lambda _: None),
            changelog_consumer=self.connections.changelog_consumer,
            standby_consumer=self.connections.standby_consumer,
            producer=self.connections.producer,
            transactional_producer=self.connections.transactional_producer,
            failpoints=Failpoints(),
            owner=Owner("recovery"),
        )

    async def recover(self) -> ProfileStore:
        def count(records: int) -> None:
            self.restored += records

        recovery = Recovery(
            self.topic,
            StoreManager(self.stores, discard=lambda _: None),
            self.connections.changelog_consumer,
            failpoints=Failpoints(),
            restored=count,
        )
        return (await asyncio.wait_for(recovery.run([0]), 60))[0]


@pytest.fixture
def changelog(broker: LocalBroker, topic_prefix: str, tmp_path: Path) -> Changelog:
    return Changelog(broker, topic_prefix.rstrip("."), tmp_path)


def test_aborted_transactions_and_trailing_markers_are_skipped(changelog: Changelog) -> None:
    async def scenario() -> None:
        await changelog.create()
        await changelog.send([({"a": 1, "b": 2}, True), ({"a": 9, "c": 9}, False), ({"b": 3}, True)])
        await changelog.send([({"a": 9}, False)])
        store = await changelog.recover()
        assert store.due(10, 10) == [(1, "a"), (3, "b")]
        store.close()
        assert changelog.restored == 3
        again = await changelog.recover()
        assert again.due(10, 10) == [(1, "a"), (3, "b")]
        again.close()
        assert changelog.restored == 3

    asyncio.run(scenario())


def test_newer_records_are_restored_on_top(changelog: Changelog) -> None:
    async def scenario() -> None:
        await changelog.create()
        await changelog.send([({"a": 1, "b": 2}, True)])
        (await changelog.recover()).close()
        await changelog.send([({"a": 5}, True), ({"c": 4}, True)])
        store = await changelog.recover()
        assert store.due(10, 10) == [(2, "b"), (4, "c"), (5, "a")]
        store.close()
        assert changelog.restored == 4

    asyncio.run(scenario())


def test_recovery_ends_for_a_log_with_a_deleted_head(changelog: Changelog) -> None:
    async def scenario() -> None:
        await changelog.create()
        await changelog.send([({"a": 1, "b": 2}, True), ({"c": 3}, True)])
        await changelog.delete_before(3)
        store = await changelog.recover()
        assert store.due(10, 10) == [(3, "c")]
        store.close()

    asyncio.run(scenario())


def test_recovery_ends_at_once_for_an_emptied_log(changelog: Changelog) -> None:
    async def scenario() -> None:
        await changelog.create()
        await changelog.send([({"a": 1}, False)])
        await changelog.delete_before(2)
        store = await changelog.recover()
        assert store.profile_ids(None, 10) == []
        store.close()

    asyncio.run(scenario())


def inputs_of(changelog: Changelog) -> list[LogPartition]:
    """Return partition 0 of each topic that a worker reads."""
    topics = changelog.settings.topics
    return [(name, 0) for name in (topics.events, topics.control, topics.profile_events)]


class Rebalancing:
    """A group that never answers; signals when it is queried."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    def __getattr__(self, _question: str) -> Any:
        async def answer(*_: object) -> None:
            self.asked.set()
            await asyncio.Event().wait()

        return answer


def test_cancelled_opening_closes_its_stores(changelog: Changelog) -> None:
    async def scenario() -> None:
        await changelog.create()
        group = Rebalancing()
        opener = AssignmentOpener(changelog.settings, changelog.dependencies)
        running = asyncio.ensure_future(opener.open(inputs_of(changelog), group, Engine(SegmentSet.EMPTY)))
        await asyncio.wait_for(group.asked.wait(), 60)
        running.cancel()
        await asyncio.wait([running])
        changelog.stores.open(0).close()

    asyncio.run(scenario())


class Empty:
    """A group with empty topics and without committed offsets."""

    async def committed(self, partitions: Iterable[LogPartition]) -> dict[LogPartition, CommittedPosition]:
        return {}

    async def beginnings(self, partitions: Iterable[LogPartition]) -> dict[LogPartition, int]:
        return dict.fromkeys(partitions, 0)

    ends = beginnings


def test_opening_cancelled_while_compiling_closes_its_stores(
    changelog: Changelog, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiling, broken_off = threading.Event(), threading.Event()

    def compile_slowly(*_: object) -> None:
        compiling.set()
        broken_off.wait(60)

    async def scenario() -> None:
        await changelog.create()
        monkeypatch.setattr(assignment, "_recorded", compile_slowly)
        opener = AssignmentOpener(changelog.settings, changelog.dependencies)
        group: Any = Empty()
        running = asyncio.ensure_future(opener.open(inputs_of(changelog), group, Engine(SegmentSet.EMPTY)))
        assert await asyncio.to_thread(compiling.wait, 60)
        running.cancel()
        await asyncio.wait([running])
        changelog.stores.open(0).close()
        broken_off.set()

    asyncio.run(scenario())


def test_recovery_cancelled_at_its_end_closes_its_stores(changelog: Changelog) -> None:
    leaving = asyncio.Event()

    def consumer(**options: Any) -> AIOKafkaConsumer:
        made = changelog.connections.changelog_consumer(**options)
        stop = made.stop

        async def stop_slowly() -> None:
            leaving.set()
            try:
                await asyncio.Event().wait()
            finally:
                await stop()

        if not options:  # the consumer that reads; another queries the end offsets
            made.stop = stop_slowly
        return made

    async def scenario() -> None:
        await changelog.create()
        store_manager = StoreManager(changelog.stores, discard=lambda _: None)
        recovery = Recovery(
            changelog.topic, store_manager, consumer, failpoints=Failpoints(), restored=lambda _: None
        )
        running = asyncio.ensure_future(recovery.run([0]))
        await asyncio.wait_for(leaving.wait(), 60)
        running.cancel()
        await asyncio.wait([running])
        changelog.stores.open(0).close()

    asyncio.run(scenario())
