"""The embedded broker has one worker: a further one is refused in words, and the first notices nothing."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from segops.brokers import LocalBroker, choose, obstacle
from tests.rest import rest

from .helpers import DAY_MS, START_MS, Stack, oracle, shop, wait_until

pytestmark = pytest.mark.broker

FINAL_MS = START_MS + 2 * DAY_MS


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    """An embedded one, whatever the other tests have."""
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


def said(stack: Stack, number: int = 0) -> str:
    return (stack.folder / f"worker-{number}.log").read_text()


def test_a_second_worker_is_refused_and_the_first_goes_on(stack: Stack) -> None:
    sent = shop(600, users=30, partitions=3)
    first = stack.start(number=0)
    ready(stack)
    stack.send(sent[:300])
    (name,) = stack.members()
    assert stack.start(number=1).wait(60) == 2
    assert "the embedded broker supports one worker process" in said(stack, 1)
    assert f"segops group remove {name}" in said(stack, 1)
    stack.send(sent[300:], final_ms=FINAL_MS)
    stack.wait_for_changes(oracle(sent, stack.definitions, FINAL_MS))
    assert first.poll() is None


def test_several_processes_are_refused(stack: Stack) -> None:
    assert stack.start(processes=2).wait(60) == 2
    assert "the embedded broker supports one worker process" in said(stack)
    assert stack.members() == []


def test_another_worker_comes_up_once_the_first_has_stopped(stack: Stack) -> None:
    first = stack.start(number=0)
    ready(stack, 0)
    first.terminate()
    assert first.wait(60) == 0
    stack.start(number=1)
    ready(stack, 1)


@rest
def test_a_worker_that_is_lost_is_taken_out_by_hand(stack: Stack) -> None:
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
def test_a_worker_that_was_killed_comes_up_at_another_address(stack: Stack) -> None:
    killed = stack.start()
    ready(stack)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    stack.move()
    stack.start()
    ready(stack)
