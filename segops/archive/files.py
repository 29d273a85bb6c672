"""Reading and writing the Parquet files of one partition, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from segops.archive.manifest import ArchivedFile
from segops.archive.storage import ArchiveError, Storage

#: The size of a row group in memory: as much as readers hold of a file.
_GROUP_BYTES: Final = 8 << 20
_BATCH_ROWS: Final = 1_000


class FileMissing(ArchiveError):
    """A file that a manifest names does not exist: a writer has replaced it, or the archive is damaged."""


def write_file(
    storage: Storage,
    name: str,
    tables: Iterable[pa.Table],
    *,
    folder: str,
    schema: pa.Schema,
    begun: Callable[[], None],
) -> ArchivedFile | None:
    """Write tables of one UTC day in log order as one file; return its entry, or None without any row.

    ``begun`` is called when a part of the file is written.
    """
    tables = (table for table in tables if table.num_rows)
    head = next(tables, None)
    if head is None:
        return None
    facts = _Facts()
    with (
        storage.create(f"{folder}/{name}") as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        for group in _groups(_chain(head, tables)):
            writer.write_table(facts.note(group), row_group_size=group.num_rows)
            begun()
        writer.close()
        size = file.tell()
    return facts.entry(name, size)


def _chain(head: pa.Table, rest: Iterable[pa.Table]) -> Iterator[pa.Table]:
    yield head
    yield from rest


class _Facts:
    """What a manifest says of a file, gathered while it is written."""

    def __init__(self) -> None:
        self._records = 0
        self._offsets: list[int] = []
        self._times: list[int] = []

    def note(self, table: pa.Table) -> pa.Table:
        offsets, times = table.column("offset"), table.column("timestamp").cast(pa.int64())
        self._records += table.num_rows
        self._offsets += [offsets[0].as_py(), offsets[-1].as_py()]
        bounds = pc.min_max(times).as_py()
        self._times += [bounds["min"], bounds["max"]]
        return table

    def entry(self, name: str, size: int) -> ArchivedFile:
        return ArchivedFile(
            name,
            self._offsets[0],
            self._offsets[-1],
            self._records,
            size,
            min(self._times),
            max(self._times),
        )


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Join small tables and cut large ones, so that each is about one row group."""
    waiting: list[pa.Table] = []
    size = 0
    for table in tables:
        for part in _slices(table):
            if waiting and size + part.nbytes > _GROUP_BYTES:
                yield pa.concat_tables(waiting)
                waiting, size = [], 0
            waiting.append(part)
            size += part.nbytes
    if waiting:
        yield pa.concat_tables(waiting)


def _slices(table: pa.Table) -> Iterator[pa.Table]:
    rows = max(1, table.num_rows * _GROUP_BYTES // max(table.nbytes, 1))
    return (table.slice(start, rows) for start in range(0, table.num_rows, rows))


def read_tables(
    storage: Storage, folder: str, file: ArchivedFile, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Yield the rows of a file, a bounded number at a time.

    Raises FileMissing, or ArchiveError if the file is damaged.
    """
    name = f"{folder}/{file.name}"
    try:
        source = storage.open(name)
    except FileNotFoundError as error:
        raise FileMissing(f"{name}: the file is missing") from error
    try:
        with source, pq.ParquetFile(source) as parquet:
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=columns):
                yield pa.Table.from_batches([batch])
    except FileNotFoundError as error:
        raise FileMissing(f"{name}: the file was deleted while it was read") from error
    except pa.ArrowException as error:
        raise ArchiveError(f"{name}: damaged file: {error}") from error
