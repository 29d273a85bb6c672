"""The worker's reaction to failures: reopen its partitions or end."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from typing import Any

import pytest
import uvloop
from aiokafka import errors
from prometheus_client import CollectorRegistry

from segops.config import load
from segops.core.errors import SegopsError, StateError, StoreWriteError, UserError
from segops.kafka.outages import Outage, OutOfTouch, Pauses, is_outage
from segops.kafka.reachability import Cause, ConnectionProblem, Unreachable
from segops.metrics import Metrics
from segops.streaming import lifecycle
from segops.streaming.lifecycle import JoinTimer, Lifecycle
from segops.testing import FakeClock


def wrapped(cause: BaseException) -> errors.KafkaError:
    error = errors.KafkaError("Unexpected error during batch delivery")
    error.__cause__ = cause
    return error


OUTAGES: list[BaseException] = [
    Unreachable("no broker"),
    OutOfTouch("the group has not answered"),
    errors.KafkaConnectionError("gone"),
    errors.NodeNotReadyError("away"),
    errors.RequestTimedOutError(),
    errors.NotEnoughReplicasError(),
    errors.KafkaTimeoutError(),
    errors.CommitFailedError("not a member"),
    errors.ProducerFenced(),
    errors.InvalidProducerEpoch(),
    errors.OutOfOrderSequenceNumber(),
    errors.UnknownProducerId(),
    errors.InvalidTxnState(),
    errors.IllegalOperation("in error"),
    errors.GroupCoordinatorNotAvailableError(),
    wrapped(ConnectionResetError()),
    wrapped(wrapped(errors.KafkaConnectionError("gone"))),
    errors.KafkaError("Unexpected error during batch delivery"),
    ConnectionResetError(),
    TimeoutError(),
    socket.gaierror(socket.EAI_NONAME, "the name server is away too"),
    OSError(errno.EHOSTUNREACH, "No route to host"),
]
NONE: list[BaseException] = [
    UserError("a topic was deleted"),
    SegopsError("records wait"),
    StateError("damaged"),
    StoreWriteError("the disk is full"),
    errors.TopicAuthorizationFailedError("segops.events"),
    errors.GroupAuthorizationFailedError("segops"),
    errors.MessageSizeTooLargeError("4 MB"),
    errors.InvalidTopicError(),
    wrapped(TypeError("a bug")),
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EMFILE, "Too many open files"),
    TypeError("a bug"),
    AssertionError(),
]


@pytest.mark.parametrize("error", OUTAGES, ids=repr)
def test_recoverable_errors_are_outages(error: BaseException) -> None:
    assert is_outage(error)


@pytest.mark.parametrize("error", NONE, ids=repr)
def test_other_errors_are_not_outages(error: BaseException) -> None:
    assert not is_outage(error)


def test_write_to_a_closed_connection_is_an_outage() -> None:
    async def write() -> None:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        async with server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.transport.abort()
            await asyncio.sleep(0)  # lets the loop close the handle
            writer.write(b"x")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, pytest.raises(RuntimeError) as raised:
        runner.run(write())
    assert is_outage(raised.value)
    assert not is_outage(RuntimeError("a bug"))


def test_pauses_grow_to_a_limit_and_reset() -> None:
    least, most = Pauses(lambda: 1.0), Pauses(lambda: 0.0)
    for _ in range(20):
        assert 0.25 <= least.take() <= most.take() <= 15.0
    most.reset()
    assert most.take() == 0.5


def test_outage_is_logged_at_increasing_intervals(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    clock = FakeClock()
    outage = Outage(clock.seconds)
    for clock.now_ms in range(0, 3_600_000, 1_000):
        outage.failed(Unreachable("no broker"))
    assert outage.seconds == 3_599
    outage.over()
    outage.over()
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0] == "waiting for Kafka: no broker"
    pauses = [line.split()[5] for line in messages[1:-1]]
    assert pauses[:4] == ["5", "15", "35", "75"]
    assert len(pauses) < 15
    assert messages[-1].startswith("Kafka answers again after 3599 s")
    assert outage.seconds == 0


def test_member_kept_out_by_a_reachable_group_is_unhealthy() -> None:
    clock = FakeClock()
    joining = JoinTimer(600, clock.seconds)
    for second, waiting_to_join in ((0, True), (500, True), (501, False), (502, True), (1_102, True)):
        clock.now_ms = second * 1_000
        joining.note(waiting_to_join=waiting_to_join)
        assert not joining.too_long
    clock.now_ms = 1_103_000
    assert joining.too_long
    joining.note(waiting_to_join=False)  # as while brokers are down
    assert not joining.too_long


def test_limit_of_0_waits_indefinitely() -> None:
    clock = FakeClock()
    joining = JoinTimer(0, clock.seconds)
    joining.note(waiting_to_join=True)
    clock.now_ms = 10**12
    assert not joining.too_long


class App:
    """A fake application that runs ``works`` and then fails with ``error``, or runs on."""

    def __init__(self, error: BaseException | None) -> None:
        self.connections = self.watchdog = self
        self.ready = self.joined = True
        self.error = error
        self.done: list[str] = []
        self.failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def live(self, definitions: AsyncIterator[object]) -> None:
        self.left = asyncio.ensure_future(asyncio.Event().wait())
        if self.error is None:
            await asyncio.Event().wait()
        raise self.error or AssertionError

    def rest(self) -> None: ...

    def drop(self) -> None:
        self.done.append("dropped")

    def discard(self) -> None:
        self.done.append("discarded")
        assert self.left.cancelled()

    async def stop(self) -> None:
        self.done.append("stopped")


class World:
    """A lifecycle over these applications and broker responses, in order; the last of each repeats."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, openings: list[BaseException | None]) -> None:
        self.openings = iter(openings)
        self.answers: Iterator[BaseException | None] = iter(())
        self.apps: list[App] = []
        self.metrics = Metrics(CollectorRegistry())
        monkeypatch.setattr(lifecycle, "follow", self._follow)
        monkeypatch.setattr(lifecycle, "_CANCEL_TIMEOUT_S", 0.2)
        monkeypatch.setattr(lifecycle, "_CANCEL_AGAIN_S", 0.05)
        monkeypatch.setattr(Pauses, "take", lambda _: 0.0)

    async def _admit(self) -> lifecycle.Build:
        error = next(self.answers, None)
        if error is not None:
            raise error
        return self._build

    async def _follow(self, settings: object, **_: object) -> AsyncIterator[list[object]]:
        yield []

    def _build(self, definitions: object) -> Any:
        self.apps.append(App(next(self.openings)))
        return self.apps[-1]

    def run(self, until: Callable[[Lifecycle], bool] = lambda _: False) -> Lifecycle:
        async def scenario() -> Lifecycle:
            lived = Lifecycle(load(), self.metrics, admit=self._admit, release=lambda: None)
            stop = asyncio.Event()
            running = asyncio.ensure_future(lived.run(stop))
            while not running.done() and not until(lived):
                await asyncio.sleep(0)
            self.condition = lived.condition()
            stop.set()
            await running
            return lived

        return asyncio.run(scenario())


def refused() -> Unreachable:
    return Unreachable("nothing listens", (ConnectionProblem("kafka:9092", Cause.REFUSED),))


def unknown_host() -> Unreachable:
    return Unreachable("unknown host name", (ConnectionProblem("kafka:9092", Cause.UNKNOWN_HOST),))


def test_worker_releases_its_resources_and_reopens_after_an_outage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch, [ConnectionResetError(), errors.ProducerFenced(), None])
    world.run(until=lambda lived: len(world.apps) == 3 and lived.app is not None)
    assert [app.done for app in world.apps] == [
        ["dropped", "discarded"],
        ["dropped", "discarded"],
        ["stopped"],
    ]
    assert world.metrics.reopenings._value.get() == 2
    assert world.metrics.broker_connected._value.get() == 1
    assert world.condition == (True, "", False)


def test_worker_waits_for_a_broker_at_startup_and_logs_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, [None])
    world.answers = (refused() for _ in count())
    world.run(
        until=lambda lived: not lived.condition().ready and "nothing listens" in lived.condition().reason
    )
    assert not world.condition.failed
    assert not world.apps
    assert world.metrics.reopenings._value.get() == 0


def test_invalid_address_ends_a_worker_at_startup_only(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, [])
    world.answers = iter([refused(), unknown_host()])
    with pytest.raises(Unreachable, match="unknown host name"):
        world.run()
    world = World(monkeypatch, [ConnectionResetError(), None])
    world.answers = iter([None, unknown_host(), unknown_host()])
    world.run(until=lambda lived: len(world.apps) == 2 and lived.app is not None)
    assert world.apps[1].done == ["stopped"]


@pytest.mark.parametrize(
    "error", [StateError("damaged"), UserError("topics were changed"), TypeError("a bug")]
)
def test_other_errors_end_a_worker(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    world = World(monkeypatch, [error])
    with pytest.raises(type(error), match=str(error)):
        world.run()
    assert "stopped" not in world.apps[0].done  # no commit allowed


def test_task_that_ignores_cancellation_ends_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, [ConnectionResetError()])

    async def stubborn() -> None:
        for _ in range(20):
            try:
                await asyncio.sleep(0.1)
            except asyncio.CancelledError:
                continue

    def discard(app: App) -> None: ...

    async def live(app: App, definitions: object) -> None:
        asyncio.ensure_future(stubborn()).set_name("stubborn")
        await asyncio.sleep(0)
        raise ConnectionResetError

    monkeypatch.setattr(App, "live", live)
    monkeypatch.setattr(App, "discard", discard)
    with pytest.raises(SegopsError, match=r"tasks of the failed session did not end: .*stubborn"):
        world.run()
