"""Watchers detect stalls, clock jumps and lost group membership."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.errors import KafkaError

from segops.core.errors import SegopsError
from segops.kafka import topics
from segops.kafka.outages import OutOfTouch
from segops.streaming.connections import Connections
from segops.streaming.liveness import watchers as guards
from segops.streaming.liveness.watchers import Stall
from segops.streaming.partition.clock import PartitionClock
from segops.testing import FakeClock
from segops.wall_clock import Jumps

from .helpers import Stack

PARTITION = ("events", 0)


def test_waiting_records_without_progress_are_a_stall() -> None:
    clock = FakeClock()
    stall = Stall(60, clock.seconds)
    stall.check({PARTITION: (5, 9)})
    clock.now_ms = 59_000
    stall.check({PARTITION: (5, 9)})
    stall.check({PARTITION: (6, 9)})  # the offset moved
    clock.now_ms = 118_000
    stall.check({PARTITION: (6, 9)})
    clock.now_ms = 120_000
    with pytest.raises(SegopsError, match="events:0 has 3 unread records and made no progress for 60 s"):
        stall.check({PARTITION: (6, 9)})


@pytest.mark.parametrize("end", [None, 5, 0])
def test_no_waiting_records_are_not_a_stall(end: int | None) -> None:
    clock = FakeClock()
    stall = Stall(60, clock.seconds)
    for clock.now_ms in (0, 100_000, 200_000):
        stall.check({PARTITION: (5, end)})


def test_reassigned_partition_restarts_the_stall_timer() -> None:
    clock = FakeClock()
    stall = Stall(60, clock.seconds)
    stall.check({PARTITION: (5, 9)})
    clock.now_ms = 50_000
    stall.check({})
    clock.now_ms = 100_000
    stall.check({PARTITION: (5, 9)})


def test_timeout_of_zero_disables_stall_detection() -> None:
    clock = FakeClock()
    stall = Stall(0, clock.seconds)
    stall.check({PARTITION: (5, 9)})
    clock.now_ms = 10**9
    stall.check({PARTITION: (5, 9)})


def test_clock_jump_is_reported_once_and_small_corrections_are_ignored() -> None:
    wall, steady = FakeClock(1_000_000), FakeClock(10_000)
    jumps = Jumps(wall, steady.seconds)
    wall.advance(60_000)
    steady.advance(60_000)
    assert jumps.jumped_ms() == 0
    wall.advance(4_000)
    assert jumps.jumped_ms() == 0
    wall.advance(3_600_000)
    assert jumps.jumped_ms() == 3_600_000
    assert jumps.jumped_ms() == 0
    wall.advance(-7_200_000)
    assert jumps.jumped_ms() == -7_200_000


def test_partition_clock_never_goes_back() -> None:
    clock = PartitionClock(sources=1, by_events=False)
    for reported_ms in (5_000, 9_000, 2_000, 8_999):
        clock.advance(reported_ms)
    assert clock.now_ms == 9_000


class Group:
    """A coordinator that answers a given number of heartbeats."""

    def __init__(self, answers: int) -> None:
        self.left = answers

    async def _do_heartbeat(self) -> bool:
        self.left -= 1
        if self.left >= 0:
            return True
        await asyncio.sleep(60)
        return True


def test_worker_stops_when_the_group_does_not_answer() -> None:
    group = Group(answers=3)
    with pytest.raises(SegopsError, match="has not answered"):
        asyncio.run(guards.watch_lease(lambda: group, lambda: True, 0.2))
    assert group.left < 0


def test_unanswered_heartbeat_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Refusing(Group):
        async def _do_heartbeat(self) -> bool:
            raise KafkaError("gone")

    with pytest.raises(OutOfTouch):
        asyncio.run(guards.watch_lease(lambda: Refusing(answers=0), lambda: True, 0.2))
    assert [record.getMessage().split(",")[0] for record in caplog.records] == ["the group does not answer"]


def test_worker_without_partitions_needs_no_answer() -> None:
    async def watch() -> None:
        async with asyncio.timeout(0.5):
            await guards.watch_lease(lambda: Group(answers=0), lambda: False, 0.05)

    with pytest.raises(TimeoutError):
        asyncio.run(watch())


@pytest.mark.broker
def test_process_that_may_have_lost_its_partitions_sends_nothing(
    stack: Stack,
) -> None:
    topic, lost = stack.settings.topics.membership_changes, False

    def fence() -> None:
        if lost:
            raise SegopsError("this process was unresponsive")

    async def scenario() -> None:
        nonlocal lost
        await topics.create(stack.settings)
        producer = Connections(stack.settings).producer(fence)
        await producer.start()
        await producer.send_and_wait(topic, b"before", partition=0)
        late = await producer.send(topic, b"late", partition=0)
        lost = True
        with pytest.raises(KafkaError):
            await late
        await producer.stop()

    asyncio.run(scenario())
    assert [record.value for record in stack.read(topic)] == [b"before"]


@pytest.mark.broker
@pytest.mark.parametrize("kind", ["shared", "transactional"])
def test_queued_requests_are_not_sent_after_connections_drop(stack: Stack, kind: str) -> None:
    topic = stack.settings.topics.membership_changes

    async def scenario() -> None:
        await topics.create(stack.settings)
        connections = Connections(stack.settings)
        producer = connections.producer() if kind == "shared" else connections.transactional_producer(0)
        await producer.start()
        if kind == "transactional":
            await producer.begin_transaction()
        late = await producer.send(topic, b"late", partition=0)
        connections.drop()
        with pytest.raises(KafkaError):
            await late

    asyncio.run(scenario())
    assert stack.read(topic, isolation="read_uncommitted") == []
