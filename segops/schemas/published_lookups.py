"""Columns of look-up tables on Kafka: records of the segments topic, before the definitions that read them.

A column is known by the digest of its content, so that its values never change. One record, its head, says
what it is; the others hold its compressed values in chunks that every broker takes. Earlier versions skip
them with an error in their log.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from segops.core.errors import DefinitionError, Issue, SegopsError
from segops.core.lookups import (
    Column,
    LookupTable,
    PublishedTable,
    Rows,
    content_of,
    digest_of,
    find,
    shared,
)
from segops.core.segments import Definition

#: What begins the keys of these records; no segment has such a key.
COLUMN_KEY: Final = b"\x00lookup/"
#: The most bytes of a chunk, so that every broker takes it.
_CHUNK_BYTES: Final = 500_000
#: The most compressed bytes of a column.
MAX_COLUMN_BYTES: Final = 32_000_000


class MissingColumn(DefinitionError):
    """A definition reads a column that is not in memory: it is not published, or was not read yet."""


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """A published column of ``size`` compressed bytes.

    ``unused_ms``: since when, by the publisher's clock, no definition reads it; None: one does.
    """

    table: str
    column: str
    digest: str
    rows: int
    chunks: int
    size: int
    unused_ms: int | None = None

    @property
    def key(self) -> bytes:
        """The key of the head's record."""
        return COLUMN_KEY + self.digest.encode()

    @property
    def keys(self) -> list[bytes]:
        """The keys of all its records."""
        return [self.key, *(self.key + b"/%d" % number for number in range(self.chunks))]


class ColumnLog:
    """The columns after the records read so far: heads by digest, and those that are complete."""

    def __init__(self) -> None:
        self.heads: dict[str, Head] = {}
        self.columns: dict[str, Column] = {}
        self._chunks: dict[str, dict[int, bytes]] = {}

    def apply(self, key: bytes, value: bytes | None) -> None:
        """Apply one record. Raises ValueError for an invalid one."""
        digest, _, number = key.removeprefix(COLUMN_KEY).decode().partition("/")
        if number:
            self._chunk(digest, int(number), value)
        elif value is None:
            self.heads.pop(digest, None)
            self.columns.pop(digest, None)
        else:
            self._head(digest, value)
        self._complete(digest)

    def release(self, definitions: Iterable[Definition]) -> None:
        """Drop the rows of the columns that none of these definitions reads; their records are kept."""
        used = {column.digest for each in definitions for column in each.columns}
        for digest, column in self.columns.items():
            if digest not in used:
                column.release()

    def _head(self, digest: str, value: bytes) -> None:
        head = msgspec.json.decode(value, type=Head)
        if head.digest != digest:
            raise ValueError(f"the value is of the column {head.digest!r:.40}")
        self.heads[digest] = head

    def _chunk(self, digest: str, number: int, value: bytes | None) -> None:
        chunks = self._chunks.setdefault(digest, {})
        if value is None:
            chunks.pop(number, None)
        elif len(value) <= _CHUNK_BYTES:
            chunks[number] = value

    def _complete(self, digest: str) -> None:
        head, chunks = self.heads.get(digest), self._chunks.get(digest, {})
        if head is None or digest in self.columns or len(chunks) < head.chunks:
            return
        packed = [chunks[number] for number in range(head.chunks)]
        self.columns[digest] = shared(Column(head.table, head.column, digest, lambda: _unpack(head, packed)))
        del self._chunks[digest]


def records_of(column: Column) -> tuple[Head, list[tuple[bytes, bytes]]]:
    """Return the head of a column, and the records that publish it. Raises SegopsError for one too large."""
    packed = zlib.compress(content_of(column.rows))
    if len(packed) > MAX_COLUMN_BYTES:
        name = f"{column.table}.{column.name}"
        raise SegopsError(f"the column {name} has {len(packed):,} bytes, more than {MAX_COLUMN_BYTES:,}")
    chunks = [packed[at : at + _CHUNK_BYTES] for at in range(0, len(packed), _CHUNK_BYTES)]
    head = Head(column.table, column.name, column.digest, len(column.rows), len(chunks), len(packed))
    key, *keys = head.keys
    return head, [*zip(keys, chunks, strict=True), (key, msgspec.json.encode(head))]


def _unpack(head: Head, packed: list[bytes]) -> Rows:
    name = f"the published column {head.table}.{head.column}"
    try:
        content: list[tuple[str, Any]] = msgspec.json.decode(zlib.decompress(b"".join(packed)))
        texts: dict[str, str] = {}  # equal texts are one object: columns have far fewer values than rows
        rows = {
            key: texts.setdefault(value, value) if value.__class__ is str else value for key, value in content
        }
    except (zlib.error, msgspec.DecodeError, ValueError, TypeError) as error:
        raise SegopsError(f"{name} cannot be read: {error}") from error
    if digest_of(head.table, head.column, rows) != head.digest:
        raise SegopsError(f"{name} does not have the content of its digest {head.digest}")
    return rows


def columns_form(columns: Iterable[Column]) -> dict[str, dict[str, str]]:
    """Return what a record says of the columns that its rule reads: table -> column -> digest."""
    found: dict[str, dict[str, str]] = {}
    for each in sorted(columns, key=lambda column: (column.table, column.name)):
        found.setdefault(each.table, {})[each.name] = each.digest
    return found


def published_tables(form: Any, source: str) -> dict[str, LookupTable]:
    """Return the tables of a record, of the columns in memory.

    Raises DefinitionError for an invalid form, MissingColumn if a column is not in memory.
    """
    try:
        digests = msgspec.convert({} if form is None else form, type=dict[str, dict[str, str]])
    except msgspec.ValidationError as error:
        raise DefinitionError([Issue(source, "lookups", str(error))]) from None
    return {table: PublishedTable(dict(_known(table, names, source))) for table, names in digests.items()}


def _known(table: str, names: Mapping[str, str], source: str) -> Iterator[tuple[str, Column]]:
    for name, digest in names.items():
        column = find(digest)
        if column is None:
            reason = f"the column with the digest {digest:.40} is not published"
            raise MissingColumn([Issue(source, f"lookups.{table}.{name}", reason)])
        yield name, column
