"""Every kind of broker that this machine can run meets the needs of segops."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import ProducerFenced
from aiokafka.structs import OffsetAndMetadata

from segops.brokers import LocalBroker, choose, obstacle
from segops.brokers.process import ProcessNode
from tests.rest import in_rest

pytestmark = pytest.mark.broker
PATIENCE_S = 30.0


@pytest.fixture(scope="module", params=["docker", "jvm", "embedded"])
def own_broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalBroker]:
    """Provide a broker of each kind for this module, whose tests restart it."""
    kind = request.param
    reason = obstacle(kind)
    if reason and os.environ.get("SEGOPS_TEST_BROKER") != kind:
        pytest.skip(f"{kind}: {reason}")
    with choose(tmp_path_factory.mktemp(kind), prefer=kind) as broker:
        yield broker


@pytest.fixture
def run(own_broker: LocalBroker) -> Callable[[Callable[[str], Awaitable[object]]], None]:
    def runner(steps: Callable[[str], Awaitable[object]]) -> None:
        asyncio.run(asyncio.wait_for(steps(own_broker.bootstrap_servers), PATIENCE_S))

    return runner


@asynccontextmanager
async def started(client):
    await client.start()
    try:
        yield client
    finally:
        await (client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())


async def create_topic(servers: str, name: str, partitions: int = 1, **configs: str) -> None:
    async with started(AIOKafkaAdminClient(bootstrap_servers=servers)) as admin:
        topic = NewTopic(name, partitions, 1, topic_configs=configs)
        response = await admin.create_topics([topic])
        assert [error[1] for error in response.topic_errors] == [0]
    async with started(AIOKafkaProducer(bootstrap_servers=servers)) as producer:
        while len(await producer.partitions_for(name)) < partitions:
            await asyncio.sleep(0.05)


async def produce(servers: str, topic: str, *values: bytes) -> None:
    async with started(
        AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True)
    ) as producer:
        for value in values:
            await producer.send_and_wait(topic, value, partition=0)


async def read(servers: str, topic: str, count: int, **options) -> list[bytes]:
    """Return the first ``count`` values of partition 0."""
    async with started(
        AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest", **options)
    ) as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        return [(await consumer.getone()).value for _ in range(count)]


def test_topics_are_created_with_their_partitions_and_configs(run, topic_prefix):
    async def steps(servers):
        name = f"{topic_prefix}compacted"
        await create_topic(servers, name, 3, **{"cleanup.policy": "compact"})
        async with started(AIOKafkaAdminClient(bootstrap_servers=servers)) as admin:
            (topic,) = await admin.describe_topics([name])
        assert len(topic["partitions"]) == 3

    run(steps)


def test_topics_are_not_created_automatically(own_broker, run, topic_prefix):
    if own_broker.kind == "embedded":
        pytest.skip("embedded: it creates whatever topic is asked about")

    async def steps(servers):
        async with started(AIOKafkaAdminClient(bootstrap_servers=servers)) as admin:
            await admin.describe_topics([f"{topic_prefix}absent"])
            assert f"{topic_prefix}absent" not in await admin.list_topics()

    run(steps)


def test_records_are_read_in_order_with_key_headers_and_timestamp(run, topic_prefix):
    # Older records are deleted by the topic's retention, at any moment.
    start_ms = time.time_ns() // 1_000_000

    async def steps(servers):
        topic = f"{topic_prefix}records"
        await create_topic(servers, topic)
        async with started(AIOKafkaProducer(bootstrap_servers=servers, compression_type="lz4")) as producer:
            for i in range(100):
                headers = [("segops-source", b"0:%d" % i)]
                await producer.send(
                    topic, b"v%d" % i, b"k%d" % i, partition=0, timestamp_ms=start_ms + i, headers=headers
                )
        async with started(
            AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest")
        ) as consumer:
            consumer.assign([TopicPartition(topic, 0)])
            records = [await consumer.getone() for _ in range(100)]
        assert [(r.offset, r.key, r.value, r.timestamp) for r in records] == [
            (i, b"k%d" % i, b"v%d" % i, start_ms + i) for i in range(100)
        ]
        assert records[7].headers == (("segops-source", b"0:7"),)

    run(steps)


def test_group_commit_stores_offset_and_metadata(run, topic_prefix):
    async def steps(servers):
        topic, group = f"{topic_prefix}commits", f"{topic_prefix}group"
        await create_topic(servers, topic)
        await produce(servers, topic, b"one", b"two")
        partition = TopicPartition(topic, 0)
        member = AIOKafkaConsumer(topic, bootstrap_servers=servers, group_id=group, enable_auto_commit=False)
        async with started(member):
            while not member.assignment():
                await asyncio.sleep(0.05)
            await member.commit({partition: OffsetAndMetadata(1, "watermark=1700000000000")})
        async with started(
            AIOKafkaConsumer(bootstrap_servers=servers, group_id=group, enable_auto_commit=False)
        ) as reader:
            reader.assign([partition])
            found = await reader._coordinator.fetch_committed_offsets([partition])
            resumed = await reader.getone()
        assert found[partition] == OffsetAndMetadata(1, "watermark=1700000000000")
        assert resumed.value == b"two"

    run(steps)


def test_read_committed_returns_committed_transactions_only(run, topic_prefix):
    async def steps(servers):
        topic, group = f"{topic_prefix}transactions", f"{topic_prefix}group"
        await create_topic(servers, topic)
        partition = TopicPartition(topic, 0)
        producer = AIOKafkaProducer(bootstrap_servers=servers, transactional_id=f"{topic_prefix}writer")
        async with started(producer):
            async with producer.transaction():
                await producer.send(topic, b"kept", partition=0)
                await producer.send_offsets_to_transaction({partition: OffsetAndMetadata(5, "m")}, group)
            await producer.begin_transaction()
            await producer.send_and_wait(topic, b"withdrawn", partition=0)
            await producer.abort_transaction()
            async with producer.transaction():
                await producer.send(topic, b"also kept", partition=0)
        assert await read(servers, topic, 2, isolation_level="read_committed") == [b"kept", b"also kept"]
        async with started(
            AIOKafkaConsumer(bootstrap_servers=servers, group_id=group, enable_auto_commit=False)
        ) as reader:
            reader.assign([partition])
            found = await reader._coordinator.fetch_committed_offsets([partition])
        assert found[partition] == OffsetAndMetadata(5, "m")

    run(steps)


def test_second_transactional_producer_fences_the_first(run, topic_prefix):
    async def steps(servers):
        topic, name = f"{topic_prefix}fenced", f"{topic_prefix}writer"
        await create_topic(servers, topic)
        first = AIOKafkaProducer(bootstrap_servers=servers, transactional_id=name)
        async with started(first):
            await first.begin_transaction()
            await first.send_and_wait(topic, b"of the old owner", partition=0)
            second = AIOKafkaProducer(bootstrap_servers=servers, transactional_id=name)
            async with started(second), second.transaction():
                await second.send(topic, b"of the new owner", partition=0)
            with pytest.raises(ProducerFenced):
                await first.send_and_wait(topic, b"too late", partition=0)
                await first.commit_transaction()
        assert await read(servers, topic, 1, isolation_level="read_committed") == [b"of the new owner"]

    run(steps)


def test_members_share_a_topic_and_take_over_from_a_leaver(run, topic_prefix):
    async def steps(servers):
        topic, group = f"{topic_prefix}shared", f"{topic_prefix}group"
        await create_topic(servers, topic, 4)

        def member():
            quick = {"heartbeat_interval_ms": 300, "enable_auto_commit": False}
            return AIOKafkaConsumer(topic, bootstrap_servers=servers, group_id=group, **quick)

        async with started(member()) as stayer:
            async with started(member()) as leaver:
                while not (len(stayer.assignment()) == len(leaver.assignment()) == 2):
                    await asyncio.gather(stayer.getmany(timeout_ms=50), leaver.getmany(timeout_ms=50))
                assert not stayer.assignment() & leaver.assignment()
            while len(stayer.assignment()) != 4:
                await stayer.getmany(timeout_ms=50)

    run(steps)


def test_restart_keeps_data_and_address(own_broker, run, topic_prefix):
    topic = f"{topic_prefix}durable"

    async def before(servers):
        await create_topic(servers, topic)
        await produce(servers, topic, b"before")

    async def after(servers):
        await produce(servers, topic, b"after")
        assert await read(servers, topic, 2) == [b"before", b"after"]

    run(before)
    (node,) = own_broker.nodes
    node.stop()
    assert not node.alive
    node.start()
    run(after)


def test_broker_listens_on_loopback_only(own_broker):
    port = int(own_broker.bootstrap_servers.rpartition(":")[2])
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
    # A server that listens on all addresses also listens on this one.
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", port), timeout=5).close()


@pytest.mark.parametrize("kind", [in_rest("jvm"), "embedded"])
def test_stop_leaves_no_process_and_a_kept_folder_is_reused(kind, tmp_path: Path):
    if reason := obstacle(kind):
        pytest.skip(f"{kind}: {reason}")
    with choose(tmp_path, prefer=kind) as broker:
        asyncio.run(create_topic(broker.bootstrap_servers, "kept"))
        groups = [node.pid for node in broker.nodes if isinstance(node, ProcessNode)]
    for group in groups:
        with pytest.raises(ProcessLookupError):
            os.killpg(group, 0)
    with choose(tmp_path, prefer=kind) as restarted:
        asyncio.run(produce(restarted.bootstrap_servers, "kept", b"still there"))
