"""Brokers that reject record timestamps, as they do when a worker's clock is an hour ahead."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic

from segops.brokers import LocalBroker
from segops.cli._kafka import run
from segops.config import Settings
from segops.core.errors import SegopsError
from segops.kafka.clients import running_admin

from .helpers import SEGMENTS, Stack, wait_until

pytestmark = pytest.mark.broker

MESSAGE = "this machine's clock differs too much from theirs"


@pytest.fixture
def strict(broker: LocalBroker, stack: Stack) -> Stack:
    """Make the profile events topic reject every timestamp but the broker's current one."""
    if broker.kind != "jvm":
        pytest.skip("only Apache Kafka checks record timestamps")

    async def make() -> None:
        configs = {"cleanup.policy": "delete", "message.timestamp.before.max.ms": "0"}
        topic = NewTopic(stack.settings.topics.profile_events, stack.partitions, 1, topic_configs=configs)
        async with running_admin(stack.settings.kafka) as admin:
            await admin.create_topics([topic])

    asyncio.run(make())
    return stack


def test_worker_stops_with_a_message_and_no_traceback(strict: Stack) -> None:
    strict.publish(SEGMENTS)
    strict.environment["SEGOPS_CLOCK"] = "wall"  # ticks are sent twice a second
    worker = strict.start()
    wait_until(lambda: worker.poll() is not None, "it stops", strict.diagnosis)
    log = (strict.folder / "worker-0.log").read_text()
    assert (worker.returncode, log.count(MESSAGE)) == (1, 1), log
    assert "Traceback" not in log


def test_command_fails_with_the_same_message(strict: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGOPS_KAFKA_BOOTSTRAP_SERVERS", strict.bootstrap_servers)

    async def work(settings: Settings) -> None:
        topic = strict.settings.topics.profile_events
        async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers) as producer:
            await producer.send_and_wait(topic, b"x", timestamp_ms=1)

    with pytest.raises(SegopsError, match=MESSAGE):
        run(work)
