"""Run a command as a user does, in this process or in a child process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from segops import config
from segops.brokers import LocalBroker
from tests.command import Result, call, interruptible

Run = Callable[..., Result]


@pytest.fixture
def segops(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run ``segops ...`` in this process."""

    def run(*arguments: object) -> Result:
        capfd.readouterr()
        status = call(*arguments)
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return Result(status, out, err)

    return run


@pytest.fixture
def settings(broker: LocalBroker, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> config.Settings:
    """Provide settings with a broker and a topic prefix of the test's own; no topics yet."""
    for name, _, _ in config.variables():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SEGOPS_KAFKA_BOOTSTRAP_SERVERS", broker.bootstrap_servers)
    monkeypatch.setenv("SEGOPS_TOPIC_PREFIX", topic_prefix)
    monkeypatch.setenv("SEGOPS_APP_ID", f"{topic_prefix}app")
    monkeypatch.setenv("SEGOPS_PARTITIONS", "3")
    return config.load()


@pytest.fixture
def process(settings: config.Settings) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start ``segops ...`` in a child process, killed at the end if it still runs."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: object) -> subprocess.Popen[bytes]:
        code = "from segops.cli import main; main()"
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", code, *map(str, arguments)]
        started.append(
            subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, preexec_fn=interruptible)
        )
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.wait()
        for pipe in (each.stdin, each.stdout, each.stderr):
            if pipe is not None:
                pipe.close()
