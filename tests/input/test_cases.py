"""Input files as tools write them: one per folder, with the expected results.

``segops replay`` reads ``events.jsonl`` and ``segments.yaml`` up to ``until``. Changes are compared with
``expected.jsonl`` by the fields written there, lines of ``expected.txt`` must occur in the messages, and
``rejects`` is the number of rejected events (default 0).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from segops.cli import cli
from segops.core.values import parse_instant

HERE = Path(__file__).parent
CASES = sorted(path.parent for path in HERE.glob("*/events.jsonl"))


def replay(case: Path) -> Result:
    until = case / "until"
    more = ["--until", until.read_text().strip()] if until.exists() else []
    files = ["--segments", str(case / "segments.yaml"), "--events", str(case / "events.jsonl")]
    return CliRunner().invoke(cli, ["replay", *files, *more], catch_exceptions=False)


def rows(path: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    for row in found:
        row["occurred_at"] = parse_instant(row["occurred_at"])
    return found


def order(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["occurred_at"], row["profile_id"], row["segment_key"], row["action"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_changes_of_an_input_file(case: Path) -> None:
    result = replay(case)
    assert result.exit_code == 0
    wanted = rows(case / "expected.jsonl")
    found = sorted((json.loads(line) for line in result.stdout.splitlines()), key=order)
    assert [{name: row[name] for name in want} for row, want in zip(found, wanted, strict=True)] == wanted
    refused = int((case / "rejects").read_text()) if (case / "rejects").exists() else 0
    assert (f"{refused} invalid events" in result.stderr) is (refused > 0)


@pytest.mark.parametrize(
    "case", [case for case in CASES if (case / "expected.txt").exists()], ids=lambda case: case.name
)
def test_messages_about_an_input_file(case: Path) -> None:
    said = replay(case).stderr
    for line in (case / "expected.txt").read_text("utf-8").splitlines():
        assert line in said


def test_cases_exist() -> None:
    assert len(CASES) >= 10
