"""Files of identifiers: text and tables, bad lines with their numbers, types that do not count."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from segops.core.errors import UserError
from segops.core.identifiers import Rules
from segops.imports.ids import MAX_CHARACTERS, IdFile
from segops.schemas.identifying import DEFAULT, IdentityLimits


def read(path: Path, kind: str = "user_id", column: str | None = None) -> tuple[list[str], list[str]]:
    """Return the identifiers, and the bad lines with their reasons."""
    bad: list[str] = []
    found = IdFile(path, kind, DEFAULT, column).identifiers(lambda line, why: bad.append(f"{line}: {why}"))
    return list(found), bad


def written(folder: Path, content: str | bytes, name: str = "ids.txt") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_text_file_has_an_identifier_per_line(tmp_path: Path) -> None:
    path = written(tmp_path, "\ufeffu1\r\n\n  u 2 \nu1\nünï")
    assert read(path) == (["user_id:u1", "user_id:u 2", "user_id:u1", "user_id:ünï"], [])


def test_addresses_are_lower_case_as_in_events(tmp_path: Path) -> None:
    assert read(written(tmp_path, " Ada@Example.COM"), "email")[0] == ["email:ada@example.com"]


def test_bad_lines_are_reported_with_their_numbers_and_left_out(tmp_path: Path) -> None:
    long = "x" * (MAX_CHARACTERS + 1)
    path = written(
        tmp_path, b"null\nu1\n\n000\n\xff\xfe\n" + long.encode() + b"\n" + b"y" * 9_000 + b"\nu2\n"
    )
    found, bad = read(path)
    assert found == ["user_id:u1", "user_id:u2"]
    assert bad == [
        "1: not a valid user_id: 'null'",
        "4: not a valid user_id: '000'",
        "5: not UTF-8",
        f"6: not a valid user_id: {repr(long)[:40]}",
        "7: longer than 1,000 characters",
    ]


def test_compressed_table_has_them_in_a_column(tmp_path: Path) -> None:
    content = gzip.compress(b'name,mail\nAda,ada@x.y\n"Bo, B.",\nCy\nDan,dan@x.y\n')
    found, bad = read(written(tmp_path, content, "people.CSV.gz"), "email", "mail")
    assert found == ["email:ada@x.y", "email:dan@x.y"]
    assert bad == ["3: no value in the column mail", "4: expected 2 columns, got 1"]


def test_json_lines_may_have_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, '{"id": 12345}\n{"id": true}\n{"id": "7"}\n[]\n', "ids.jsonl")
    found, bad = read(path, column="id")
    assert found == ["user_id:12345", "user_id:7"]
    assert [each.partition(":")[0] for each in bad] == ["2", "4"]


def test_share_of_the_file_grows_to_all(tmp_path: Path) -> None:
    file = IdFile(written(tmp_path, "u1\n" * 100_000), "user_id", DEFAULT)
    found = file.identifiers(lambda *_: None)
    assert file.share == 0
    next(found)
    assert 0 < file.share < 1
    assert sum(1 for _ in found) == 99_999


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected at least one user_id, got none"),
        ("null\n" * 7, "expected at least one user_id, got none"),
        ("null\n" * 2_000 + "u1\n", "none of the first 1,000 lines has a valid user_id"),
        ("u1\n".encode("utf-16"), "expected UTF-8, got UTF-16"),
    ],
)
def test_file_without_identifiers_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(written(tmp_path, content))


def test_file_that_ends_in_its_middle_is_refused(tmp_path: Path) -> None:
    content = gzip.compress("\n".join(f"u{number * 7919 % 65_537}" for number in range(9_000)).encode())
    with pytest.raises(UserError, match="cannot be read to its end"):
        read(written(tmp_path, content[:-9], "ids.txt.gz"))


@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        ("ids.csv", None, "expected --column with the name of the column"),
        ("ids.parquet", None, "expected --column with the name of the column"),
        ("ids.txt", "id", "--column is for .csv"),
        ("ids", "id", "--column is for .csv"),
    ],
)
def test_column_belongs_to_a_table(tmp_path: Path, name: str, column: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        IdFile(written(tmp_path, "u1", name), "user_id", DEFAULT, column)


@pytest.mark.parametrize("kind", ["device_id", "a:b", ""])
def test_type_that_does_not_count_is_refused(tmp_path: Path, kind: str) -> None:
    limits = IdentityLimits(rules=Rules(priority=("user_id", "email")))
    with pytest.raises(UserError, match=f"unknown type of identifiers '{kind}'"):
        IdFile(written(tmp_path, "u1"), kind, limits)
