"""The README's example prints what the README shows, without Kafka and with it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiokafka.admin import NewTopic
from click.testing import CliRunner

from segops import config
from segops.cli import cli
from segops.kafka.clients import running_admin, running_producer
from tests.conftest import REQUESTED
from tests.rest import rest
from tests.streaming.helpers import wait_until

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
_FILE = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
_RUN = re.compile(r"<!-- run -->\n```console\n(.*?)```", re.DOTALL)

_LIVE = re.compile(r"<!-- live: (\w+) -->\n```\w*\n(.*?)```", re.DOTALL)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z")


def _write_files() -> None:
    files = _FILE.findall(README)
    assert [name for name, _ in files] == ["segments.yaml", "events.jsonl"]
    for name, text in files:
        Path(name).write_text(text)


def test_example_prints_the_output_in_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _write_files()
    (session,) = _RUN.findall(README)
    steps = re.findall(r"^\$ segops (.*)\n((?:(?!\$ ).*\n)*)", session, re.MULTILINE)
    assert len(steps) == 2
    for command, shown in steps:
        result = CliRunner().invoke(cli, shlex.split(command))
        assert (result.exit_code, result.output) == (0, shown)


@contextmanager
def _shell(script: str, environment: dict[str, str], out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a shell script in its own session, which ends with the block."""
    with out.open("wb") as output:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield shell
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        shell.wait(30)


@pytest.mark.broker
def test_live_section_works_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reserve: Callable[[int], list[int]]
) -> None:
    monkeypatch.chdir(tmp_path)
    _write_files()
    blocks = dict(_LIVE.findall(README))
    broker, web = map(str, reserve(2))
    named = blocks["system"].replace("9092", broker)
    system = named.replace("segops broker ", f"segops broker --kind {REQUESTED} --port {broker} ")
    bare = {key: value for key, value in os.environ.items() if not key.startswith("SEGOPS_")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**bare, "PATH": path, "SEGOPS_WEB_PORT": web}
    first, second = tmp_path / "first.out", tmp_path / "second.out"

    def diagnosis() -> str:
        return "\n".join(
            f"{log}:\n{log.read_text()}" for log in tmp_path.iterdir() if log.suffix in (".out", ".log")
        )

    with _shell(system, environment, first) as shell:
        wait_until(lambda: re.search("high-intent +0", first.read_text()), "it watches", diagnosis, 120)
        reached = {**environment, "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{broker}"}
        with second.open("wb") as output:
            script = ["bash", "-c", blocks["events"]]
            assert (
                subprocess.run(script, env=reached, stdout=output, stderr=output, timeout=60).returncode == 0
            )
        wait_until(lambda: "exited" in first.read_text(), "Ann enters and leaves", diagnosis)
        assert shell.poll() is None
    seen = first.read_text()
    assert _timeless(blocks["watch"]) == _timeless(seen[seen.index("segment ") :]), diagnosis()


_TEN = re.compile(r"<!-- ten: (\w+) -->\n```\w*\n(.*?)```", re.DOTALL)
_PORTS = {"6066": "SEGOPS_WEB_PORT", "6080": "SEGOPS_COLLECT_PORT", "6081": "SEGOPS_COLLECT_WEB_PORT"}
_ORDERS = [
    {"order_id": n, "customer_id": "cem", "revenue": 50 + n, "created_at": f"2026-11-2{n}"} for n in (1, 2)
]


async def _write_orders(servers: str) -> None:
    """Write the topic of orders that exists already."""
    kafka = config.load(kafka={"bootstrap_servers": servers}).kafka
    async with running_admin(kafka) as admin:
        await admin.create_topics([NewTopic("orders.v1", 1, 1)])
    async with running_producer(kafka) as producer:
        for order in _ORDERS:
            await producer.send_and_wait("orders.v1", json.dumps(order).encode())


@rest
@pytest.mark.broker
def test_ten_minutes_work_as_written(tmp_path: Path, reserve: Callable[[int], list[int]]) -> None:
    blocks = dict(_TEN.findall(README))
    assert list(blocks) == ["up", "sdk", "topic", "shop", "segment"]
    broker, sources, catalogue, serve, web, *others = map(str, reserve(5 + len(_PORTS)))
    ports = dict(zip(_PORTS.values(), others, strict=True))
    ports |= {"SEGOPS_SOURCES_WEB_PORT": sources, "SEGOPS_CATALOGUE_WEB_PORT": catalogue}
    ports |= {"SEGOPS_SERVE_PORT": serve, "SEGOPS_SERVE_WEB_PORT": web}
    bare = {key: value for key, value in os.environ.items() if not key.startswith("SEGOPS_")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    shop = {"SEGOPS_SHOPIFY_SECRETS": "shpss_secret", "SEGOPS_SHOPIFY_SHOPS": "my-shop.myshopify.com"}
    environment = {**bare, **ports, **shop, "PATH": path}
    kind = "jvm" if REQUESTED == "jvm" else "embedded"
    first, second = tmp_path / "first.out", tmp_path / "second.out"

    def diagnosis() -> str:
        return "\n".join(f"{log}:\n{log.read_text()}" for log in (first, second) if log.exists())

    started = blocks["up"].replace("segops up", f"segops up --broker {kind} --port {broker}")
    script = "".join(blocks[name] for name in ("sdk", "topic", "shop", "segment"))
    script = script.replace("6080", ports["SEGOPS_COLLECT_PORT"])
    with _shell(f"cd {tmp_path}; exec {started}", environment, first):
        wait_until(lambda: "in another terminal" in first.read_text(), "it is up", diagnosis, 120)
        asyncio.run(_write_orders(f"127.0.0.1:{broker}"))
        with _shell(f"set -e; cd {tmp_path}; {script}", environment, second) as shell:
            wait_until(
                lambda: (
                    re.search("^repeat-buyers +2 +Repeat buyers", second.read_text(), re.MULTILINE)
                    or shell.poll()
                ),
                "two repeat buyers",
                diagnosis,
                120,
            )
            assert shell.poll() is None, diagnosis()
    said = second.read_text()
    assert re.search("^cart-abandoned +0 +0.0% ", said, re.MULTILINE), said
    assert "+ repeat-buyers  version 1  added" in said


def _timeless(text: str) -> list[str]:
    return [line.rstrip() for line in _INSTANT.sub("<instant>", text).splitlines()]
