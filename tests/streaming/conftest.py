"""An application of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from segops.brokers import LocalBroker
from tests.rest import in_rest

from .helpers import Stack


@pytest.fixture
def stack(broker: LocalBroker, topic_prefix: str, tmp_path: Path) -> Iterator[Stack]:
    """Topics, group and folders that no other test uses; its workers end with the test."""
    stack = Stack(broker.bootstrap_servers, topic_prefix, tmp_path)
    yield stack
    stack.close()


def need_transactions(broker: LocalBroker) -> None:
    """Skip where the broker hides committed records from readers that start behind an aborted transaction."""
    if "embedded" in broker.name:
        pytest.skip("the embedded broker does not list aborted transactions correctly")


@pytest.fixture
def several_workers(broker: LocalBroker) -> None:
    """Skip where a broker has a single worker."""
    if "embedded" in broker.name:
        pytest.skip("the embedded broker supports one worker process")


@pytest.fixture(params=["at_least_once", in_rest("exactly_once")])
def guarantee(request: pytest.FixtureRequest, broker: LocalBroker) -> str:
    """Each of the processing guarantees."""
    if request.param == "exactly_once":
        need_transactions(broker)
    return str(request.param)
