"""The README's example prints what the README shows, without Kafka and with it."""

from __future__ import annotations

import asyncio
import hashlib
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
from segops.demo.wheels import data_file
from segops.kafka.clients import running_admin, running_producer
from tests.conftest import REQUESTED
from tests.destinations.klaviyo_server import KEY as KLAVIYO_KEY
from tests.destinations.klaviyo_server import KlaviyoLists
from tests.rest import rest
from tests.streaming.helpers import wait_until

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
DEPLOY = (Path(__file__).parents[1] / "deploy/README.md").read_text("utf-8")
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


_SCORES_FILE = re.compile(r"<!-- scores file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
_SCORES_RUN = re.compile(r"<!-- scores run -->\n```console\n\$ segops (.*?)\n(.*?)```", re.DOTALL)


@rest
def test_scores_are_fitted_and_cross_as_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = (line.split() for line in data_file("lifetimes", "CDNOW_sample.txt").read_text().splitlines())
    orders = [f"{row[0]},{row[2][:4]}-{row[2][4:6]}-{row[2][6:]},{row[4]}" for row in rows if len(row) == 5]
    Path("orders.csv").write_text("\n".join(["customer,date,amount", *orders]) + "\n")
    for name, text in _SCORES_FILE.findall(README):
        Path(name).write_text(text)
    steps = _SCORES_RUN.findall(README)
    assert len(steps) == 2
    for command, shown in steps:
        result = CliRunner().invoke(cli, shlex.split(command))
        printed = "".join(f"{line.rstrip()}\n" for line in result.output.splitlines())
        assert (result.exit_code, printed) == (0, shown)


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
_PORTS = [name for name, _, _ in config.variables() if name.endswith("_PORT")]
_SECRETS = {
    "SEGOPS_SHOPIFY_SECRETS": "shpss_secret",
    "SEGOPS_SHOPIFY_SHOPS": "my-shop.myshopify.com",
    "KLAVIYO_PRIVATE_KEY": KLAVIYO_KEY,
    "SEGOPS_ACTOR": "ann@shop.example",
    "SEGOPS_AUDIT_KEY": "k" * 32,
}
_FREQUENCY = "    frequency: {at_most: 2, per: 7d}\n"
_KLAVIYO_FILE = re.compile(r"<!-- klaviyo file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
_PLAN = re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{12}\b")
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
    broker, *others = map(str, reserve(1 + len(_PORTS)))
    ports = dict(zip(_PORTS, others, strict=True))
    bare = {key: value for key, value in os.environ.items() if not key.startswith("SEGOPS_")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**bare, **ports, **_SECRETS, "PATH": path}
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
        asyncio.run(_reach_klaviyo(tmp_path, environment))


async def _reach_klaviyo(folder: Path, environment: dict[str, str]) -> None:
    """Run the sessions about Klaviyo against a stand-in: they print what the documents show."""
    account = KlaviyoLists("XyZ123")
    async with account.serving() as url:
        for name, text in _KLAVIYO_FILE.findall(README):
            (folder / name).write_text(text.replace("kind: klaviyo\n", f"kind: klaviyo\n    url: {url}\n"))
        plan = ""
        for command, shown in _steps(README) + _steps(DEPLOY):
            if command.startswith("segops audiences apply thanks.yaml    #"):
                (folder / "thanks.yaml").write_text((folder / "thanks.yaml").read_text() + _FREQUENCY)
            while command == "segops deliveries list" and account.members("XyZ123") != {"ann@shop.example"}:
                await asyncio.sleep(0.1)
            said = await _said(_PLAN.sub(plan, command), folder, environment)
            plan = next(iter(_PLAN.findall(said)), plan)
            assert [*map(_nameless, said.splitlines())] == [*map(_nameless, shown.splitlines())], said


def _steps(document: str) -> list[tuple[str, str]]:
    (session,) = re.findall(r"<!-- klaviyo session -->\n```console\n(.*?)```", document, re.DOTALL)
    return re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", session, re.MULTILINE)


def _as_actor(command: str) -> dict[str, str]:
    """Return the variables of the actor whom a comment names, where no one approves their own."""
    if (actor := re.search(r"# as (\w+)$", command)) is None:
        return {}
    hashes = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("ann", "bob")}
    return {
        "SEGOPS_APPROVAL": "other",
        "SEGOPS_ACTORS": ",".join(f"{name}@shop.example={found}" for name, found in hashes.items()),
        "SEGOPS_ACTOR": f"{actor[1]}@shop.example",
        "SEGOPS_ACTOR_TOKEN": actor[1],
    }


async def _said(command: str, folder: Path, environment: dict[str, str]) -> str:
    """Return what a command prints, or why it fails. On a slow machine it also reports its progress."""
    environment = {**environment, **_as_actor(command)}
    script = f"cd {folder}; . .segops/environment; {command}"
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-c", script),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, failed = await asyncio.wait_for(shell.communicate(), 120)
    return (failed if shell.returncode else said).decode()


def _nameless(line: str) -> str:
    """Return a line without instants, names of plans and machines, and the spaces that align columns."""
    named = _PLAN.sub("<plan>", _INSTANT.sub("<instant>", line))
    # The partitions are evaluated at one instant, or not, as it happens.
    named = named.replace("each profile as of its turn from <instant> to <instant>", "as of <instant>")
    return " ".join(re.sub(r"segops on \S+", "segops on <machine>", named).split())


def _timeless(text: str) -> list[str]:
    return [line.rstrip() for line in _INSTANT.sub("<instant>", text).splitlines()]
