"""The processes of a test run share one broker, which stops after the last of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from segops.brokers import obstacle
from segops.brokers.network import serving_nodes
from tests.shared_broker import shared_broker, used_broker, wait_until_stopped

_USER = """
import sys
from pathlib import Path
from tests.shared_broker import shared_broker
with shared_broker(Path(sys.argv[1]), "embedded") as broker:
    print(broker.bootstrap_servers, flush=True)
    sys.stdin.read()
"""


def _user(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _USER, str(folder)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )


@pytest.mark.broker
def test_broker_is_shared_and_stops_after_the_last_user_even_if_killed(tmp_path: Path) -> None:
    if reason := obstacle("embedded"):
        pytest.skip(reason)
    with _user(tmp_path) as first, _user(tmp_path) as second:
        assert first.stdout and second.stdout
        address = first.stdout.readline()
        assert second.stdout.readline() == address
        port = int(address.rpartition(":")[2])
        first.communicate()
        assert serving_nodes(port)
        name, passed_over = used_broker(tmp_path) or ("", [])
        assert "embedded" in name and passed_over == []
        second.kill()
    assert wait_until_stopped(tmp_path)
    assert not serving_nodes(port)
    with shared_broker(tmp_path, "embedded") as restarted:  # and starts restarted for a later user
        assert serving_nodes(int(restarted.bootstrap_servers.rpartition(":")[2]))
    assert wait_until_stopped(tmp_path)


def test_unavailability_is_reported_to_every_user(tmp_path: Path) -> None:
    for _ in range(2):
        with (
            pytest.raises(RuntimeError, match="unknown kind of broker 'rabbit'"),
            shared_broker(tmp_path, "rabbit"),
        ):
            pass


def test_a_run_that_needs_none_starts_none(tmp_path: Path) -> None:
    assert used_broker(tmp_path) is None
    assert wait_until_stopped(tmp_path)
