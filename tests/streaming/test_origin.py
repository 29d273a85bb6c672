"""State belongs to the topics it was computed from and is never used with others silently."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from segops.kafka import topics
from tests.rest import in_rest, rest

from .helpers import DAY_MS, START_MS, Sent, Stack, expected_changes, shop_events, wait_until
from .topic_deletion import delete_topics

pytestmark = pytest.mark.broker

FINAL_MS = START_MS + 2 * DAY_MS


@pytest.fixture
def stack(stack: Stack, guarantee: str) -> Stack:
    stack.guarantee = guarantee
    stack.environment = {"SEGOPS_SESSION_TIMEOUT": "6s"}
    stack.publish()
    return stack


def log_text(stack: Stack, number: int = 0) -> str:
    return (stack.folder / f"worker-{number}.log").read_text()


def admin(stack: Stack, act: Callable[[AIOKafkaAdminClient], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        client = AIOKafkaAdminClient(bootstrap_servers=stack.bootstrap_servers)
        await client.start()
        try:
            return await act(client)
        finally:
            await client.close()

    return asyncio.run(run())


def run_through(stack: Stack, sent: list[Sent]) -> None:
    """Process these events and shut down cleanly."""
    stack.start()
    stack.send(sent, final_ms=FINAL_MS)
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))
    stack.stop()


def with_other_prefix(stack: Stack, **environment: str) -> Stack:
    """Return a stack with another topic prefix on the same broker and with the same data folders."""
    folder = stack.folder / "beside"
    folder.mkdir()
    other = Stack(stack.bootstrap_servers, f"{stack.name}other.", folder, guarantee=stack.guarantee)
    other.environment = {**stack.environment, **environment}
    other.publish()
    other.ports = stack.ports
    return other


@pytest.mark.parametrize("empty_folder", ["", in_rest("an-empty-disk")])
@rest
def test_topics_with_another_prefix_are_refused(stack: Stack, empty_folder: str) -> None:
    sent = shop_events(600, users=60, partitions=3)
    run_through(stack, sent)
    folder = stack.folder / empty_folder if empty_folder else stack.data_dir()
    other = with_other_prefix(stack, SEGOPS_APP_ID=stack.settings.worker.app_id, SEGOPS_DATA_DIR=str(folder))
    other.send(shop_events(300, users=60, partitions=3, seed=2), final_ms=FINAL_MS)
    assert other.start().wait(60) == 2, log_text(other)
    assert f"has read {stack.settings.topics.events}" in log_text(other)
    assert (
        f"not to {other.name}*. Discard the stored profiles with `segops worker --start-fresh`"
        in log_text(other)
    )
    assert other.changes() == {}
    more = shop_events(300, users=60, partitions=3, seed=5, start_ms=FINAL_MS)
    stack.start()  # its own topics are unchanged
    stack.send(more, final_ms=FINAL_MS + 2 * DAY_MS)
    stack.wait_for_changes(expected_changes([*sent, *more], stack.definitions, FINAL_MS + 2 * DAY_MS))


@rest
def test_changelog_alone_identifies_its_topics(stack: Stack) -> None:
    run_through(stack, shop_events(600, users=60, partitions=3))
    gone = [stack.settings.topics.events, stack.settings.topics.profile_events]
    delete_topics(stack, gone)  # including the committed offsets
    folder = str(stack.folder / "an-empty-disk")
    other = with_other_prefix(stack, SEGOPS_APP_ID=stack.settings.worker.app_id, SEGOPS_DATA_DIR=folder)
    other.send(shop_events(300, users=60, partitions=3, seed=2), final_ms=FINAL_MS)
    assert other.start().wait(60) == 2, log_text(other)
    assert f"belong to the topics {stack.name}* with 3 partitions, not to {other.name}*" in log_text(other)
    assert other.changes() == {}


def recreate(stack: Stack, topic: str) -> None:
    """Delete a topic and create it again."""
    delete_topics(stack, [topic])

    async def create() -> None:
        await topics.create(stack.settings)

    asyncio.run(create())


@pytest.mark.parametrize("retained", ["folder", in_rest("changelog")])
def test_recreated_profile_events_are_refused_after_growing_past_the_offset(
    stack: Stack, retained: str
) -> None:
    run_through(stack, shop_events(600, users=60, partitions=3))
    topic = stack.settings.topics.profile_events
    former = max(record.offset for record in stack.read(topic, isolation="read_uncommitted"))
    recreate(stack, topic)
    asyncio.run(stack.send_to(topic, [b"%d" % number for number in range(former + 10)]))
    if retained == "changelog":
        stack.environment = {"SEGOPS_DATA_DIR": str(stack.folder / "an-empty-disk")}
    assert stack.start().wait(60) == 2, log_text(stack)
    assert "holds another record at offset" in log_text(stack)
    assert topic in log_text(stack) and "segops worker --start-fresh" in log_text(stack)


def test_recreated_events_are_read_from_the_beginning_or_refused(stack: Stack) -> None:
    sent = shop_events(600, users=60, partitions=3)
    run_through(stack, sent)
    topic = stack.settings.topics.events
    recreate(stack, topic)
    more = [Sent(one.partition, one.value) for one in shop_events(900, users=60, partitions=3, seed=3)]
    stack.send(more, final_ms=FINAL_MS)
    stack.start()
    wait_until(lambda: more_came(stack) or stack.workers[-1].poll() == 2, "read or refused", stack.diagnosis)
    if stack.workers[-1].poll() == 2:
        assert "holds another record at offset" in log_text(stack)


def more_came(stack: Stack) -> bool:
    found = stack.read(stack.settings.topics.profile_events)
    return sum(b"m3-" in (record.value or b"") for record in found) == 900


def expire(stack: Stack, *names: str) -> None:
    """Delete all records of these topics, as retention does."""

    async def act(client: AIOKafkaAdminClient) -> None:
        consumer = AIOKafkaConsumer(bootstrap_servers=stack.bootstrap_servers)
        await consumer.start()
        partitions = [TopicPartition(name, number) for name in names for number in range(stack.partitions)]
        ends = await consumer.end_offsets(partitions)
        await consumer.stop()
        await client.delete_records({partition: RecordsToDelete(end) for partition, end in ends.items()})

    admin(stack, act)


def fully_committed(stack: Stack) -> bool:
    """Return whether both inputs are committed to their ends, transaction markers included."""
    names = (stack.settings.topics.events, stack.settings.topics.profile_events)

    async def look() -> bool:
        partitions = [TopicPartition(name, number) for name in names for number in range(stack.partitions)]
        consumer = AIOKafkaConsumer(
            bootstrap_servers=stack.bootstrap_servers, group_id=stack.settings.worker.app_id
        )
        await consumer.start()
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        committed = [await consumer.committed(partition) for partition in partitions]
        await consumer.stop()
        return committed == [ends[partition] for partition in partitions]

    return asyncio.run(look())


def test_expiry_of_all_read_records_does_not_stop_a_worker(stack: Stack) -> None:
    sent = shop_events(300, users=30, partitions=3)
    more = shop_events(300, users=30, partitions=3, seed=5, start_ms=FINAL_MS)
    stack.start()
    stack.send(sent, final_ms=FINAL_MS)
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))
    wait_until(lambda: fully_committed(stack), "rest", stack.diagnosis)
    stack.stop()
    expire(stack, stack.settings.topics.events, stack.settings.topics.profile_events)
    stack.start()
    stack.send(more, final_ms=FINAL_MS + 2 * DAY_MS)
    stack.wait_for_changes(expected_changes([*sent, *more], stack.definitions, FINAL_MS + 2 * DAY_MS))


@rest
def test_operator_must_decide_when_no_record_is_left_to_compare(stack: Stack) -> None:
    """The topic was recreated without committed offsets, and the last applied record has expired."""
    run_through(stack, shop_events(300, users=30, partitions=3))
    topic = stack.settings.topics.profile_events
    former = max(record.offset for record in stack.read(topic, isolation="read_uncommitted"))
    recreate(stack, topic)
    asyncio.run(stack.send_to(topic, [b"%d" % number for number in range(former + 10)]))
    expire(stack, topic)
    assert stack.start().wait(60) == 2, log_text(stack)
    assert "the last one that was applied, has expired, and" in log_text(stack)
    assert "segops worker --accept-topics" in log_text(stack)
    stack.start(options=["--accept-topics"])
    wait_until(lambda: stack.get("/readyz")[0] == 200, "ready", stack.diagnosis)
    assert "topic accepted by --accept-topics" in log_text(stack)
    stack.stop()


@rest
def test_store_of_another_changelog_is_rebuilt(stack: Stack) -> None:
    """Use a data folder under another application whose changelog has passed the store's offset."""
    run_through(stack, shop_events(150, users=30, partitions=3))
    other = with_other_prefix(stack)
    sent = shop_events(900, users=60, partitions=3, seed=2)
    run_through(other, sent)
    other.environment["SEGOPS_DATA_DIR"] = str(stack.data_dir())
    other.start()
    wait_until(lambda: other.get("/readyz")[0] == 200, "ready", other.diagnosis)
    assert "it belongs to another changelog" in log_text(other)
    assert 'segops_stores_rebuilt_total{reason="damaged"} 3.0' in other.get("/metrics")[1]
    other.stop()
