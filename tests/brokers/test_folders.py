"""The data folder of a broker: used by one broker at a time, and by one kind only."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from segops.brokers import BrokerFailed, BrokerRequest, BrokerUnavailable, LocalBroker, choose, obstacle
from segops.brokers.choice import _first
from segops.brokers.folder import kind_of, start_in
from segops.brokers.network import serving_nodes, wait_for
from segops.demo.main import _folder
from tests.rest import in_rest, rest

Reserve = Callable[[int], list[int]]
SEGOPS = [sys.executable, "-c", "from segops.cli import main; main()", "broker"]
KINDS = pytest.mark.parametrize("kind", ["jvm", "embedded"])


def need(kind: str) -> None:
    if reason := obstacle(kind):
        pytest.skip(f"{kind}: {reason}")


@contextmanager
def running(kind: str, port: int, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run ``segops broker`` as a process; enter the block once it serves."""
    command = [*SEGOPS, "--kind", kind, "--port", str(port), "--data-dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().endswith(f":{port}\n")
            yield process
        finally:
            process.terminate()


def files(folder: Path) -> dict[str, bytes]:
    """Return the contents of the broker's configuration files."""
    return {str(path): path.read_bytes() for path in folder.rglob("*.properties")}


def second(folder: Path, port: int, kind: str = "auto") -> subprocess.CompletedProcess[str]:
    command = [*SEGOPS, "--kind", kind, "--port", str(port), "--data-dir", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.broker
@pytest.mark.parametrize("kind", [in_rest("jvm"), "embedded"])
def test_second_broker_on_a_folder_is_rejected_and_the_first_continues(
    kind: str, tmp_path: Path, reserve: Reserve
) -> None:
    need(kind)
    port, other = reserve(2)
    with running(kind, port, tmp_path) as process:
        before = files(tmp_path)
        for requested in (kind, "auto"):
            done = second(tmp_path, other, requested)
            assert done.returncode == 2, done.stderr
            assert f"the data folder {tmp_path} is in use by another broker or demo" in done.stderr
        assert files(tmp_path) == before
        assert serving_nodes(port) and not serving_nodes(other)
        assert process.poll() is None


@pytest.mark.broker
@rest
@KINDS
def test_folder_stays_locked_while_an_orphaned_broker_runs(
    kind: str, tmp_path: Path, reserve: Reserve
) -> None:
    need(kind)
    port, other = reserve(2)
    with running(kind, port, tmp_path) as process:
        (left,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        process.wait()
        try:
            assert serving_nodes(port)
            assert second(tmp_path, other, kind).returncode == 2
        finally:
            os.killpg(int(left), signal.SIGKILL)
        assert wait_for(lambda: not serving_nodes(port), within_s=30)
    with running(kind, port, tmp_path):
        assert serving_nodes(port)


@pytest.mark.broker
def test_folder_keeps_the_kind_of_its_data(tmp_path: Path) -> None:
    need("embedded")
    with choose(tmp_path, prefer="embedded") as broker:
        assert broker.kind == kind_of(tmp_path) == "embedded"
    with choose(tmp_path) as again:  # though other kinds are preferred
        assert again.kind == "embedded"
    with pytest.raises(BrokerUnavailable, match="holds the data of a broker of kind embedded"):
        choose(tmp_path, prefer="jvm")


@pytest.mark.parametrize("kind", ["auto", "jvm", "embedded"])
def test_busy_port_is_reported_and_nothing_starts(kind: str, tmp_path: Path) -> None:
    if kind != "auto":
        need(kind)
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(BrokerUnavailable, match=f"port {port} is in use"):
            choose(tmp_path, prefer=kind, port=port)
    assert kind_of(tmp_path) is None


class PersistentKind:
    """A kind of broker that stores data in its folder."""

    def __init__(self, name: str, *, fails: bool = False) -> None:
        self.name, self._fails = name, fails

    def obstacle(self, request: BrokerRequest) -> str | None:
        return None

    def start(self, request: BrokerRequest) -> LocalBroker:
        return start_in(request, self.name, lambda lock: self._start(request))

    def _start(self, request: BrokerRequest) -> LocalBroker:
        (request.data_dir / self.name).mkdir(exist_ok=True)
        if self._fails:
            raise BrokerFailed(f"{self.name} broke")
        return LocalBroker(self.name, self.name, "127.0.0.1:1")


def test_new_folder_is_bound_to_the_first_kind_that_starts(tmp_path: Path) -> None:
    with _first(
        [PersistentKind("jvm", fails=True), PersistentKind("embedded")], BrokerRequest(tmp_path)
    ) as broker:
        assert broker.kind == "embedded"
    with _first([PersistentKind("jvm"), PersistentKind("embedded")], BrokerRequest(tmp_path)) as broker:
        assert broker.kind == "embedded"
    with pytest.raises(BrokerUnavailable) as error:  # and no empty broker of another kind replaces it
        _first([PersistentKind("jvm"), PersistentKind("embedded", fails=True)], BrokerRequest(tmp_path))
    assert "jvm: " in str(error.value) and "embedded broke" in str(error.value)


def test_unmarked_folder_belongs_to_the_kind_of_its_subfolder(tmp_path: Path) -> None:
    (tmp_path / "embedded").mkdir()
    assert kind_of(tmp_path) == "embedded"
    with _first([PersistentKind("jvm"), PersistentKind("embedded")], BrokerRequest(tmp_path)) as broker:
        assert broker.kind == "embedded"


def test_folder_is_unlocked_after_a_failure_and_after_a_stop(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(BrokerFailed):
            _first([PersistentKind("jvm", fails=True)], BrokerRequest(tmp_path))
    for _ in range(2):
        with (
            _first([PersistentKind("jvm")], BrokerRequest(tmp_path)),
            pytest.raises(BrokerUnavailable, match="in use"),
        ):
            _first([PersistentKind("jvm")], BrokerRequest(tmp_path))


def test_unusable_folder_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BrokerUnavailable, match="cannot use the data folder"):
        _first([PersistentKind("jvm")], BrokerRequest(tmp_path / "file"))


@pytest.mark.parametrize("part", [".", "broker"])
def test_demo_deletes_no_folder_in_use(part: str, tmp_path: Path) -> None:
    (tmp_path / "broker" / "jvm").mkdir(parents=True)
    with _first([PersistentKind("jvm")], BrokerRequest(tmp_path / part)):
        with pytest.raises(BrokerUnavailable, match="in use"), _folder(tmp_path):
            pass
        assert (tmp_path / "broker" / "jvm").is_dir()
    with _folder(tmp_path):
        assert not (tmp_path / "broker").exists()
