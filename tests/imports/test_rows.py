"""Files as people write them: encodings, quotes, ragged rows, missing values, numbers, long lines."""

from __future__ import annotations

import csv
import gzip
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segops.core.errors import UserError
from segops.imports.model import CsvLayout, ImportMap
from segops.imports.rows import Row, RowFile, unreadable_column
from segops.sources.model import Source
from tests.rest import examples


def rows(path: Path, *, after: int = 0, numeric: frozenset[str] = frozenset(), **layout: Any) -> list[Row]:
    mapping = ImportMap(Source("", "json", "json", "none", ()), None, CsvLayout(**layout), numeric, b"")
    form = "parquet" if path.suffix == ".parquet" else "jsonl" if ".jsonl" in path.name else "csv"
    return list(RowFile(path, form, mapping).rows(after))


def written(folder: Path, content: str | bytes, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "layout"),
    [
        ("id,name\n1,Müller\n", {}),
        ("id,name\r\n1,Müller\r\n", {}),
        ("id,name\n1,Müller", {}),
        ("\n\nid,name\n\n1,Müller\n\n".strip("\n"), {}),
        (" id , name\n1,Müller\n", {}),
        ("\ufeffid,name\n1,Müller\n", {}),
        ("\ufeffid,name\n1,Müller\n".encode("utf-16-le"), {}),
        ("id,name\n1,Müller\n".encode("utf-16"), {}),
        ("id,name\n1,Müller\n".encode("cp1252"), {"encoding": "cp1252"}),
        ("id,name\n1,Müller\n".encode("latin-1"), {"encoding": "iso-8859-1"}),
        ("id;name\n1;Müller\n", {"delimiter": ";"}),
        ("id\tname\n1\tMüller\n", {"delimiter": "\t"}),
        ('id,name\n"1","Müller"\n', {}),
        ("id,name\n1,'Müller'\n", {"quote": "'"}),
        ("1,Müller\n", {"columns": ["id", "name"]}),
    ],
)
def test_csv_is_read_however_it_is_written(tmp_path: Path, content: str | bytes, layout: Any) -> None:
    (row,) = rows(written(tmp_path, content), **layout)
    assert (row.values, row.problem) == ({"id": "1", "name": "Müller"}, None)


def test_quoted_fields_may_hold_anything(tmp_path: Path) -> None:
    path = written(tmp_path, 'id,note\n1,"a, ""b""\nsecond line"\n2,c\n')
    assert rows(path) == [
        Row(2, {"id": "1", "note": 'a, "b"\nsecond line'}),
        Row(4, {"id": "2", "note": "c"}),
    ]


def test_missing_values_are_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, "id,a,b,c\n1,,NULL,0\n")
    assert rows(path, missing=["NULL"])[0].values == {"id": "1", "c": "0"}
    assert rows(path)[0].values == {"id": "1", "b": "NULL", "c": "0"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("1", "expected 2 columns, got 1"),
        ("1,2,3", "expected 2 columns, got 3"),
        ('1,"a"b', "invalid CSV: ',' expected after '\"'"),
    ],
)
def test_odd_row_is_rejected_with_its_line_and_the_others_are_read(
    tmp_path: Path, line: str, problem: str
) -> None:
    found = rows(written(tmp_path, f"id,name\n1,a\n{line}\n2,b\n"))
    assert [(row.line, row.problem) for row in found] == [(2, None), (3, problem), (4, None)]


def test_forgotten_quote_does_not_read_the_whole_file(tmp_path: Path) -> None:
    path = written(tmp_path, 'id,name\n1,"a\n' + "2,b\n" * 400_000)
    found = rows(path)
    assert (found[0].line, found[0].problem) == (2, "invalid CSV: field larger than field limit (1048576)")
    assert found[-1] == Row(400_002, {"id": "2", "name": "b"})


def test_quote_that_is_open_at_the_end_is_rejected(tmp_path: Path) -> None:
    found = rows(written(tmp_path, 'id,name\n1,a\n2,"b'))
    assert [(row.line, row.problem) for row in found] == [
        (2, None),
        (3, "invalid CSV: unexpected end of data"),
    ]


@pytest.mark.parametrize(
    ("text", "number"),
    [("1.234,50", "1234.50"), ("9,5", "9.5"), ("12", "12"), ("1 000,00", "1000.00"), ("-3,1", "-3.1")],
)
def test_decimal_comma_of_numbers(tmp_path: Path, text: str, number: str) -> None:
    path = written(tmp_path, f"id;total;note\n1;{text};{text}\n")
    (row,) = rows(path, delimiter=";", decimal=",", numeric=frozenset({"total"}))
    assert row.values == {"id": "1", "total": number, "note": text}


def test_text_in_another_encoding_names_its_column(tmp_path: Path) -> None:
    (row,) = rows(written(tmp_path, b"id,name\n1,M\xfcller\n"))
    assert unreadable_column(row.values) == "name"
    assert unreadable_column({"id": "1", "name": "Müller"}) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected a header"),
        ("id,id\n1,2\n", "duplicate 'id'"),
        ("id,\n1,2\n", "expected a header"),
        ("id,name\n1,2\n", "no column total; the columns are id, name"),
    ],
)
def test_header_that_cannot_be_used_is_a_mistake_of_the_user(
    tmp_path: Path, content: str, message: str
) -> None:
    with pytest.raises(UserError, match=rf"a\.csv:1: .*{message}"):
        rows(written(tmp_path, content), numeric=frozenset({"total"}) if "total" in message else frozenset())


def test_truncated_gzip_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    data = gzip.compress(b"id,name\n" + b"1,a\n" * 1_000)
    with pytest.raises(UserError, match="cannot be read to its end"):
        rows(written(tmp_path, data[: len(data) // 2], "a.csv.gz"))
    assert len(rows(written(tmp_path, data, "a.csv.gz"))) == 1_000


def test_lines_of_json(tmp_path: Path) -> None:
    long = json.dumps({"id": "x" * (2 << 20)})
    text = '\ufeff{"id": 1}\n\n[1]\n{"id"\n' + long + '\n{"id": 2}\r\n{"id": "\udcff"}'
    found = rows(written(tmp_path, text.encode(errors="surrogateescape"), "a.jsonl"))
    assert [row.line for row in found] == [1, 3, 4, 5, 6, 7]
    assert [row.values for row in found] == [{"id": 1}, {}, {}, {}, {"id": 2}, {}]
    assert found[3].problem == "the line is longer than 1,048,576 bytes"
    assert all("expected a JSON object" in (found[at].problem or "") for at in (1, 2, 5))


def test_rows_of_parquet_are_plain_values(tmp_path: Path) -> None:
    table = {
        "id": [1, 2, None],
        "at": [datetime(2026, 3, 1, 10, tzinfo=UTC), None, datetime(2026, 3, 2, tzinfo=UTC)],
        "day": [date(2026, 3, 1)] * 3,
        "total": [Decimal("9.50")] * 3,
        "tags": [["a"], [], None],
    }
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    found = rows(tmp_path / "a.parquet")
    assert found[0].values == {
        "id": 1,
        "at": "2026-03-01T10:00:00.000Z",
        "day": "2026-03-01",
        "total": Decimal("9.50"),
        "tags": ["a"],
    }
    assert [(row.line, row.values.keys()) for row in found[1:]] == [
        (2, {"id", "day", "total", "tags"}),
        (3, {"at", "day", "total"}),
    ]


def test_what_is_no_parquet_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="invalid Parquet"):
        rows(written(tmp_path, b"id,name\n", "a.parquet"))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "a.csv.gz"])
@pytest.mark.parametrize("after", [0, 1, 999, 1_000, 1_001, 2_499, 2_500])
def test_reading_goes_on_after_any_row(tmp_path: Path, name: str, after: int) -> None:
    numbers = [str(n) for n in range(2_500)]
    path = tmp_path / name
    if name == "a.parquet":
        pq.write_table(pa.table({"id": numbers}), path)
    elif name == "a.jsonl":
        path.write_text("".join(json.dumps({"id": each}) + "\n" for each in numbers))
    else:
        data = ("id\n" + "\n".join(numbers)).encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert [row.values["id"] for row in rows(path, after=after)] == numbers[after:]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "a.csv.gz"])
def test_share_of_the_file_grows_to_the_whole(tmp_path: Path, name: str) -> None:
    numbers = [str(n * 7_919) for n in range(60_000)]
    path = tmp_path / name
    if name == "a.parquet":
        pq.write_table(pa.table({"id": numbers}), path)
    else:
        lines = [json.dumps({"id": each}) for each in numbers] if name == "a.jsonl" else ["id", *numbers]
        data = "\n".join(lines).encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    file = RowFile(path, "parquet" if name == "a.parquet" else "jsonl" if name == "a.jsonl" else "csv")
    shares = [file.share for _ in file.rows()]
    assert shares == sorted(shares)
    assert (shares[0] < 0.5, shares[-1]) == (True, 1.0)


#: Python's writer quotes no single carriage return, which ends a row for its reader.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=8)


@examples(50, of=1_000)
@given(
    table=st.lists(st.lists(texts, min_size=3, max_size=3).filter(lambda row: any(row)), max_size=5),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_a_writer_of_csv_writes_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    table: list[list[str]],
    delimiter: str,
    quoting: Any,
    end: str,
    encoding: str,
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end)
    writer.writerows([["a", "b", "c"], *table])
    path = written(tmp_path_factory.mktemp("drawn"), text.getvalue().encode(encoding))
    found = rows(path, delimiter=delimiter)
    expected = [{name: each for name, each in zip("abc", row, strict=True) if each} for row in table]
    assert [(row.values, row.problem) for row in found] == [(each, None) for each in expected]
