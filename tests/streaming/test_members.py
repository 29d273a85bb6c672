"""Workers as group members: address changes, permanent departures, duplicate names."""

from __future__ import annotations

import pytest

from segops.api.profiles import path_of
from segops.brokers import LocalBroker
from tests.rest import rest

from .helpers import Stack, wait_until

pytestmark = pytest.mark.broker


@pytest.fixture
def stack(stack: Stack, broker: LocalBroker) -> Stack:
    if broker.name.startswith("embedded"):
        pytest.skip("needs Apache Kafka")
    stack.publish()
    return stack


def share(stack: Stack) -> None:
    """Wait until workers 0 and 1 both own partitions."""
    stack.start(number=0)
    wait_until(lambda: stack.owned_partitions(0), "the first worker's partitions", stack.diagnosis)
    stack.start(number=1)
    wait_until(lambda: shared(stack), "both own some", stack.diagnosis)


def shared(stack: Stack) -> bool:
    both = [stack.owned_partitions(0), stack.owned_partitions(1)]
    return all(both) and sum(map(len, both)) == stack.partitions


def stop(stack: Stack, number: int) -> None:
    stack.workers[number].terminate()
    assert stack.workers[number].wait(40) == 0


def all_lead_to_the_owner(stack: Stack) -> bool:
    """Return whether each worker serves profiles of all partitions, directly or by a redirect."""
    profiles = [path_of(f"user_id:nobody{number}") for number in range(20)]
    return {stack.get(path, number) for path in profiles for number in (0, 1)} == {(404, "unknown\n")}


@pytest.mark.parametrize("number", [0, 1], ids=["leader", "follower"])
@rest
def test_worker_restarted_on_another_port_is_found_by_all(stack: Stack, number: int) -> None:
    share(stack)
    stop(stack, number)
    stack.change_port(number)
    stack.start(number=number)
    wait_until(lambda: shared(stack), "both own partitions again", stack.diagnosis)
    wait_until(lambda: all_lead_to_the_owner(stack), "redirects to the new port", stack.diagnosis)
    assert all(worker.poll() is None for worker in (stack.workers[1 - number], stack.workers[-1]))


@rest
def test_worker_restarts_under_another_host_name(stack: Stack) -> None:
    stack.start()
    wait_until(lambda: stack.owned_partitions(0), "the first worker's partitions", stack.diagnosis)
    stop(stack, 0)
    stack.environment = {"SEGOPS_ADVERTISED_HOST": "localhost"}
    stack.start()
    wait_until(lambda: len(stack.owned_partitions(0)) == stack.partitions, "them again", stack.diagnosis)


def test_permanently_stopped_worker_releases_its_partitions_at_once(stack: Stack) -> None:
    stack.environment = {"SEGOPS_LEAVE_ON_STOP": "true", "SEGOPS_SESSION_TIMEOUT": "3m"}
    share(stack)
    stop(stack, 1)
    wait_until(lambda: len(stack.owned_partitions(0)) == stack.partitions, "all of them", stack.diagnosis)
    stack.start(number=1)
    wait_until(lambda: shared(stack), "both own partitions again", stack.diagnosis)


@rest
def test_stopped_worker_is_removed_by_command(stack: Stack) -> None:
    stack.environment = {"SEGOPS_SESSION_TIMEOUT": "3m"}
    stack.start(number=0)
    wait_until(lambda: stack.owned_partitions(0), "the first worker's partitions", stack.diagnosis)
    (stays,) = stack.members()
    stack.start(number=1)
    wait_until(lambda: shared(stack), "both own some", stack.diagnosis)
    (leaves,) = set(stack.members()) - {stays}
    stop(stack, 1)
    assert stack.segops("group", "remove", leaves).stdout == f"removed {leaves}\n"
    wait_until(lambda: len(stack.owned_partitions(0)) == stack.partitions, "all of them", stack.diagnosis)
    assert stack.members() == [stays]
