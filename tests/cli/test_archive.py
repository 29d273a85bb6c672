"""``segops archive`` without a broker: settings that are missing, and --verify."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from segops.archive.sources import open_history
from segops.archive.storage import FolderStorage
from segops.cli import cli
from segops.config import load
from segops.core.errors import UserError
from tests.archive.helpers import EVENTS, Archive, event, write


def archive(folder: Path | None, *options: str) -> Result:
    variables = {"SEGOPS_ARCHIVE_URL": f"file://{folder}"} if folder else {}
    return CliRunner().invoke(cli, ["archive", *options], env=variables)


@pytest.mark.parametrize("option", ["--once", "--compact", "--verify"])
def test_missing_url_is_reported(option: str) -> None:
    assert isinstance(archive(None, option).exception, UserError)


def test_missing_pyarrow_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "install the extra `archive`" in str(archive(tmp_path, "--verify").exception)
    with pytest.raises(UserError, match="install the extra `archive`"):
        open_history(load(archive={"url": f"file://{tmp_path}"}), EVENTS)


def test_history_without_an_archive_is_that_of_the_topic(tmp_path: Path) -> None:
    names = [
        type(open_history(load(archive={"url": url}), EVENTS)).__name__
        for url in (None, f"file://{tmp_path}")
    ]
    assert names == ["TopicHistory", "ChainedHistory"]


def test_verify_excludes_the_other_modes(tmp_path: Path) -> None:
    assert "--verify cannot be combined" in archive(tmp_path, "--verify", "--once").output


def test_verify_shows_every_partition(tmp_path: Path) -> None:
    one, two = (Archive(FolderStorage(tmp_path), partition=number) for number in (2, 10))
    write(one.owner(), [event(0), event(1)], [event(2)])
    write(two.owner(first=4), [event(5)])
    found = archive(tmp_path, "--verify")
    assert found.exit_code == 0
    first, second, last = (line.split() for line in found.stdout.splitlines()[1:])
    assert (first[:4], first[5]) == ([EVENTS, "2", "3", "2"], "3")
    assert "the beginning" in found.stdout.splitlines()[1]
    assert (second[:4], second[6]) == ([EVENTS, "10", "1", "1"], "2025-10-09T08:53:20.000Z")
    assert last == ["2", "partition(s):", "OK"]


def test_verify_reports_problems_with_status_1(tmp_path: Path) -> None:
    made = Archive(FolderStorage(tmp_path))
    write(made.owner(), [event(0)])
    made.storage.delete(made.files()[0])
    found = archive(tmp_path, "--verify")
    assert found.exit_code == 1
    assert found.stderr.rstrip().endswith("the file is missing")
    assert "1 partition(s): 1 problem(s)" in found.stdout
