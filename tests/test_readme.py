"""The README's example does what the README prints."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from segops.cli import cli

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
_FILE = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
_RUN = re.compile(r"<!-- run -->\n```console\n(.*?)```", re.DOTALL)


def test_the_example_prints_what_the_readme_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = _FILE.findall(README)
    assert [name for name, _ in files] == ["segments.yaml", "events.jsonl"]
    for name, text in files:
        Path(name).write_text(text)
    (session,) = _RUN.findall(README)
    steps = re.findall(r"^\$ segops (.*)\n((?:(?!\$ ).*\n)*)", session, re.MULTILINE)
    assert len(steps) == 2
    for command, shown in steps:
        result = CliRunner().invoke(cli, shlex.split(command))
        assert (result.exit_code, result.output) == (0, shown)
