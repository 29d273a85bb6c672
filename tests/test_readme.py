"""The README's example prints what the README shows, without Kafka and with it."""

from __future__ import annotations

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
from click.testing import CliRunner

from segops.cli import cli
from tests.conftest import REQUESTED
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


def _timeless(text: str) -> list[str]:
    return [line.rstrip() for line in _INSTANT.sub("<instant>", text).splitlines()]
