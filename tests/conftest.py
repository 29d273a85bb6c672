"""Shared fixtures: the broker of the session, unique topic names, Hypothesis profiles.

SEGOPS_TEST_BROKER chooses the broker: auto (the first that this machine can run), docker, jvm or embedded.
A broker named explicitly is never replaced: if it is unavailable, the tests that need it fail.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import settings

from segops.brokers import LocalBroker
from segops.brokers.network import reserve_ports

from .shared_broker import name_of_used, shared_broker, wait_until_stopped

#: An address that refuses connections: port 1 is assigned to a service that is no longer in use.
NOWHERE = "127.0.0.1:1"
WANTED = os.environ.get("SEGOPS_TEST_BROKER", "auto")
_FOLDER = pytest.StashKey[Path]()
#: Folders of long tests that share only the broker of the run.
_ONE_BY_ONE = ("tests/faults/", "tests/streaming/")
#: Modules in these folders whose tests share other fixtures.
_TOGETHER = ("tests/streaming/test_embedded.py",)

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("dev", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


def scope_of(nodeid: str) -> str:
    """Return the unit that is assigned to one process of a parallel run: a test, or a module."""
    module = nodeid.partition("::")[0]
    alone = module.startswith(_ONE_BY_ONE) and module not in _TOGETHER
    return nodeid if alone else module


@pytest.fixture(scope="session")
def broker(pytestconfig: pytest.Config) -> Iterator[LocalBroker]:
    """Provide the broker that all processes of this run share; prefix names with ``topic_prefix``."""
    with shared_broker(pytestconfig.stash[_FOLDER], WANTED) as shared:
        yield shared


@pytest.fixture
def topic_prefix() -> str:
    """Return a unique prefix for topics, groups and transactional ids."""
    return f"t{uuid4().hex[:10]}."


@pytest.fixture
def reserve() -> Iterator[Callable[[int], list[int]]]:
    """Return a function that reserves loopback ports until the test ends."""
    with ExitStack() as held:
        yield lambda count: held.enter_context(reserve_ports(count))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run tests with a broker first: they take longest, and short tests balance the processes at the end."""
    items.sort(key=lambda item: item.get_closest_marker("broker") is None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Distribute the tests of a parallel run by ``scope_of``, unless ``--dist`` is given."""
    if config.getoption("dist") != "load":  # the default of -n
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    config.option.loadscopereorder = False
    return Scheduling(config, log)


def pytest_report_header() -> str:
    return f"segops: requested broker: {WANTED} (SEGOPS_TEST_BROKER)"


def pytest_sessionstart(session: pytest.Session) -> None:
    """Choose a folder that all processes of the run (pytest-xdist) share: below the controller's."""
    base: Path = session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    below_controller = hasattr(session.config, "workerinput")
    session.config.stash[_FOLDER] = (base.parent if below_controller else base) / "shared-broker"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    used = name_of_used(config.stash[_FOLDER])
    if used is None:
        return
    name, passed_over = used
    terminalreporter.write_sep("-", "segops broker")
    terminalreporter.write_line(f"used: {name}")
    for each in passed_over:
        terminalreporter.write_line(f"passed over: {each}")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Wait until the broker has stopped, so that the next run does not overlap with it."""
    folder = config.stash.get(_FOLDER, None)
    if folder is not None and not hasattr(config, "workerinput"):
        wait_until_stopped(folder)
