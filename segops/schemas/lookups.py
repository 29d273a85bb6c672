"""Look-up tables as people write them: a file of rows, or a few rows in the segment file itself."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from segops.core.conversions import as_number
from segops.core.lookups import POINT, POSTAL_CODES, LookupTable, WrittenTable
from segops.core.rules.parsing import TABLE_PATTERN, Context, Reader, Reads
from segops.core.values import as_text
from segops.schemas.written import check_bounds

#: Limits of one table, and of its file in bytes.
MAX_ROWS: Final = 500_000
MAX_BYTES: Final = 100_000_000
MAX_CODES: Final = 100_000
_MAX_KEY: Final = 512
_NAME: Final = re.compile(TABLE_PATTERN)
_EXAMPLE: Final = "{products: {file: products.csv, key: id}}"
_EXAMPLE_OF_CODES: Final = "{file: codes.csv, code: code, lat: lat, lon: lon}"
_NO_FILE: Final = "only a segment file on disk may name a file; give the rows here"

_Row = dict[str, Any]


class Line(NamedTuple):
    """A row of a file, and the number of its first line."""

    number: int
    row: _Row


class Blocks(NamedTuple):
    """The blocks of tables of a file as written; None: the file has no such block.

    ``folder``: that to which the paths of files are relative; None: only rows may be given.
    """

    lookups: Any = None
    postal_codes: Any = None
    folder: Path | None = None


#: A file without such blocks.
NO_TABLES: Final = Blocks()


def read_tables(blocks: Blocks, context: Context) -> dict[str, LookupTable]:
    """Parse the blocks of tables of a file: tables by name. Raises DefinitionError with every mistake."""
    reads = []
    if blocks.lookups is not None:
        reads.append(partial(_lookups, Reader(blocks.lookups, "lookups", context), blocks.folder))
    if blocks.postal_codes is not None:
        form = Reader(blocks.postal_codes, POSTAL_CODES, context)
        reads.append(partial(_postal_codes, form, blocks.folder))
    found: dict[str, LookupTable] = {}
    for tables in Reader({}, "lookups", context).gather(*reads):
        found |= tables
    return found


def _lookups(block: Reader, folder: Path | None) -> dict[str, LookupTable]:
    raw = block.raw
    if not isinstance(raw, dict) or not raw:
        block.fail(f"expected a non-empty map of names to tables, such as {_EXAMPLE}")
    found = block.gather(*(partial(_named, block, name, folder) for name in raw))
    return dict(zip(raw, found, strict=True))


def _named(block: Reader, name: Any, folder: Path | None) -> LookupTable:
    form = block.at(name)
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        form.fail(f"expected a name of 1 to 64 letters, digits, hyphens and underscores, got {name!r:.70}")
    if name == POSTAL_CODES:
        form.fail("the table of postal codes has a block of its own, postal_codes")
    return WrittenTable(name, read_table(form, folder))


def _postal_codes(form: Reader, folder: Path | None) -> dict[str, LookupTable]:
    """Read ``{file, code, lat, lon}`` or ``{rows}``, whose rows have ``lat`` and ``lon``."""
    if isinstance(form.raw, dict) and "rows" in form:
        form.only("rows")
        lat, lon, found = "lat", "lon", _rows(form.at("rows"))
    else:
        reads: Reads = dict.fromkeys(("file", "code", "lat", "lon"), Reader.text)
        file, code, lat, lon = form.record(reads, _EXAMPLE_OF_CODES)
        if folder is None:
            form.at("file").fail(_NO_FILE)
        found = rows_of_file(folder / file, code, form.at("file").fail)
    return {POSTAL_CODES: WrittenTable(POSTAL_CODES, with_points(found, lat, lon, form.fail))}


def with_points(rows: Mapping[str, _Row], lat: str, lon: str, fail: Callable[[str], Any]) -> dict[str, _Row]:
    """Return the rows of postal codes with their points, as latitude and longitude in degrees.

    ``lat`` and ``lon`` name the columns. Calls ``fail``, which raises, with the first mistake.
    """
    if len(rows) > MAX_CODES:
        fail(f"expected at most {MAX_CODES:,} postal codes, got {len(rows):,}")
    found: dict[str, _Row] = {}
    for code, row in rows.items():
        point = [as_number(row.get(name)) for name in (lat, lon)]
        for name, degrees, limit in zip((lat, lon), point, (90, 180), strict=True):
            if degrees is None or not -limit <= degrees <= limit:
                wrong = row.get(name)
                fail(f"code {code!r}: expected {name} in degrees from -{limit} to {limit}, got {wrong!r:.40}")
        found[code] = {**row, POINT: [float(degrees) for degrees in point]}
    return found


def read_table(form: Reader, folder: Path | None) -> dict[str, _Row]:
    """Read ``{file, key}`` or ``{rows}``: rows by key. Raises DefinitionError with the first wrong line."""
    if isinstance(form.raw, dict) and "rows" in form:
        form.only("rows")
        return _rows(form.at("rows"))
    reads: Reads = {"file": Reader.text, "key": Reader.text}
    name, key = form.record(reads, "{file: products.csv, key: id}, or {rows: {p1: {price: 5}}}")
    file = form.at("file")
    if folder is None:
        file.fail(_NO_FILE)
    return rows_of_file(folder / name, key, file.fail)


def _rows(form: Reader) -> dict[str, _Row]:
    if not isinstance(form.raw, dict) or not form.raw:
        form.fail("expected a non-empty map of keys to rows, such as {p1: {price: 5}}")
    if len(form.raw) > MAX_ROWS:
        form.fail(f"expected at most {MAX_ROWS:,} rows")
    found: dict[str, _Row] = {}
    for key, row in form.raw.items():
        text = as_text(key)
        if not text or text in found:
            form.at(key).fail(f"expected a different key for each row, got {key!r:.70}")
        if not isinstance(row, dict) or not all(isinstance(name, str) and name for name in row):
            form.at(key).fail(f"expected a map of columns to values, got {row!r:.70}")
        found[text] = row
    return found


def rows_of_file(path: Path, key: str, fail: Callable[[str], Any]) -> dict[str, _Row]:
    """Read a table from a file: CSV with a header, or one JSON object per line (.jsonl); rows by ``key``.

    Calls ``fail``, which raises, with the place and the reason of the first mistake.
    """
    found: dict[str, _Row] = {}
    if path.suffix.lower() not in _READERS:
        fail(f"expected a file in {', '.join(_READERS)}, got {path.name!r}")
    try:
        for line in _READERS[path.suffix.lower()](_text(path)):
            _add(found, line, key)
    except _Wrong as wrong:
        fail(f"{path}:{wrong.line}: {wrong}")
    except (OSError, ValueError) as error:
        fail(f"{path}: cannot be read: {error}")
    if not found:
        fail(f"{path}: expected at least one row")
    return found


def _add(found: dict[str, _Row], line: Line, key: str) -> None:
    text = as_text(line.row.get(key)) or ""
    if not 1 <= len(text) <= _MAX_KEY:
        raise _Wrong(line.number, f"expected {key!r} of 1 to {_MAX_KEY} characters, got {text!r:.40}")
    if text in found:
        raise _Wrong(line.number, f"duplicate {key} {text!r:.70}")
    if len(found) == MAX_ROWS:
        raise _Wrong(line.number, f"expected at most {MAX_ROWS:,} rows")
    found[text] = {name: value for name, value in line.row.items() if name != key}


class _Wrong(Exception):
    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def _text(path: Path) -> str:
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"{size:,} bytes, more than {MAX_BYTES:,}")
    return path.read_text("utf-8-sig")


def _of_csv(text: str) -> Iterator[Line]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        names = next(reader, [])
        if not names or not all(names) or len(set(names)) < len(names):
            raise _Wrong(1, f"expected a header with a different name for each column, got {names!r:.70}")
        for cells in reader:
            if len(cells) > len(names):
                raise _Wrong(reader.line_num, f"expected {len(names)} cells, got {len(cells)}")
            if cells:  # an empty cell, and one beyond a short line, is a missing value
                pairs = zip(names, cells, strict=False)
                yield Line(reader.line_num, {name: cell or None for name, cell in pairs})
    except csv.Error as error:
        raise _Wrong(reader.line_num, str(error)) from None


def _of_jsonl(text: str) -> Iterator[Line]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = decode(line)
            check_bounds(row)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise _Wrong(number, f"expected a JSON object: {error}") from None
        yield Line(number, row)


#: Suffix of a file -> the reader of its rows.
_READERS: dict[str, Callable[[str], Iterator[Line]]] = {".csv": _of_csv, ".jsonl": _of_jsonl}
SUFFIXES: Final = tuple(_READERS)
