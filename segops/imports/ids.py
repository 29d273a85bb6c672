"""Files of identifiers: one per line, or in a column of a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from segops.core.errors import UserError
from segops.imports.model import Form, format_of
from segops.imports.rows import RowFile, bounded_lines, unreadable_column
from segops.schemas.identifying import IdentityLimits

#: The most characters of an identifier.
MAX_CHARACTERS: Final = 1_000
#: If none of so many first lines has an identifier, it is the wrong file, or the wrong column.
_FIRST: Final = 1_000
_TYPE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SHOWN: Final = 40
_BOM: Final = b"\xef\xbb\xbf"
_WIDE: Final = (b"\xff\xfe", b"\xfe\xff")

#: Called with the line number, and the reason, of each line without a valid identifier.
OnBad = Callable[[int, str], None]


class _Line(NamedTuple):
    number: int
    value: Any
    problem: str | None = None


class IdFile:
    """A file of identifiers of one type, read in memory that does not grow with it.

    A text file has one identifier per line; empty lines are skipped. A table (.csv, .tsv, .jsonl, .parquet)
    has them in ``column``. Raises UserError if the column is missing or not needed, or for a type that does
    not count.
    """

    def __init__(self, path: Path, kind: str, limits: IdentityLimits, column: str | None = None) -> None:
        self._path, self._kind, self._limits, self._column = path, kind, limits, column
        if not _TYPE.fullmatch(kind) or not limits.rules.counts(kind):
            raise UserError(f"unknown type of identifiers {kind!r}: identifiers of this type do not count")
        form = _form_of(path, column)
        self._file = RowFile(path, form or "jsonl")
        self._lines = self._of_text if form is None else self._of_table

    @property
    def share(self) -> float:
        """The part of the file that has been read, from 0 to 1."""
        return self._file.share

    def identifiers(self, on_bad: OnBad) -> Iterator[str]:
        """Yield the identifiers as ``<type>:<value>``, in the order of the file, repeated ones too.

        Raises UserError if the file cannot be read, or none of its first lines has an identifier.
        """
        good = bad = 0
        for number, value, problem in self._lines():
            found = None if problem is not None else self._identifier(value)
            if found is not None:
                good += 1
                yield found
                continue
            bad += 1
            on_bad(number, problem or f"not a valid {self._kind}: {value!r:.{_SHOWN}}")
            if not good and bad >= _FIRST:
                raise UserError(f"{self._path}: none of the first {bad:,} lines has a valid {self._kind}")
        if not good:
            raise UserError(f"{self._path}: expected at least one {self._kind}, got none")

    def _identifier(self, raw: Any) -> str | None:
        read = self._limits.email if self._kind == "email" else self._limits.identifier
        value = read(raw)
        return None if value is None or len(value) > MAX_CHARACTERS else f"{self._kind}:{value}"

    def _of_text(self) -> Iterator[_Line]:
        try:
            with self._file.opened() as file:
                for number, line in enumerate(bounded_lines(file), 1):
                    if number == 1 and line.startswith(_WIDE):
                        raise UserError(f"{self._path}: expected UTF-8, got UTF-16")
                    text = line.removeprefix(_BOM) if number == 1 else line
                    if stripped := text.strip():
                        yield _line(number, stripped)
        except (OSError, EOFError) as error:
            raise UserError(f"{self._path}: cannot be read to its end: {error}") from None

    def _of_table(self) -> Iterator[_Line]:
        column = self._column or ""
        for row in self._file.rows():
            if row.problem is not None:
                yield _Line(row.line, None, row.problem)
            elif column not in row.values:
                yield _Line(row.line, None, f"no value in the column {column}")
            elif unreadable_column({column: row.values[column]}) is not None:
                yield _Line(row.line, None, "not UTF-8")
            else:
                yield _Line(row.line, row.values[column])


def _form_of(path: Path, column: str | None) -> Form | None:
    """Return the form of a table; None for a text file."""
    name = path.name.lower().removesuffix(".gz")
    form = None if name.endswith(".txt") else format_of(path, None)
    if form is not None and column is None:
        raise UserError(f"{path}: expected --column with the name of the column that has the identifiers")
    if form is None and column is not None:
        raise UserError(f"{path}: --column is for .csv, .tsv, .jsonl and .parquet; a text file has none")
    return form


def _line(number: int, text: bytes) -> _Line:
    if len(text) > 4 * MAX_CHARACTERS:
        return _Line(number, None, f"longer than {MAX_CHARACTERS:,} characters")
    try:
        return _Line(number, text.decode())
    except UnicodeDecodeError:
        return _Line(number, None, "not UTF-8")
