"""The rows of a file, one after the other, in memory that does not grow with the file."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec

from segops.core.errors import UserError
from segops.imports.model import CsvLayout, Form, ImportMap
from segops.sources.conversions import plain

#: The most bytes of a line of JSON, and characters of a field: a forgotten quote must not read everything.
_MAX_LINE: Final = 1 << 20
_PARQUET_ROWS: Final = 1_000
_SHOWN: Final = 40
_BOMS: Final = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_SPACES: Final = str.maketrans("", "", "\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE} '.")
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Row(NamedTuple):
    """A row: the number of its first line, in Parquet its own, from 1; and its values, or the problem."""

    line: int
    values: dict[str, Any]
    problem: str | None = None


class RowFile:
    """A file that is read from its beginning."""

    def __init__(self, path: Path, form: Form, mapping: ImportMap | None = None) -> None:
        self._path = path
        self._form = form
        self._csv = CsvLayout() if mapping is None else mapping.csv
        self._numeric = frozenset[str]() if mapping is None else mapping.numeric
        self._size = max(path.stat().st_size, 1)
        self._raw: BinaryIO | None = None
        self._share = 0.0

    @property
    def share(self) -> float:
        """The part of the file that has been read, from 0 to 1."""
        if self._form == "parquet" or self._raw is None or self._raw.closed:
            return self._share
        return self._raw.tell() / self._size

    def rows(self, after: int = 0) -> Iterator[Row]:
        """Yield the rows after the first ``after``. Raises UserError if the file cannot be read on."""
        found = {"csv": self._of_csv, "jsonl": self._of_json, "parquet": self._of_parquet}[self._form]
        try:
            with self.opened() as file:
                yield from found(file, after)
        except (OSError, EOFError, zlib.error, UnicodeError) as error:
            raise UserError(f"{self._path}: cannot be read to its end: {error}") from None

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Open the file, decompressed."""
        with self._path.open("rb") as self._raw:
            if self._path.suffix.lower() == ".gz" and self._form != "parquet":
                with gzip.GzipFile(fileobj=self._raw) as file:
                    yield io.BufferedReader(file)
            else:
                yield self._raw

    def _of_json(self, file: BinaryIO, after: int) -> Iterator[Row]:
        number = 0
        for line, text in enumerate(bounded_lines(file), 1):
            text = text.removeprefix(_BOMS[0][0]) if line == 1 else text
            if not text.strip():
                continue
            number += 1
            if number > after:
                yield _json_row(line, text)

    def _of_csv(self, file: BinaryIO, after: int) -> Iterator[Row]:
        head = file.peek(3)[:3] if isinstance(file, io.BufferedReader) else b""
        encoding = next((name for bom, name in _BOMS if head.startswith(bom)), self._csv.encoding)
        csv.field_size_limit(_MAX_LINE)
        # Bytes that are invalid in the encoding become surrogates: such a line must not end the import.
        text = io.TextIOWrapper(file, encoding, errors=_errors(encoding), newline="")
        try:
            reader = csv.reader(text, delimiter=self._csv.delimiter, quotechar=self._csv.quote, strict=True)
            columns = self._columns(reader)
            yield from (row for n, row in enumerate(self._csv_rows(reader, columns), 1) if n > after)
        finally:
            text.detach()

    def _columns(self, reader: Any) -> list[str]:
        try:
            columns = self._csv.columns or [name.strip() for name in next(reader, [])]
        except csv.Error as error:
            raise UserError(f"{self._path}:1: {error}") from None
        repeated = sorted({name for name in columns if columns.count(name) > 1})
        if not columns or not all(columns) or repeated:
            wrong = (
                f"duplicate {', '.join(map(repr, repeated))}" if repeated else f"got {columns!r:.{_SHOWN}}"
            )
            raise UserError(
                f"{self._path}:1: expected a header with a different name for each column: {wrong}"
            )
        if not self._numeric <= set(columns):
            missing = ", ".join(sorted(self._numeric - set(columns)))
            raise UserError(f"{self._path}:1: no column {missing}; the columns are {', '.join(columns)}")
        return columns

    def _csv_rows(self, reader: Any, columns: list[str]) -> Iterator[Row]:
        missing, width = {"", *self._csv.missing}, len(columns)
        commas = [at for at, name in enumerate(columns) if name in self._numeric and self._csv.decimal == ","]
        while True:
            line = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Row(line, {}, f"invalid CSV: {error}")
                continue
            if not fields:
                continue
            if len(fields) != width:
                yield Row(line, {}, f"expected {width} columns, got {len(fields)}")
                continue
            for at in commas:
                fields[at] = fields[at].translate(_SPACES).replace(",", ".")
            values = {name: each for name, each in zip(columns, fields, strict=True) if each not in missing}
            yield Row(line, values)

    def _of_parquet(self, file: BinaryIO, after: int) -> Iterator[Row]:
        try:
            from pyarrow import ArrowException
            from pyarrow.parquet import ParquetFile
        except ImportError:
            raise UserError("Parquet needs pyarrow: install the extra `archive` of segops-engine") from None
        try:
            number, table = 0, ParquetFile(file)
            for batch in table.iter_batches(batch_size=_PARQUET_ROWS):
                number += len(batch)
                self._share = number / max(table.metadata.num_rows, 1)
                if number <= after:
                    continue
                first = number - len(batch)
                found: list[dict[str, Any]] = batch.slice(max(after - first, 0)).to_pylist()
                for at, values in enumerate(found, max(after, first) + 1):
                    yield Row(at, {name: plain(each) for name, each in values.items() if each is not None})
        except ArrowException as error:
            raise UserError(f"{self._path}: invalid Parquet: {error}") from None


def _errors(encoding: str) -> str:
    return "replace" if encoding.startswith(("utf-16", "utf-32")) else "surrogateescape"


def bounded_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file; of one that is too long only its beginning, one byte more than allowed."""
    while line := file.readline(_MAX_LINE + 1):
        yield line
        while len(line) > _MAX_LINE and not line.endswith(b"\n"):
            line = file.readline(_MAX_LINE + 1)
            if len(line) <= _MAX_LINE:
                break


def _json_row(line: int, text: bytes) -> Row:
    if len(text) > _MAX_LINE:
        return Row(line, {}, f"the line is longer than {_MAX_LINE:,} bytes")
    try:
        return Row(line, _decode(text))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Row(line, {}, f"expected a JSON object: {error}")


def unreadable_column(values: dict[str, Any]) -> str | None:
    """Return the column whose text was not in the encoding of the file, or None."""
    for name, each in values.items():
        if isinstance(each, str) and not each.isascii() and any("\udc80" <= one <= "\udcff" for one in each):
            return name
    return None


def sample(rows: Iterable[Row], count: int) -> list[dict[str, Any]]:
    """Return the values of the first ``count`` rows that can be read."""
    found: list[dict[str, Any]] = []
    for row in rows:
        if row.problem is None:
            found.append(row.values)
        if len(found) == count:
            break
    return found
