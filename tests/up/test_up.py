"""``segops up`` as a user runs it: an event over HTTP becomes a membership; kills; Ctrl-C; a second start."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import NewTopic

from segops import config
from segops.brokers import LocalBroker
from segops.kafka.clients import running_admin
from tests.rest import rest
from tests.streaming.helpers import wait_until

pytestmark = pytest.mark.broker

DEADLINE_S = 120
COMMAND = [sys.executable, "-P", "-c", "from segops.cli import main; main()"]
PORTS = (
    "SEGOPS_WEB_PORT",
    "SEGOPS_COLLECT_PORT",
    "SEGOPS_COLLECT_WEB_PORT",
    "SEGOPS_SOURCES_WEB_PORT",
    "SEGOPS_CATALOGUE_WEB_PORT",
    "SEGOPS_ACTIVATE_WEB_PORT",
    "SEGOPS_SERVE_PORT",
    "SEGOPS_SERVE_WEB_PORT",
    "SEGOPS_CONSOLE_PORT",
    "SEGOPS_CONSOLE_WEB_PORT",
)
UP = "Then, in another terminal"
SEGMENTS = "version: 1\nsegments: [{key: viewers, when: {did: Product Viewed}}]\n"


class Up:
    """A running ``segops up`` in a folder, and other commands beside it."""

    def __init__(self, folder: Path, environment: dict[str, str], *options: str) -> None:
        self.folder, self.environment = folder, environment
        self.out = folder / "up.out"
        with self.out.open("wb") as out:
            command = [*COMMAND, "up", "--data-dir", "data", *options]
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out)

    def said(self) -> str:
        return self.out.read_text()

    def wait_for(self, text: str, *, times: int = 1) -> None:
        def seen() -> bool:
            assert self.process.poll() is None, self.diagnosis()
            return self.said().count(text) >= times

        wait_until(seen, f"it says {text!r}", self.diagnosis, DEADLINE_S)

    def diagnosis(self) -> str:
        logs = sorted((self.folder / "data/logs").glob("*.log"))
        return "\n".join([self.said(), *(f"{log.name}:\n{log.read_text()[-2000:]}" for log in logs)])

    def pids(self) -> dict[str, int]:
        found: dict[str, int] = json.loads((self.folder / "data/processes.json").read_bytes())
        return found

    def key(self) -> str:
        return (self.folder / "data/write-keys").read_text().strip().partition("=")[2]

    def send(self, user_id: str) -> None:
        """Send an event as the announcement says, with the address and the key that it shows."""
        shown = re.search(r"curl -u (\S+): (\S+) ", self.said())
        assert shown is not None and shown[1] == self.key()
        request = urllib.request.Request(
            shown[2],
            json.dumps({"userId": user_id, "event": "Product Viewed"}).encode(),
            {
                "content-type": "application/json",
                "authorization": f"Basic {b64encode(f'{shown[1]}:'.encode()).decode()}",
            },
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200

    def shell(self, script: str) -> str:
        """Run commands in a shell that has read the environment file."""
        script = f'. data/environment; segops() {{ {sys.executable} -m segops "$@"; }}; {script}'
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr + self.diagnosis()
        return done.stdout

    def wait_for_members(self, number: int) -> None:
        wait_until(
            lambda: re.search(rf"^viewers +{number}\b", self.shell("segops watch --once"), re.MULTILINE),
            f"{number} members",
            self.diagnosis,
            DEADLINE_S,
        )

    def interrupt(self) -> int:
        pids = [pid for name, pid in self.pids().items() if name != "up"]
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(DEADLINE_S)
        assert "nothing is left running" in self.said()
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        return status


@contextmanager
def up(folder: Path, environment: dict[str, str], *options: str) -> Iterator[Up]:
    running = Up(folder, environment, *options)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGTERM)
            running.process.wait(DEADLINE_S)


@pytest.fixture
def environment(topic_prefix: str, reserve: Callable[[int], list[int]]) -> dict[str, str]:
    ours = {name for name, _, _ in config.variables()}
    bare = {name: value for name, value in os.environ.items() if name not in ours}
    ports = dict(zip(PORTS, map(str, reserve(len(PORTS))), strict=True))
    others = {"SEGOPS_TOPIC_PREFIX": topic_prefix, "SEGOPS_APP_ID": f"{topic_prefix}app"}
    return {**bare, **ports, **others, "SEGOPS_PARTITIONS": "2"}


@pytest.fixture
def own(environment: dict[str, str], broker: LocalBroker) -> dict[str, str]:
    return {**environment, "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers}


def test_an_event_becomes_a_membership_and_killed_parts_come_back(
    own: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "segments.yaml").write_text(SEGMENTS)
    with up(tmp_path, own) as running:
        running.wait_for(UP)
        running.shell("segops apply segments.yaml")
        running.send("ann")
        running.wait_for_members(1)
        second = subprocess.run(
            [*COMMAND, "up", "--data-dir", "data"], cwd=tmp_path, env=own, capture_output=True, text=True
        )
        assert second.returncode == 2
        assert f"in use by another `segops up` (process {running.process.pid})" in second.stderr
        for name in ("collector", "worker"):
            os.kill(running.pids()[name], signal.SIGKILL)
            running.wait_for(f"{name}: failed, starts again in 1 s: killed by signal 9")
            running.wait_for(f"{name}: ready", times=2)
        running.send("ben")
        running.wait_for_members(2)
        assert running.interrupt() == 0


@rest
def test_templates_are_measured_and_nothing_is_published(own: dict[str, str], tmp_path: Path) -> None:
    with up(tmp_path, own) as running:
        running.wait_for(UP)
        for user_id in ("ann", "ben"):
            running.send(user_id)
        wait_until(
            lambda: "of 2 profiles" in running.shell("segops templates dormant --measure"),
            "two profiles",
            running.diagnosis,
            DEADLINE_S,
        )
        said = running.shell("segops templates --measure")
        unseen = "no event is named Order Completed; no event is named Product Added"
        assert re.search(rf"^cart-abandoned +0 +0\.0% +{unseen} *$", said, re.MULTILINE), said
        assert re.search(r"^birthday +0 +0\.0% +no event has the trait birthday *$", said, re.MULTILINE)
        one = running.shell("segops templates browse-abandoned --set views=1 --set idle=1ms --measure")
        assert re.search(r"^browse-abandoned +2 +100\.0% ", one, re.MULTILINE), one
        assert "template" not in running.shell("segops segments").replace("templates", "")
        unfinished = "version: 1\nsegments: [{key: template-dormant, when: {did: Product Viewed}}]\n"
        (tmp_path / "unfinished.yaml").write_text(unfinished)
        running.shell("segops plan unfinished.yaml && segops templates dormant --measure")
        assert "there is no plan" in running.shell("segops plan --discard 2>&1 || true")
        running.shell("segops templates repeat-buyers > mine.yaml && segops plan mine.yaml")
        refused = running.shell("segops templates --measure 2>&1 || true")
        assert "measuring would take the place of the plan" in refused
        assert running.interrupt() == 0


@rest
def test_a_second_start_goes_on_with_the_data_of_the_first(
    environment: dict[str, str], reserve: Callable[[int], list[int]], tmp_path: Path
) -> None:
    (tmp_path / "segments.yaml").write_text(SEGMENTS)
    options = ["--broker", "embedded", "--port", str(reserve(1)[0])]
    with up(tmp_path, environment, *options) as running:
        running.wait_for(UP)
        key = running.key()
        running.shell("segops apply segments.yaml")
        running.send("ann")
        running.wait_for_members(1)
        assert running.interrupt() == 0
    with up(tmp_path, environment, *options) as running:
        running.wait_for(UP)
        assert running.key() == key
        running.send("ben")
        running.wait_for_members(2)
        assert running.interrupt() == 0


async def create_topic(servers: str, name: str) -> None:
    async with running_admin(config.load(kafka={"bootstrap_servers": servers}).kafka) as admin:
        await admin.create_topics([NewTopic(name, 1, 1)])


@rest
def test_sources_are_published_and_klaviyo_s_key_is_refused(own: dict[str, str], tmp_path: Path) -> None:
    topic = f"{own['SEGOPS_TOPIC_PREFIX']}orders.v1"
    source = f"{{topic: {topic}, format: json, map: {{event: Order Completed, userId: customer}}}}"
    (tmp_path / "sources.yaml").write_text(f"version: 1\nsources: [{source}]\n")
    with up(tmp_path, own, "--source", "sources.yaml") as running:
        assert running.process.wait(DEADLINE_S) == 2
        assert f"missing topics: {topic}" in running.said()
    asyncio.run(create_topic(own["SEGOPS_KAFKA_BOOTSTRAP_SERVERS"], topic))
    with up(tmp_path, own, "--source", "sources.yaml") as running:
        running.wait_for(UP)
        assert topic in running.shell("segops sources list")
        assert running.interrupt() == 0
    with up(tmp_path, own, "--klaviyo") as running:
        assert running.process.wait(DEADLINE_S) == 2
        assert "the klaviyo cannot start: missing key: expected SEGOPS_KLAVIYO_API_KEY" in running.said()
        assert f"its log: {Path('data/logs/klaviyo.log')}" in running.said()


@pytest.mark.parametrize("name", [PORTS[0], PORTS[1]])
@rest
def test_a_taken_port_ends_the_start_with_its_name(own: dict[str, str], tmp_path: Path, name: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with up(tmp_path, {**own, name: port}) as running:
            assert running.process.wait(DEADLINE_S) == 2
    assert name in running.said() and port in running.said(), running.said()


@rest
def test_a_killed_broker_comes_back(
    environment: dict[str, str], reserve: Callable[[int], list[int]], tmp_path: Path
) -> None:
    options = ["--broker", "jvm", "--port", str(reserve(1)[0])]
    (tmp_path / "segments.yaml").write_text(SEGMENTS)
    with up(tmp_path, environment, *options) as running:
        running.wait_for(UP)
        running.shell("segops apply segments.yaml")
        os.kill(running.pids()["broker"], signal.SIGKILL)
        running.wait_for("broker: failed, starts again in 1 s: it exited")
        running.wait_for("broker: ready")
        wait_until(lambda: _sent(running), "the collector takes events", running.diagnosis, DEADLINE_S)
        running.wait_for_members(1)
        assert running.interrupt() == 0


def _sent(running: Up) -> Any:
    try:
        running.send("ann")
    except OSError:
        return False
    return True
