"""Fixtures of the streaming tests: each test has its own application."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from segops.brokers import LocalBroker
from tests.faults.proxy import FaultyNetwork
from tests.rest import in_rest

from .helpers import Stack


@pytest.fixture
def stack(broker: LocalBroker, topic_prefix: str, tmp_path: Path) -> Iterator[Stack]:
    """Yield an application with its own topics, group and folders; its workers stop with the test."""
    stack = Stack(broker.bootstrap_servers, topic_prefix, tmp_path)
    yield stack
    stack.close()


@pytest.fixture
def network(stack: Stack) -> Iterator[FaultyNetwork]:
    """Yield a network between the brokers and the processes that are started with its redirection."""
    ports = [int(address.rpartition(":")[2]) for address in stack.bootstrap_servers.split(",")]
    network = FaultyNetwork(ports)
    yield network
    network.close()


def require_transactions(broker: LocalBroker) -> None:
    """Skip brokers that hide committed records from consumers that start after an aborted transaction."""
    if "embedded" in broker.name:
        pytest.skip("the embedded broker does not list aborted transactions correctly")


@pytest.fixture
def several_workers(broker: LocalBroker) -> None:
    """Skip brokers that support a single worker only."""
    if "embedded" in broker.name:
        pytest.skip("the embedded broker supports one worker process")


@pytest.fixture(params=["at_least_once", in_rest("exactly_once")])
def guarantee(request: pytest.FixtureRequest, broker: LocalBroker) -> str:
    """Return each of the processing guarantees."""
    if request.param == "exactly_once":
        require_transactions(broker)
    return str(request.param)
