"""Operator errors are reported, never silent."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete

from segops.brokers import LocalBroker
from tests.rest import rest

from .helpers import DAY_MS, START_MS, Stack, expected_changes, shop_events, wait_until
from .topic_deletion import delete_topics

pytestmark = pytest.mark.broker

MIDDLE_MS = START_MS + DAY_MS // 2
FINAL_MS = START_MS + 2 * DAY_MS


@pytest.fixture
def stack(stack: Stack, broker: LocalBroker) -> Stack:
    if broker.name.startswith("embedded"):
        pytest.skip("needs Apache Kafka")
    stack.publish()
    return stack


def admin(stack: Stack, act: Callable[[Any], Awaitable[object]]) -> None:
    async def run() -> None:
        client = AIOKafkaAdminClient(bootstrap_servers=stack.bootstrap_servers)
        await client.start()
        try:
            await act(client)
        finally:
            await client.close()

    asyncio.run(run())


def log_text(stack: Stack, number: int = 0) -> str:
    return (stack.folder / f"worker-{number}.log").read_text()


def ready(stack: Stack, number: int = 0) -> None:
    wait_until(lambda: stack.get("/readyz", number)[0] == 200, "ready", stack.diagnosis)


def run_through(stack: Stack, sent: list[Any]) -> None:
    stack.start()
    stack.send(sent, final_ms=MIDDLE_MS)
    stack.wait_for_changes(expected_changes(sent, stack.definitions, MIDDLE_MS))
    stack.stop()


@rest
def test_deleted_unread_records_stop_the_worker_unless_configured(stack: Stack) -> None:
    sent = shop_events(600, users=30, partitions=3)
    run_through(stack, sent[:300])
    stack.send(sent[300:])
    partitions = [TopicPartition(stack.settings.topics.events, number) for number in range(3)]
    ends = Counter(record.partition for record in stack.read(partitions[0].topic))
    wanted = {partition: RecordsToDelete(ends[partition.partition]) for partition in partitions}
    admin(stack, lambda client: client.delete_records(wanted))
    assert stack.start().wait(60) == 2
    assert "were deleted before they were read; SEGOPS_ON_LOST_RECORDS=continue" in log_text(stack)
    stack.environment = {"SEGOPS_ON_LOST_RECORDS": "continue"}
    stack.start()
    ready(stack)
    lost = f'segops_records_lost_total{{topic="{partitions[0].topic}"}} 300.0'
    assert lost in stack.get("/metrics")[1]
    stack.send([], final_ms=FINAL_MS)
    stack.wait_for_changes(expected_changes(sent[:300], stack.definitions, FINAL_MS))


def test_deleting_a_topic_stops_the_worker(stack: Stack) -> None:
    worker = stack.start()
    ready(stack)
    admin(stack, lambda client: client.delete_topics([stack.settings.topics.dead_letters]))
    assert worker.wait(60) == 2
    assert f"{stack.settings.topics.dead_letters} does not exist" in log_text(stack)


@rest
def test_adding_partitions_stops_the_worker(stack: Stack) -> None:
    worker = stack.start()
    ready(stack)
    topic = stack.settings.topics.profile_events
    admin(stack, lambda client: client.create_partitions({topic: NewPartitions(5)}))
    assert worker.wait(60) == 2
    assert f"{topic} has 5 partition(s), expected 3" in log_text(stack)


@rest
def test_recreated_changelog_empties_the_stores_with_a_warning(stack: Stack) -> None:
    run_through(stack, shop_events(600, users=30, partitions=3)[:300])
    delete_topics(stack, [stack.settings.worker.changelog])
    stack.start()
    ready(stack)
    assert "was the topic recreated?" in log_text(stack)
    assert 'segops_stores_rebuilt_total{reason="ahead"} 3.0' in stack.get("/metrics")[1]


@rest
def test_recreated_input_stops_the_worker(stack: Stack) -> None:
    run_through(stack, shop_events(600, users=30, partitions=3)[:300])
    delete_topics(stack, [stack.settings.topics.profile_events])
    assert stack.start().wait(60) == 2
    assert "it was recreated or truncated" in log_text(stack)


def test_second_worker_on_a_data_folder_ends_at_once(stack: Stack) -> None:
    stack.start()
    ready(stack)
    assert stack.start().wait(60) == 2
    assert "is in use by another worker; each needs its own (SEGOPS_DATA_DIR)" in log_text(stack)
    assert stack.get("/readyz")[0] == 200


def test_second_member_with_the_same_name_ends_with_a_message(stack: Stack) -> None:
    stack.environment = {"SEGOPS_INSTANCE_ID": "same"}
    stack.start(number=0)
    ready(stack, 0)
    assert stack.start(number=1).wait(60) == 2
    assert "is a second one running with SEGOPS_INSTANCE_ID=same?" in log_text(stack, 1)
    ready(stack, 0)


def test_suspended_process_ends_without_data_loss(stack: Stack) -> None:
    sent = shop_events(600, users=30, partitions=3)
    stack.environment = {"SEGOPS_STALL_TIMEOUT": "3s"}
    worker = stack.start(crash_at="stall:2")
    stack.send(sent, final_ms=FINAL_MS)
    assert worker.wait(60) == 1
    assert "Timeout (0:00:03)!" in log_text(stack)
    stack.start()
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))


@rest
def test_worker_stopped_during_a_rebalance_shuts_down_cleanly(stack: Stack) -> None:
    stack.environment = {"SEGOPS_SESSION_TIMEOUT": "12s"}
    stack.publish()
    stopped = stack.start(number=0)
    absent = stack.start(number=1)
    wait_until(lambda: stack.owned_partitions(0) and stack.owned_partitions(1), "shared", stack.diagnosis)
    absent.send_signal(signal.SIGSTOP)  # the rebalance waits for this member
    try:
        stack.start(number=2)
        wait_until(lambda: stack.get("/readyz", 0)[0] == 503, "a rebalance", stack.diagnosis)
        stopped.terminate()
        assert stopped.wait(60) == 0, (stack.folder / "worker-0.log").read_text()[-2_000:]
    finally:
        absent.send_signal(signal.SIGCONT)
