"""Fixtures for all tests (broker, unique topic names, ports), scheduling and Hypothesis profiles.

SEGOPS_TEST_BROKER selects the broker: auto (the first that this machine can run), docker, jvm or embedded.
If a broker selected by name is unavailable, the tests that need it fail; no other kind replaces it.
"""

from __future__ import annotations

import gc
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

from .shared_broker import delete_topics, shared_broker, used_broker, wait_until_stopped

#: An address that refuses connections: port 1 is assigned to an obsolete service (tcpmux).
NOWHERE = "127.0.0.1:1"
REQUESTED = os.environ.get("SEGOPS_TEST_BROKER", "auto")
#: Tests without a broker that `make check` leaves to `make test`: those of a fifth of a second or more.
SLOW = frozenset(Path(__file__).with_name("slow.txt").read_text("utf-8").split())
_FOLDER = pytest.StashKey[Path]()
#: Folders of long tests that share nothing but the broker of the run.
_SPLIT_FOLDERS = ("tests/faults/", "tests/streaming/")
#: Modules in these folders whose tests share fixtures.
_WHOLE_MODULES = ("tests/streaming/test_embedded.py",)

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("dev", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


def scope_of(nodeid: str) -> str:
    """Return the unit that a parallel run assigns to one process: the test itself or its module."""
    module = nodeid.partition("::")[0]
    is_split = module.startswith(_SPLIT_FOLDERS) and module not in _WHOLE_MODULES
    return nodeid if is_split else module


@pytest.fixture(scope="session")
def broker(pytestconfig: pytest.Config) -> Iterator[LocalBroker]:
    """Yield the broker shared by all processes of the run. Prefix topics and groups with ``topic_prefix``."""
    with shared_broker(pytestconfig.stash[_FOLDER], REQUESTED) as shared:
        yield shared


@pytest.fixture
def topic_prefix(request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield a unique prefix for the topics, groups and transactional ids of a test; delete its topics."""
    prefix = f"t{uuid4().hex[:10]}."
    yield prefix
    if "broker" in request.fixturenames:
        delete_topics(request.getfixturevalue("broker"), prefix)


@pytest.fixture
def reserve() -> Iterator[Callable[[int], list[int]]]:
    """Yield a function that reserves a number of loopback ports until the test ends."""
    with ExitStack() as stack:
        yield lambda count: stack.enter_context(reserve_ports(count))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark slow tests. Run broker tests first: they take longest, and short tests balance the end.

    A test that starts a broker without its mark would be in `make check`: it is refused.
    """
    for item in items:
        if item.nodeid.partition("[")[0].removeprefix("tests/") in SLOW:
            item.add_marker("slow")
        if "broker" in getattr(item, "fixturenames", ()) and item.get_closest_marker("broker") is None:
            raise pytest.UsageError(f"{item.nodeid} starts a broker: mark it as `broker`")
    items.sort(key=lambda item: item.get_closest_marker("broker") is None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Distribute the tests of a parallel run by ``scope_of``, unless another distribution is selected."""
    if config.getoption("dist") != "load":  # the default of -n
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    config.option.loadscopereorder = False
    return Scheduling(config, log)


def pytest_collection() -> None:
    """Collect no garbage while tests are: imports make hundreds of thousands of objects that stay."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_report_header() -> str:
    return f"segops: requested broker: {REQUESTED} (SEGOPS_TEST_BROKER)"


def pytest_sessionstart(session: pytest.Session) -> None:
    """Choose a folder that all processes of the run (pytest-xdist) share: below the controller's."""
    base: Path = session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    is_xdist_worker = hasattr(session.config, "workerinput")
    session.config.stash[_FOLDER] = (base.parent if is_xdist_worker else base) / "shared-broker"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    used = used_broker(config.stash[_FOLDER])
    if used is None:
        return
    name, passed_over = used
    terminalreporter.write_sep("-", "segops broker")
    terminalreporter.write_line(f"used: {name}")
    for each in passed_over:
        terminalreporter.write_line(f"passed over: {each}")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Wait until the broker has stopped, so that it does not disturb the next run."""
    folder = config.stash.get(_FOLDER, None)
    if folder is not None and not hasattr(config, "workerinput"):
        wait_until_stopped(folder)
