"""``segops import``: dry run, drafts, rejected rows, exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from segops.cli import cli
from segops.core.errors import UserError
from tests.imports.runs import MAP

GOOD = "o1,ann,2026-01-02T10:00:00Z,9.50"
ODD = "o2,bob,never,9.50"


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("orders.csv").write_text(f"id,customer,at,total\n{GOOD}\n{ODD}\n")
    Path("map.yaml").write_text(MAP)


def segops(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["import", *arguments])


def test_dry_run_shows_events_and_rejected_rows_and_needs_no_kafka() -> None:
    done = segops("orders.csv", "--map", "map.yaml", "--dry-run")
    (event,) = map(json.loads, done.stdout.splitlines())
    assert (event["userId"], event["properties"]) == ("ann", {"order_id": "o1", "revenue": 9.5})
    assert "orders.csv:3: bad_time: " in done.stderr
    summary = "nothing was written: 2 rows: 1 events, 1 rows rejected; from 2026-01-02T10:00:00.000Z to "
    assert summary in done.stderr
    assert done.exit_code == 0


def test_dry_run_shows_the_first_events_only_and_reads_all() -> None:
    Path("orders.csv").write_text("id,customer,at,total\n" + f"{GOOD}\n" * 3_000)
    done = segops("orders.csv", "--map", "map.yaml", "--dry-run")
    assert len(done.stdout.splitlines()) == 10
    assert "3,000 events" in done.stderr


def test_strict_fails_if_a_row_is_rejected() -> None:
    assert segops("orders.csv", "--map", "map.yaml", "--dry-run", "--strict").exit_code == 1
    Path("orders.csv").write_text(f"id,customer,at,total\n{GOOD}\n")
    assert segops("orders.csv", "--map", "map.yaml", "--dry-run", "--strict").exit_code == 0


def test_rejected_rows_are_appended_to_a_file_and_the_first_are_said() -> None:
    Path("orders.csv").write_text("id,customer,at,total\n" + f"{ODD}\n" * 30)
    done = segops("orders.csv", "--map", "map.yaml", "--dry-run", "--rejected", "rejected.tsv")
    lines = [line.split("\t") for line in Path("rejected.tsv").read_text().splitlines()]
    assert [(line[0], line[1], len(line)) for line in lines] == [
        (str(n), "bad_time", 3) for n in range(2, 32)
    ]
    assert done.stderr.count("bad_time") == 20
    assert "further rejected lines" in done.stderr


def test_draft_is_a_map() -> None:
    done = segops("orders.csv", "--infer")
    assert done.exit_code == 0
    Path("orders.csv").write_text(f"id,customer_id,placed_at,total\n{GOOD}\n")
    drafted = segops("orders.csv", "--infer")
    Path("drafted.yaml").write_text(drafted.stdout)
    tried = segops("orders.csv", "--map", "drafted.yaml", "--dry-run", "--strict")
    assert (tried.exit_code, json.loads(tried.stdout)["userId"]) == (0, "ann")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["orders.csv"], "missing --map"), (["nowhere.csv", "--map", "map.yaml"], "nowhere.csv")],
)
def test_wrong_usage_is_said_with_status_2(arguments: list[str], message: str) -> None:
    done = segops(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["orders.xlsx"], "orders.xlsx: unknown format: name it .csv"),
        (["orders.csv", "--dry-run", "--rejected", "no/folder"], "no/folder: No such file"),
    ],
)
def test_file_that_cannot_be_used_is_a_mistake_of_the_user(arguments: list[str], message: str) -> None:
    Path("orders.xlsx").write_text("PK")
    done = segops(*arguments, "--map", "map.yaml")
    assert isinstance(done.exception, UserError)
    assert message in str(done.exception)
