"""``segops broker`` on the command line."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from segops.brokers import obstacle
from segops.brokers.network import is_free, serving_nodes
from tests.command import run
from tests.rest import in_rest

SEGOPS = [sys.executable, "-c", "from segops.cli import main; main()", "broker"]


def test_help_describes_the_kinds():
    done = run("broker", "--help")
    assert done.status == 0
    assert all(word in done.out for word in ("docker", "jvm", "embedded", "Examples:"))


def test_unavailable_kind_is_a_user_error():
    done = run("broker", "--kind", "embedded", "--brokers", "3")
    assert done.status == 2
    assert "embedded: it supports one broker only" in done.err


@pytest.mark.broker
@pytest.mark.parametrize("number", [signal.SIGINT, in_rest(signal.SIGTERM)])
@pytest.mark.parametrize("kind", [in_rest("jvm"), "embedded"])
def test_broker_serves_until_it_is_stopped(kind, number, tmp_path: Path, reserve):
    if reason := obstacle(kind):
        pytest.skip(f"{kind}: {reason}")
    (port,) = reserve(1)
    command = [*SEGOPS, "--kind", kind, "--port", str(port), "--data-dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"SEGOPS_KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:{port}\n"
        assert serving_nodes(port)
        process.send_signal(number)
        assert process.wait(timeout=60) == 0
    assert is_free(port)
