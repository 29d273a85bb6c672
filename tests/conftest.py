"""What every test may use: the session's broker, unique topic names, Hypothesis profiles.

SEGOPS_TEST_BROKER chooses the broker: auto (the first that this machine can run), docker, jvm or embedded.
A broker asked for by name which cannot be had fails the tests that need it; it is never replaced.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest
from hypothesis import settings

from segops.brokers import LocalBroker, choose
from segops.brokers.network import reserve_ports

#: An address that refuses connections: port 1 belongs to a service which nobody runs.
NOWHERE = "127.0.0.1:1"
WANTED = os.environ.get("SEGOPS_TEST_BROKER", "auto")
_USED = pytest.StashKey[LocalBroker]()

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("dev", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[LocalBroker]:
    """The broker of this run, shared by all tests: name topics and groups with ``topic_prefix``."""
    with choose(tmp_path_factory.mktemp("broker"), prefer=WANTED) as chosen:
        pytestconfig.stash[_USED] = chosen
        yield chosen


@pytest.fixture
def topic_prefix() -> str:
    """A prefix that no other test uses, for topics, groups and transactional ids."""
    return f"t{uuid4().hex[:10]}."


@pytest.fixture
def reserve() -> Iterator[Callable[[int], list[int]]]:
    """Reserve that many loopback ports until the test ends."""
    with ExitStack() as held:
        yield lambda count: held.enter_context(reserve_ports(count))


def pytest_report_header() -> str:
    return f"segops: broker wanted: {WANTED} (SEGOPS_TEST_BROKER)"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    used = config.stash.get(_USED, None)
    if used is None:
        return
    terminalreporter.write_sep("-", "segops broker")
    terminalreporter.write_line(f"used: {used.name}")
    for each in used.passed_over:
        terminalreporter.write_line(f"passed over: {each}")
