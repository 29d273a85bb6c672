"""``segops produce`` and ``segops watch`` wait for brokers at startup and later."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.faults.proxy import FaultyNetwork
from tests.rest import rest

from .helpers import START_MS, Stack, expected_changes, shop_events, wait_until

pytestmark = pytest.mark.broker


class Commands:
    """Commands that reach the brokers only through ``network``."""

    def __init__(self, stack: Stack, network: FaultyNetwork) -> None:
        self._stack = stack
        self._network = network
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("SEGOPS_")},
            "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": self._stack.bootstrap_servers,
            "SEGOPS_KAFKA_REQUEST_TIMEOUT": "2s",
            "SEGOPS_TOPIC_PREFIX": self._stack.name,
            "FAULTS_REDIRECT": self._network.redirection,
        }
        command = [sys.executable, "-m", "tests.faults.hooks", *words]
        with self.path(name, "out").open("wb") as out, self.path(name, "err").open("wb") as err:
            running = subprocess.Popen(command, env=environment, stdout=out, stderr=err)
        self._running.append(running)
        return running

    def path(self, name: str, kind: str) -> Path:
        return self._stack.folder / f"{name}.{kind}"

    def has_logged(self, name: str, text: str) -> bool:
        return text in self.log_text(name)

    def log_text(self, name: str, kind: str = "err") -> str:
        return self.path(name, kind).read_text()

    def close(self) -> None:
        for running in self._running:
            running.kill()
            running.wait()


@pytest.fixture
def commands(stack: Stack, network: FaultyNetwork) -> Iterator[Commands]:
    commands = Commands(stack, network)
    yield commands
    commands.close()


def lines(file: Path, sent: list[Any]) -> str:
    file.write_bytes(b"".join(one.value + b"\n" for one in sent))
    return str(file)


@rest
def test_commands_wait_for_brokers_at_startup_and_later(
    stack: Stack, network: FaultyNetwork, commands: Commands
) -> None:
    stack.publish()
    sent = shop_events(900, users=30, partitions=1)  # a user's events stay in order for any partition
    expected = expected_changes(sent, stack.definitions, START_MS)
    first, second = lines(stack.folder / "1.jsonl", sent[:300]), lines(stack.folder / "2.jsonl", sent[300:])
    network.down = True
    watch = commands.start("watch", "watch", "--format", "jsonl")
    produce = commands.start("produce", "produce", first)
    for name in ("watch", "produce"):
        wait_until(
            partial(commands.has_logged, name, "waiting for a broker: "),
            name,
            partial(commands.log_text, name),
        )
    network.down = False
    assert produce.wait(60) == 0, commands.log_text("produce")
    wait_until(lambda: watch.poll() is None and commands.path("watch", "out").exists(), "watch")

    produce = commands.start("slow", "produce", second, "--rate", "100")
    wait_until(
        lambda: len(stack.read(stack.settings.topics.events)) > 400, "first events sent", stack.diagnosis
    )
    network.down = True
    stack.start()  # the worker publishes changes while the commands are cut off
    wait_until(lambda: stack.changes(), "changes", stack.diagnosis)
    assert watch.poll() is None and produce.poll() is None
    network.down = False
    assert produce.wait(60) == 0, commands.log_text("slow")
    values = [record.value for record in stack.read(stack.settings.topics.events)]
    assert sorted(values) == sorted(one.value for one in sent)  # each exactly once
    wait_until(lambda: set(stack.changes()) >= set(expected), "all changes", stack.diagnosis)
    seen: set[str] = set()

    def watched() -> bool:
        found = [json.loads(line) for line in commands.log_text("watch", "out").splitlines()]
        seen.update(one["change_id"] for one in found if "change_id" in one)
        return seen >= set(stack.changes())

    wait_until(watched, "changes from the outage watched", lambda: commands.log_text("watch"))
