"""Look-up tables as people write them, and the records that publish their columns."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from segops.core.errors import DefinitionError, SegopsError
from segops.core.lookups import POINT, Column
from segops.core.rules.model import KnownFor
from segops.core.rules.parsing import Context
from segops.core.segments import Definition
from segops.schemas import lookups, published_lookups
from segops.schemas.lookups import Blocks, read_tables
from segops.schemas.published_lookups import COLUMN_KEY, MAX_COLUMN_BYTES, ColumnLog, records_of
from segops.schemas.segments import load
from tests.rest import rest


def column(table: Any, name: str) -> Column:
    found = read_tables(Blocks({"t": table}), Context())["t"].column(name, (name,))
    assert found is not None
    return found


def of_file(tmp_path: Path, text: str, name: str = "t.csv") -> dict[str, Any]:
    (tmp_path / name).write_text(text, "utf-8")
    tables = read_tables(Blocks({"t": {"file": name, "key": "id"}}, folder=tmp_path), Context())
    found = {each: tables["t"].column(each, (each,)) for each in tables["t"].names}
    return {name: dict(each.rows) for name, each in found.items() if each is not None}


def mistakes(blocks: Blocks) -> list[str]:
    with pytest.raises(DefinitionError) as error:
        read_tables(blocks, Context("f"))
    return [f"{issue.path}: {issue.reason}" for issue in error.value.issues]


# -- files -------------------------------------------------------------------------------------------------


def test_csv_has_texts_and_missing_values(tmp_path: Path) -> None:
    text = '\ufeffid,price,name\r\n01,5,"a, ""b"""\r\n\r\n2,,ü\n3,7\n'
    expected = {"price": {"01": "5", "2": None, "3": "7"}, "name": {"01": 'a, "b"', "2": "ü", "3": None}}
    assert of_file(tmp_path, text) == expected


def test_jsonl_has_values_of_any_kind(tmp_path: Path) -> None:
    lines = [{"id": 7, "a": 1.5, "b": {"c": [1]}}, {"id": "x", "a": None}, {"id": True, "b": False}]
    text = "\n\n".join(map(json.dumps, lines))
    expected = {"a": {"7": 1.5, "x": None, "true": None}, "b": {"7": {"c": [1]}, "x": None, "true": False}}
    assert of_file(tmp_path, text, "t.jsonl") == expected


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("t.csv", "", "t.csv:1: expected a header with a different name for each column, got []"),
        ("t.csv", "id,id\n", "t.csv:1: expected a header with a different name for each column"),
        ("t.csv", "id,a\n", "t.csv: expected at least one row"),
        ("t.csv", "key,a\n1,2\n", "t.csv:2: expected 'id' of 1 to 512 characters, got ''"),
        ("t.csv", "id,a\n1,2\n,3\n", "t.csv:3: expected 'id' of 1 to 512 characters, got ''"),
        ("t.csv", f"id,a\n{'x' * 513},2\n", "t.csv:2: expected 'id' of 1 to 512 characters, got 'xxx"),
        ("t.csv", "id,a\n1,2\n2,3\n1,4\n", "t.csv:4: duplicate id '1'"),
        ("t.csv", "id,a\n1,2,3\n", "t.csv:2: expected 2 cells, got 3"),
        ("t.csv", 'id,a\n1,"2\n', "t.csv:2: unexpected end of data"),
        ("t.jsonl", '{"id": 1}\n[]\n', "t.jsonl:2: expected a JSON object: Expected `object`, got `array`"),
        ("t.jsonl", '{"id": 1}\n{"id": 1.0}\n', "t.jsonl:2: duplicate id '1'"),
        ("t.jsonl", '{"id": [1]}\n', "t.jsonl:1: expected 'id' of 1 to 512 characters, got ''"),
        ("t.jsonl", '{"id": 1, "a": 1e999}\n', "t.jsonl:1: expected a JSON object"),
        ("t.txt", "id\n1\n", "expected a file in .csv, .jsonl, got 't.txt'"),
    ],
)
def test_wrong_file_is_refused_at_its_line(tmp_path: Path, name: str, text: str, reason: str) -> None:
    (tmp_path / name).write_text(text)
    (found,) = mistakes(Blocks({"t": {"file": name, "key": "id"}}, folder=tmp_path))
    assert found.startswith("lookups.t.file: ")
    assert reason in found


def test_unreadable_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"id\n\xff\n")
    for name in ("t.csv", "nowhere.csv"):
        (found,) = mistakes(Blocks({"t": {"file": name, "key": "id"}}, folder=tmp_path))
        assert f"{name}: cannot be read: " in found


def test_file_beyond_a_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.csv").write_text("id,a\n1,1\n2,2\n3,3\n")
    blocks = Blocks({"t": {"file": "t.csv", "key": "id"}}, folder=tmp_path)
    monkeypatch.setattr(lookups, "MAX_ROWS", 2)
    assert "t.csv:4: expected at most 2 rows" in mistakes(blocks)[0]
    monkeypatch.setattr(lookups, "MAX_BYTES", 16)
    assert "t.csv: cannot be read: 17 bytes, more than 16" in mistakes(blocks)[0]


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ([], "lookups: expected a non-empty map of names to tables"),
        ({"a b": {"rows": {"1": {}}}}, "lookups.a b: expected a name of 1 to 64 letters"),
        (
            {"postal_codes": {"rows": {"1": {}}}},
            "lookups.postal_codes: the table of postal codes has a block",
        ),
        ({"t": {}}, "lookups.t: expected a map with file and key"),
        ({"t": {"rows": {"1": {}}, "key": "id"}}, "lookups.t.key: unknown key; expected one of rows"),
        ({"t": {"rows": {"1": 5}}}, "lookups.t.rows.1: expected a map of columns to values, got 5"),
        (
            {"t": {"rows": {1: {}, "1": {}}}},
            "lookups.t.rows.1: expected a different key for each row, got '1'",
        ),
        (
            {"t": {"file": "t.csv", "key": "id"}},
            "lookups.t.file: only a segment file on disk may name a file",
        ),
    ],
)
def test_wrong_block_is_refused(block: Any, reason: str) -> None:
    (found,) = mistakes(Blocks(block))
    assert found.startswith(reason)


def test_every_wrong_table_is_reported() -> None:
    assert len(mistakes(Blocks({"a": {}, "b": {"rows": {}}}, {"rows": {"1": {"lat": 91, "lon": 0}}}))) == 3


def test_file_stands_beside_the_segment_file(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/p.csv").write_text("id,price\np1,5\n")
    when = {"did": "A", "where": {"p[id].price": {"as": "number", "gte": 5}}}
    form = {"version": 1, "lookups": {"p": {"file": "data/p.csv", "key": "id"}}}
    (tmp_path / "s.json").write_text(json.dumps({**form, "segments": [{"key": "s", "when": when}]}))
    (found,) = load([tmp_path / "s.json"])
    assert [dict(each.rows) for each in found.columns] == [{"p1": "5"}]


# -- postal codes ------------------------------------------------------------------------------------------


def test_postal_codes_keep_their_other_columns(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("plz,y,x,city\n01067,51.05,13.74,Dresden\n")
    blocks = Blocks(None, {"file": "c.csv", "code": "plz", "lat": "y", "lon": "x"}, tmp_path)
    table = read_tables(blocks, Context())["postal_codes"]
    points, cities = table.column(POINT, (POINT,)), table.column("city", ("city",))
    assert points is not None and points.rows == {"01067": [51.05, 13.74]}
    assert cities is not None and cities.rows == {"01067": "Dresden"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"lat": 91, "lon": 0}, "code '1': expected lat in degrees from -90 to 90, got 91"),
        ({"lat": "5 N", "lon": 0}, "code '1': expected lat in degrees from -90 to 90, got '5 N'"),
        ({"lat": 0}, "code '1': expected lon in degrees from -180 to 180, got None"),
    ],
)
def test_wrong_point_is_refused(row: Any, reason: str) -> None:
    assert mistakes(Blocks(None, {"rows": {"1": row}})) == [f"postal_codes: {reason}"]


def test_too_many_codes_are_refused() -> None:
    rows = {str(code): {"lat": 0, "lon": 0} for code in range(lookups.MAX_CODES + 1)}
    assert mistakes(Blocks(None, {"rows": rows})) == [
        "postal_codes: expected at most 100,000 postal codes, got 100,001"
    ]


# -- records -----------------------------------------------------------------------------------------------


def test_column_round_trips_through_its_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published_lookups, "_CHUNK_BYTES", 64)
    rows = {f"k{number}": {"c": [number, "ü", {"d": None}] if number % 2 else None} for number in range(50)}
    found = column({"rows": rows}, "c")
    head, records = records_of(found)
    assert head.chunks > 2 and (head.table, head.column, head.rows) == ("t", "c", 50)
    log = ColumnLog()
    for key, value in records:
        assert log.columns == {}
        log.apply(key, value)
    assert log.columns[found.digest] is found  # the same content is in memory once
    assert published_lookups._unpack(head, [value for _, value in records[:-1]]) == found.rows


def test_rows_that_no_definition_reads_leave_the_memory() -> None:
    log, (head, records) = ColumnLog(), records_of(column({"rows": {"a": {"c": "read again"}}}, "c"))
    gc.collect()  # of the table as written
    for record in records:
        log.apply(*record)
    found = log.columns[head.digest]
    rows = found.rows
    reads = Definition("s", "s", KnownFor(0), columns=(found,))
    log.release([reads])
    assert found.rows is rows
    log.release([])
    assert found.rows is not rows and found.rows == rows


def test_column_of_which_a_chunk_is_missing_is_not_known() -> None:
    log, (_, records) = ColumnLog(), records_of(column({"rows": {"a": {"c": 1}}}, "c"))
    log.apply(*records[-1])
    assert (len(log.heads), log.columns) == (1, {})


def test_removed_column_is_forgotten() -> None:
    log, (head, records) = ColumnLog(), records_of(column({"rows": {"a": {"c": 1}}}, "c"))
    for record in (*records, *((key, None) for key in head.keys)):
        log.apply(*record)
    assert (log.heads, log.columns) == ({}, {})


@rest
def test_two_hundred_thousand_rows_are_read_published_and_read_again(tmp_path: Path) -> None:
    rows = (f"product-{number:07d},collection {number % 300}" for number in range(200_000))
    (tmp_path / "t.csv").write_text("\n".join(["id,collection", *rows]))
    tables = read_tables(Blocks({"t": {"file": "t.csv", "key": "id"}}, folder=tmp_path), Context())
    found = tables["t"].column("collection", ("collection",))
    assert found is not None
    head, records = records_of(found)
    assert (head.rows, head.size < MAX_COLUMN_BYTES) == (200_000, True)
    assert max(len(value) for _, value in records) <= published_lookups._CHUNK_BYTES
    again = published_lookups._unpack(head, [value for _, value in records[:-1]])
    assert again == found.rows
    assert len({id(value) for value in again.values()}) == 300  # equal texts are in memory once


@pytest.mark.parametrize(
    ("key", "value"),
    [(b"d1", b"{}"), (b"d1", b"not json"), (b"d1/x", b"5"), (b"\xff", b"{}"), (b"d2", b'{"digest": "d1"}')],
)
def test_odd_record_is_refused(key: bytes, value: bytes) -> None:
    with pytest.raises(ValueError):
        ColumnLog().apply(COLUMN_KEY + key, value)


def test_other_content_than_that_of_the_digest_is_refused() -> None:
    found = column({"rows": {"a": {"c": 1}}}, "c")
    head, records = records_of(found)
    other = records_of(column({"rows": {"a": {"c": 2}}}, "c"))[1]
    with pytest.raises(SegopsError, match="does not have the content of its digest"):
        published_lookups._unpack(head, [other[0][1]])
    for odd in (b"", b"x", msgspec.json.encode([])):
        with pytest.raises(SegopsError, match="cannot be read"):
            published_lookups._unpack(head, [odd])
    assert published_lookups._unpack(head, [records[0][1]]) == {"a": 1}


def test_too_large_a_column_is_not_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published_lookups, "MAX_COLUMN_BYTES", 5)
    with pytest.raises(SegopsError, match=r"the column t\.c has .* bytes, more than 5"):
        records_of(column({"rows": {"a": {"c": 1}}}, "c"))
