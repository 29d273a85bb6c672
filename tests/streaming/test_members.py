"""Workers as members of a group: at another address, leaving for good, in the way of each other."""

from __future__ import annotations

import pytest

from segops.api.profiles import path_of
from segops.brokers import LocalBroker
from tests.rest import in_rest

from .helpers import Stack, wait_until

pytestmark = pytest.mark.broker


@pytest.fixture
def stack(stack: Stack, broker: LocalBroker) -> Stack:
    if broker.name.startswith("embedded"):
        pytest.skip("needs Apache Kafka")
    stack.publish()
    return stack


def share(stack: Stack) -> None:
    """Let workers 0 and 1 have partitions each."""
    stack.start(number=0)
    wait_until(lambda: stack.owned(0), "the first worker's partitions", stack.diagnosis)
    stack.start(number=1)
    wait_until(lambda: shared(stack), "both own some", stack.diagnosis)


def shared(stack: Stack) -> bool:
    both = [stack.owned(0), stack.owned(1)]
    return all(both) and sum(map(len, both)) == stack.partitions


def stop(stack: Stack, number: int) -> None:
    stack.workers[number].terminate()
    assert stack.workers[number].wait(40) == 0


def all_lead_to_the_owner(stack: Stack) -> bool:
    """Whether each worker answers, by a redirect or itself, for profiles of all partitions."""
    profiles = [path_of(f"user_id:nobody{number}") for number in range(20)]
    return {stack.get(path, number) for path in profiles for number in (0, 1)} == {(404, "unknown\n")}


@pytest.mark.parametrize("number", [0, in_rest(1)], ids=["leader", "follower"])
def test_a_worker_restarted_on_another_port_comes_up_and_all_know(stack: Stack, number: int) -> None:
    share(stack)
    stop(stack, number)
    stack.move(number)
    stack.start(number=number)
    wait_until(lambda: shared(stack), "both own some again", stack.diagnosis)
    wait_until(lambda: all_lead_to_the_owner(stack), "redirects to the new port", stack.diagnosis)
    assert all(worker.poll() is None for worker in (stack.workers[1 - number], stack.workers[-1]))


def test_a_worker_restarted_under_another_name_of_its_host_comes_up(stack: Stack) -> None:
    stack.start()
    wait_until(lambda: stack.owned(0), "the first worker's partitions", stack.diagnosis)
    stop(stack, 0)
    stack.environment = {"SEGOPS_ADVERTISED_HOST": "localhost"}
    stack.start()
    wait_until(lambda: len(stack.owned(0)) == stack.partitions, "them again", stack.diagnosis)


def test_a_worker_that_stops_for_good_gives_its_partitions_back_at_once(stack: Stack) -> None:
    stack.environment = {"SEGOPS_LEAVE_ON_STOP": "true", "SEGOPS_SESSION_TIMEOUT": "3m"}
    share(stack)
    stop(stack, 1)
    wait_until(lambda: len(stack.owned(0)) == stack.partitions, "all of them", stack.diagnosis)
    stack.start(number=1)
    wait_until(lambda: shared(stack), "both own some again", stack.diagnosis)


def test_a_worker_that_has_stopped_is_taken_out_by_hand(stack: Stack) -> None:
    stack.environment = {"SEGOPS_SESSION_TIMEOUT": "3m"}
    stack.start(number=0)
    wait_until(lambda: stack.owned(0), "the first worker's partitions", stack.diagnosis)
    (stays,) = stack.members()
    stack.start(number=1)
    wait_until(lambda: shared(stack), "both own some", stack.diagnosis)
    (leaves,) = set(stack.members()) - {stays}
    stop(stack, 1)
    assert stack.segops("group", "remove", leaves).stdout == f"removed {leaves}\n"
    wait_until(lambda: len(stack.owned(0)) == stack.partitions, "all of them", stack.diagnosis)
    assert stack.members() == [stays]
