"""Three real brokers, one of which fails: the basis of the fault tests of the streaming layer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from segops.brokers import BrokerUnavailable, LocalBroker, choose, obstacle
from tests.rest import rest

pytestmark = pytest.mark.broker
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    if reason := obstacle("jvm", brokers=3):
        pytest.skip(f"jvm: {reason}")
    with choose(tmp_path_factory.mktemp("cluster"), prefer="jvm", brokers=3) as broker:
        yield broker


async def leader_of(servers: str, topic: str) -> int:
    """Return the node id of the leader of partition 0."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        (found,) = await admin.describe_topics([topic])
        return found["partitions"][0]["leader"]
    finally:
        await admin.close()


async def create(servers: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 3, topic_configs={"min.insync.replicas": "2"})])
    finally:
        await admin.close()


async def write_through(cluster: LocalBroker, topic: str, breaks) -> list[bytes]:
    """Write 100 acknowledged records, call ``breaks(leader)`` half-way, and return the topic's values."""
    servers = cluster.bootstrap_servers
    await create(servers, topic)
    # A frozen broker keeps its connections open: only a short request timeout detects it.
    quick = {"bootstrap_servers": servers, "request_timeout_ms": 3_000}
    producer = AIOKafkaProducer(**quick, enable_idempotence=True)
    consumer = AIOKafkaConsumer(**quick, auto_offset_reset="earliest")
    await producer.start()
    await consumer.start()
    try:
        for i in range(100):
            if i == 50:
                breaks(cluster.nodes[await leader_of(servers, topic) - 1])
            await producer.send_and_wait(topic, b"%d" % i, partition=0)
        consumer.assign([TopicPartition(topic, 0)])
        return [(await consumer.getone()).value for _ in range(100)]
    finally:
        await producer.stop()
        await consumer.stop()


@rest
@pytest.mark.parametrize("fault", ["kill", "pause"])
def test_acknowledged_writes_survive_loss_of_the_leader(fault, cluster, topic_prefix):
    broken = []

    def breaks(node):
        broken.append(node)
        getattr(node, fault)()

    work = write_through(cluster, f"{topic_prefix}replicated", breaks)
    held = asyncio.run(asyncio.wait_for(work, PATIENCE_S))
    (node,) = broken
    assert node.alive is (fault == "pause")
    node.resume() if fault == "pause" else node.start()
    assert held == [b"%d" % i for i in range(100)]


def test_data_folder_of_another_cluster_size_is_rejected(tmp_path: Path):
    for i in (1, 2, 3):
        (tmp_path / "jvm" / f"node-{i}").mkdir(parents=True)
    if reason := obstacle("jvm"):
        pytest.skip(f"jvm: {reason}")
    with pytest.raises(BrokerUnavailable, match="holds a cluster of 3, not 1"):
        choose(tmp_path, prefer="jvm")
