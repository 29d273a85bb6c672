"""The embedded broker supports one worker: a second is refused and does not affect the first."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from segops.brokers import LocalBroker, choose, obstacle
from tests.rest import rest

from .helpers import DAY_MS, START_MS, Stack, expected_changes, shop_events, wait_until

pytestmark = pytest.mark.broker

FINAL_MS = START_MS + 2 * DAY_MS


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    """Yield an embedded broker, whatever broker the other tests use."""
    if reason := obstacle("embedded"):
        pytest.skip(reason)
    with choose(tmp_path_factory.mktemp("embedded"), prefer="embedded") as chosen:
        yield chosen


@pytest.fixture
def stack(stack: Stack) -> Stack:
    stack.publish()
    return stack


def ready(stack: Stack, number: int = 0) -> None:
    wait_until(lambda: stack.get("/readyz", number)[0] == 200, "ready", stack.diagnosis)


def log_text(stack: Stack, number: int = 0) -> str:
    return (stack.folder / f"worker-{number}.log").read_text()


def test_second_worker_is_refused_and_the_first_continues(stack: Stack) -> None:
    sent = shop_events(600, users=30, partitions=3)
    first = stack.start(number=0)
    ready(stack)
    stack.send(sent[:300])
    (name,) = stack.members()
    assert stack.start(number=1).wait(60) == 2
    assert "the embedded broker supports one worker process" in log_text(stack, 1)
    assert f"segops group remove {name}" in log_text(stack, 1)
    stack.send(sent[300:], final_ms=FINAL_MS)
    stack.wait_for_changes(expected_changes(sent, stack.definitions, FINAL_MS))
    assert first.poll() is None


def test_multiple_processes_are_refused(stack: Stack) -> None:
    assert stack.start(processes=2).wait(60) == 2
    assert "the embedded broker supports one worker process" in log_text(stack)
    assert stack.members() == []


def test_worker_starts_after_another_has_stopped(stack: Stack) -> None:
    first = stack.start(number=0)
    ready(stack, 0)
    first.terminate()
    assert first.wait(60) == 0
    stack.start(number=1)
    ready(stack, 1)


@rest
def test_lost_worker_is_removed_by_command(stack: Stack) -> None:
    lost = stack.start(number=0)
    ready(stack, 0)
    lost.send_signal(signal.SIGKILL)
    lost.wait()
    assert stack.start(number=1).wait(60) == 2
    (name,) = stack.members()
    assert stack.segops("group", "remove", name).stdout == f"removed {name}\n"
    assert f"not in the group: {name}" in str(stack.segops("group", "remove", name).exception)
    stack.start(number=1)
    ready(stack, 1)


@rest
def test_killed_worker_restarts_on_another_port(stack: Stack) -> None:
    killed = stack.start()
    ready(stack)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    stack.change_port()
    stack.start()
    ready(stack)
