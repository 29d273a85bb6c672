"""``segops lists``: options that are refused before Kafka is asked, and lines that are left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from segops.cli._bad_lines import BadLines
from segops.cli._edits import edit_in
from segops.core.errors import UserError
from segops.kafka.definitions import DefinitionLog
from segops.schemas.static_lists import PublishedList, encode_list, record_key
from tests.command import run


@pytest.fixture
def ids(tmp_path: Path) -> Path:
    path = tmp_path / "ids.txt"
    path.write_text("u1\n")
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["Vip"], "expected lower-case letters, digits and -, at most 64, got 'Vip'"),
        (["vip\n"], "expected lower-case letters, digits and -"),
        (["vip", "--expires", "soon"], "expected a duration like 30d, or a future instant"),
        (["vip", "--expires", "2020-01-01"], "expected a duration like 30d, or a future instant"),
        (["vip", "--expires", "0d"], "expected a duration above 0, got '0d'"),
        (["vip", "--identifier", "a:b"], "unknown type of identifiers 'a:b'"),
        (["vip", "--column", "id"], "--column is for .csv, .tsv, .jsonl and .parquet"),
    ],
)
def test_wrong_options_of_an_upload_are_refused(ids: Path, options: list[str], message: str) -> None:
    key, *others = options
    done = run("lists", "put", key, ids, *others)
    assert (done.status, done.out) == (2, "")
    assert message in " ".join(done.err.split())


def test_file_of_rejected_lines_must_be_writable(ids: Path, tmp_path: Path) -> None:
    target = tmp_path / "nowhere" / "bad.tsv"
    done = run("lists", "put", "vip", ids, "--rejected", target)
    assert (done.status, done.out, done.err) == (2, "", f"{target}: No such file or directory\n")


def test_first_bad_lines_are_said_and_all_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with BadLines(Path("ids.txt"), tmp_path / "bad.tsv") as bad:
        for line in range(1, 31):
            bad.add(line, "odd")
    assert bad.count == 30
    said = capsys.readouterr().err.splitlines()
    assert said[:1] == ["ids.txt:1: odd"]
    assert said[20:] == ["further rejected lines are not listed here; --rejected writes all to a file"]
    assert (tmp_path / "bad.tsv").read_text().splitlines() == [f"{line}\todd" for line in range(1, 31)]


def test_strict_ends_at_the_first_bad_line() -> None:
    with BadLines(Path("ids.txt"), strict=True) as bad, pytest.raises(UserError, match=r"ids\.txt:7: odd"):
        bad.add(7, "odd")


def test_publication_warns_once_of_a_list_that_is_not_uploaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("version: 1\nsegments:\n  - {key: some, when: {any: [{list: a}, {list: b}, {list: c}]}}")
    decide, log = edit_in([path], prune=False, retire=()), DefinitionLog()
    for published in (PublishedList("a", 1, 1), PublishedList("b", 1)):
        log.apply(record_key(published.key), encode_list(published))
    assert [each.action for _ in range(2) for each in decide(log)] == ["added", "added"]
    warnings = [line for line in capsys.readouterr().err.splitlines() if "uploaded" in line]
    assert [line.partition("some: ")[2] for line in warnings] == [
        f"the list {key} is not uploaded, so that it names no one" for key in ("b", "c")
    ]
