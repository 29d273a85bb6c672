"""Exactly once: what a read_committed consumer sees after kills, stops and takeovers."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections import Counter
from itertools import chain
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError
from aiokafka.structs import OffsetAndMetadata

from segops.brokers import LocalBroker
from segops.core.values import format_instant
from segops.kafka.clients import running_producer
from segops.schemas.positions import POSITIONS_KEY, Move, decode_positions
from segops.schemas.records import SOURCE_HEADER, TIME_HEADER, partition_of
from segops.schemas.ticks import TYPE_HEADER
from tests.forking import Running
from tests.rest import in_rest, rest

from .conftest import require_transactions
from .helpers import DAY_MS, START_MS, Sent, Stack, expected_changes, expected_states, shop_events, wait_until

pytestmark = pytest.mark.broker

FINAL_MS = START_MS + 2 * DAY_MS
BAD = [Sent(1, b"{"), Sent(2, b"null")]


@pytest.fixture
def stack(stack: Stack, broker: LocalBroker) -> Stack:
    require_transactions(broker)
    stack.guarantee = "exactly_once"
    stack.publish()
    return stack


def assert_exactly_once(stack: Stack, sent: list[Sent]) -> None:
    """Verify that every change, forwarded event and dead letter appears once and that states match."""
    names = stack.settings.topics
    expected = expected_changes(sent, stack.definitions, FINAL_MS)
    stack.wait_for_changes(expected)
    for topic in (names.membership_changes, names.membership_state):
        found = _once(stack, topic, len(expected))
        ids = Counter(dict(record.headers)["ce_id"].decode() for record in found)
        assert ids == Counter(expected.keys()), topic
    origins = Counter(
        dict(record.headers)["segops-source"] for record in _once(stack, names.profile_events, len(sent))
    )
    assert len(origins) == len(sent) and set(origins.values()) == {1}
    letters = [record.value for record in _once(stack, names.dead_letters, len(BAD))]
    assert sorted(letters) == sorted(bad.value for bad in BAD)
    states = expected_states(sent, stack.definitions, FINAL_MS)
    wait_until(lambda: stack.states() == states, "the states of the engine alone", stack.diagnosis)


def _once(stack: Stack, topic: str, count: int) -> list[Any]:
    """Wait until a topic has ``count`` visible records besides ticks, and return them."""

    def found() -> list[Any]:
        return [record for record in stack.read(topic) if dict(record.headers).get("segops-type") is None]

    wait_until(lambda: len(found()) >= count, f"{count} records of {topic}", stack.diagnosis)
    return found()


@pytest.mark.parametrize(
    "point",
    [
        "after_changelog_ack:2",
        *map(
            in_rest,
            [
                "after_output_ack:1",
                "after_store_write:1",
                "after_batch:5",
                "after_offset_commit:2",
                "after_output_ack:5",
                "after_changelog_ack:6",
                "after_offset_commit:4",
            ],
        ),
    ],
)
def test_kill_at_any_failpoint_repeats_nothing(stack: Stack, point: str) -> None:
    sent = shop_events(3_000, users=60, partitions=3)
    stack.send([*sent, *BAD], final_ms=FINAL_MS)
    assert stack.start(crash_at=point).wait(60) == 137
    stack.start()
    assert_exactly_once(stack, sent)


@rest
def test_successive_kills_repeat_nothing(stack: Stack) -> None:
    sent = shop_events(3_000, users=60, partitions=3)
    stack.send([*sent, *BAD], final_ms=FINAL_MS)
    for point in (
        "after_output_ack:2",
        "after_offset_commit:1",
        "after_store_write:2",
        "after_changelog_ack:1",
        "after_batch:2",
    ):
        assert stack.start(crash_at=point).wait(60) == 137
    stack.start()
    assert_exactly_once(stack, sent)


@rest
def test_stale_owner_is_fenced_and_its_transaction_aborted(stack: Stack) -> None:
    """Suspend a worker with an open transaction until its session expires, then resume it."""
    sent = shop_events(12_000, users=60, partitions=3)
    slow = {"SEGOPS_CHECKPOINT_INTERVAL": "1m", "SEGOPS_CHECKPOINT_MAX_RECORDS": "1000000"}
    stack.environment = {"SEGOPS_SESSION_TIMEOUT": "6s", **slow}
    stale = stack.start(number=0)
    wait_until(lambda: len(stack.owned_partitions(0)) == 3, "worker 0 owns all partitions", stack.diagnosis)
    blocks = [sent[at : at + 500] for at in range(0, len(sent), 500)]
    while not _stopped_in_a_transaction(stack, stale):
        stack.send(blocks.pop(0))
    try:
        stack.send([*chain(*blocks), *BAD], final_ms=FINAL_MS)
        stack.environment = {"SEGOPS_SESSION_TIMEOUT": "6s"}
        stack.start(number=1)
        stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))
    finally:
        stale.send_signal(signal.SIGCONT)
    log = stack.folder / "worker-0.log"
    wait_until(lambda: "waiting for Kafka: " in log.read_text(), "the worker waits", stack.diagnosis)
    wait_until(lambda: stack.owned_partitions(0) and stack.owned_partitions(1), "shared", stack.diagnosis)
    assert_exactly_once(stack, sent)
    assert stale.poll() is None


def _stopped_in_a_transaction(stack: Stack, worker: Running) -> bool:
    """Suspend a worker if it has sent uncommitted records; its first transaction records definitions."""
    topic = stack.settings.topics.profile_events
    worker.send_signal(signal.SIGSTOP)
    if len(stack.read(topic, isolation="read_uncommitted")) > len(stack.read(topic)):
        return True
    worker.send_signal(signal.SIGCONT)
    return False


@rest
def test_offsets_that_kafka_lost_are_found_in_the_changelog(stack: Stack) -> None:
    """Kafka can commit the records of a transaction without its offsets, when brokers restart."""
    sent = shop_events(3_000, users=60, partitions=3)
    stack.send([*sent, *BAD], final_ms=FINAL_MS)
    assert stack.start(crash_at="after_offset_commit:5").wait(60) == 137
    asyncio.run(_end_transactions(stack))
    moves = _last_moves(stack)
    assert stack.settings.topics.events in {topic for topic, _ in moves}
    wait_until(lambda: _committed_before(stack, moves), "the member is gone", stack.diagnosis)
    stack.start()
    assert_exactly_once(stack, sent)
    assert "Kafka lost a committed offset" in (stack.folder / "worker-0.log").read_text()


async def _end_transactions(stack: Stack) -> None:
    """Fence the killed worker: a transaction it was committing completes, one it had open is aborted."""
    settings = stack.settings
    for number in range(settings.topics.partitions):
        async with running_producer(settings.kafka, transactional_id=f"{settings.worker.app_id}-{number}"):
            pass


def _last_moves(stack: Stack) -> dict[tuple[str, int], Move]:
    """Return what the last transaction of each partition committed."""
    records = stack.read(stack.settings.worker.changelog)
    logged = {record.partition: record.value for record in records if record.key == POSITIONS_KEY}
    return {
        (topic, number): move
        for number, value in logged.items()
        for topic, move in decode_positions(value).items()
        if move.before is not None
    }


def _committed_before(stack: Stack, moves: dict[tuple[str, int], Move]) -> bool:
    """Commit the offsets from before; return False while the group still has a member."""
    try:
        asyncio.run(_commit_before(stack, moves))
    except CommitFailedError:
        return False
    return True


async def _commit_before(stack: Stack, moves: dict[tuple[str, int], Move]) -> None:
    group = stack.settings.worker.app_id
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.bootstrap_servers, group_id=group)
    partitions = [TopicPartition(*partition) for partition in moves]
    consumer.assign(partitions)
    await consumer.start()
    try:
        before = {partition: OffsetAndMetadata(moves[partition].before, "") for partition in partitions}
        await consumer.commit(before)
    finally:
        await consumer.stop()


@rest
def test_states_survive_the_loss_of_all_stores(stack: Stack) -> None:
    sent = shop_events(2_000, users=40, partitions=3)
    middle_ms = START_MS + DAY_MS // 2
    stack.environment = {"SEGOPS_SESSION_TIMEOUT": "6s"}  # the first worker's group membership ends with it
    stack.start(number=0)
    stack.send(sent[:1_000], final_ms=middle_ms)
    stack.wait_for_changes(expected_changes(sent[:1_000], stack.definitions, middle_ms))
    stack.stop()
    stack.start(number=1)  # another data folder
    stack.send([*sent[1_000:], *BAD], final_ms=FINAL_MS)
    assert_exactly_once(stack, sent)


@rest
def test_transaction_markers_do_not_count_as_lag(stack: Stack) -> None:
    sent = shop_events(300, users=10, partitions=3)
    stack.start()
    stack.send(sent, final_ms=FINAL_MS)
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))
    wait_until(lambda: set(_lags(stack).values()) == {0.0}, "no lag", stack.diagnosis)
    assert len(_lags(stack)) == 9


def _lags(stack: Stack) -> dict[str, float]:
    found = re.findall(r"^segops_consumer_lag_records(\{.*\}) (\S+)$", stack.get("/metrics")[1], re.MULTILINE)
    return {labels: float(value) for labels, value in found}


@rest
def test_switching_the_guarantee_continues_from_the_committed_offsets(stack: Stack) -> None:
    sent = shop_events(2_000, users=40, partitions=3)
    for begin, guarantee in ((0, "at_least_once"), (500, "exactly_once"), (1_000, "at_least_once")):
        stack.guarantee = guarantee
        stack.start()
        stack.send(sent[begin : begin + 500])
        topic = stack.settings.topics.profile_events
        wait_until(
            lambda topic=topic, end=begin + 500: sum(r.key is not None for r in stack.read(topic)) == end,
            "forwarded",
            stack.diagnosis,
        )
        stack.stop()
    stack.guarantee = "exactly_once"
    stack.send([*sent[1_500:], *BAD], final_ms=FINAL_MS)
    stack.start()
    assert_exactly_once(stack, sent)


def test_merge_messages_commit_before_the_interval_ends(stack: Stack) -> None:
    stack.environment = {"SEGOPS_CHECKPOINT_INTERVAL": "1m"}
    stack.start()
    asyncio.run(_forwarded(stack, "user_id:u1", {"userId": "u1", "anonymousId": "a1"}))
    topic = stack.settings.topics.profile_events

    def answered() -> bool:
        return b"handover" in {dict(record.headers).get(TYPE_HEADER) for record in stack.read(topic)}

    # A claim and its answer take two transactions; without early commits an interval would lie between them.
    wait_until(answered, "the answer to a claim", stack.diagnosis, deadline_s=50)


async def _forwarded(stack: Stack, profile_id: str, ids: dict[str, str]) -> None:
    """Write a profile event as the resolve step would."""
    form = {"type": "track", "event": "View", "messageId": "m1", "timestamp": format_instant(START_MS), **ids}
    headers = [(SOURCE_HEADER, b"0:0"), (TIME_HEADER, b"%d" % START_MS)]
    topic_partition = partition_of(profile_id.encode(), stack.partitions)
    async with running_producer(stack.settings.kafka) as producer:
        await producer.send_and_wait(
            stack.settings.topics.profile_events,
            json.dumps(form).encode(),
            key=profile_id.encode(),
            partition=topic_partition,
            headers=headers,
        )
