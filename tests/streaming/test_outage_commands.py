"""``segops produce`` and ``segops watch`` wait for brokers, at their start and later."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.proxy import FaultyNetwork

from .helpers import START_MS, Stack, oracle, shop, wait_until

pytestmark = pytest.mark.broker


class Commands:
    """Commands that reach the brokers through ``network`` only."""

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

    def said(self, name: str, kind: str = "err") -> str:
        return self.path(name, kind).read_text()

    def close(self) -> None:
        for running in self._running:
            running.kill()
            running.wait()


@pytest.fixture
def network(stack: Stack) -> Iterator[FaultyNetwork]:
    ports = [int(address.rpartition(":")[2]) for address in stack.bootstrap_servers.split(",")]
    network = FaultyNetwork(ports)
    yield network
    network.close()


@pytest.fixture
def commands(stack: Stack, network: FaultyNetwork) -> Iterator[Commands]:
    commands = Commands(stack, network)
    yield commands
    commands.close()


def lines(file: Path, sent: list[Any]) -> str:
    file.write_bytes(b"".join(one.value + b"\n" for one in sent))
    return str(file)


def test_commands_wait_for_brokers_at_their_start_and_later(
    stack: Stack, network: FaultyNetwork, commands: Commands
) -> None:
    stack.publish()
    sent = shop(900, users=30, partitions=1)  # one user's events stay in order in whatever partition
    expected = oracle(sent, stack.definitions, START_MS)
    first, second = lines(stack.folder / "1.jsonl", sent[:300]), lines(stack.folder / "2.jsonl", sent[300:])
    network.down = True
    watch = commands.start("watch", "watch", "--format", "jsonl")
    produce = commands.start("produce", "produce", first)
    for name in ("watch", "produce"):
        wait_until(lambda: "waiting for a broker: " in commands.said(name), name, lambda: commands.said(name))  # noqa: B023
    network.down = False
    assert produce.wait(60) == 0, commands.said("produce")
    wait_until(lambda: watch.poll() is None and commands.path("watch", "out").exists(), "watch")

    produce = commands.start("slow", "produce", second, "--rate", "100")
    wait_until(lambda: len(stack.read(stack.settings.topics.events)) > 400, "some are sent", stack.diagnosis)
    network.down = True
    stack.start()  # changes come while the way of the commands is cut; the worker's is not
    wait_until(lambda: stack.changes(), "changes", stack.diagnosis)
    assert watch.poll() is None and produce.poll() is None
    network.down = False
    assert produce.wait(60) == 0, commands.said("slow")
    values = [record.value for record in stack.read(stack.settings.topics.events)]
    assert sorted(values) == sorted(one.value for one in sent)  # each once
    wait_until(lambda: set(stack.changes()) >= set(expected), "all changes", stack.diagnosis)
    seen: set[str] = set()

    def watched() -> bool:
        found = [json.loads(line) for line in commands.said("watch", "out").splitlines()]
        seen.update(one["change_id"] for one in found if "change_id" in one)
        return seen >= set(stack.changes())

    wait_until(watched, "the changes of the time of the outage are watched", lambda: commands.said("watch"))
