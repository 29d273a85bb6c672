"""One partition of the archive, owned by this process: records are collected, then written.

Every change of the archive is one commit of the manifest: files are written first, then the manifest names
them, then those that they replace are deleted. A process that is killed in between leaves files that no
manifest names, which the next owner deletes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from time import monotonic
from typing import Final

import msgspec
import pyarrow as pa

from segops.archive.erasures import Erasures
from segops.archive.files import FileMissing, read_tables, write_file
from segops.archive.ledger import Ledger
from segops.archive.manifest import ArchivedFile, Gap, Manifest, day_of
from segops.archive.storage import Storage
from segops.archive.tables import ArchiveRow, Table, arrow_of
from segops.core.errors import UserError
from segops.metrics import Metrics
from segops.schemas.records import Record

log = logging.getLogger(__name__)

#: What a record takes in memory besides its key and value, roughly.
_RECORD_BYTES: Final = 400
_ROWS_AT_ONCE: Final = 5_000


class ArchivePartition:
    """The archive of one partition of one topic. Its methods block on the storage; calls must not overlap.

    ``passed`` is called at each failpoint.
    """

    def __init__(
        self,
        storage: Storage,
        table: Table,
        partition: int,
        *,
        erasures: Erasures,
        metrics: Metrics,
        passed: Callable[[str], None],
    ) -> None:
        self.table = table
        self.partition = partition
        self.storage = storage
        self.erasures = erasures
        self.metrics = metrics
        self.passed = passed
        self.size = 0
        self._ledger = Ledger(storage, table.topic, partition)
        self.manifest = Manifest(table.topic, partition, claim=self._ledger.current)
        self._records: list[Record] = []
        self.position = 0
        self._oldest_s: float | None = None
        self._gap: Gap | None = None

    def open(self) -> None:
        """Claim the partition, and delete what former owners left unfinished. Raises Superseded."""
        manifest = self._ledger.claim()
        self.passed("archive_after_claim")
        if not manifest.files:  # no earlier erasure concerns it, except records that are yet to come
            manifest.receipts = dict(self.erasures.positions)
        self._ledger.commit(manifest)
        self.manifest = manifest
        left = self._ledger.sweep(manifest)
        if left:
            log.info("%s: deleted %d unfinished files of a former owner", manifest.folder, len(left))

    def begin(self, first: int, end: int) -> int:
        """Return the offset to read from, in a log that goes from ``first`` to ``end``.

        Raises UserError if the archive is ahead of the log: it was made from another one.
        """
        position = self.manifest.next_offset or 0
        if position > end:
            raise UserError(
                f"the archive of {self} goes to offset {position}, but the topic ends at {end}: "
                "the topic was recreated, or SEGOPS_ARCHIVE_URL is the archive of another one"
            )
        if position < first:
            self._gap = Gap(position, first - 1)
            self.metrics.archive_gaps.labels(self.table.topic).inc()
            log.warning(
                "%s: offsets %d to %d were deleted before they were archived", self, position, first - 1
            )
        self.position = max(position, first)
        return self.position

    def __str__(self) -> str:
        return f"{self.table.topic}, partition {self.partition}"

    def add(self, records: Iterable[Record]) -> None:
        """Collect records in log order; those that are archived are passed over."""
        for record in records:
            if record.offset >= self.position:
                self._records.append(record)
                self.position = record.offset + 1
                self.size += len(record.key or b"") + len(record.value or b"") + _RECORD_BYTES
        if self._records and self._oldest_s is None:
            self._oldest_s = monotonic()

    def age_s(self) -> float:
        """Return for how long the oldest collected record has waited."""
        return 0.0 if self._oldest_s is None else monotonic() - self._oldest_s

    def write(self) -> int | None:
        """Write what is collected; return the offset that follows it, or None if there was nothing.

        Raises Superseded if another process owns the partition.
        """
        records = self._records
        if not records:
            return None
        rows: list[ArchiveRow] = []
        for described in map(self.table.describe, records):
            row = self.erasures.apply(described, self.table, self.partition)
            self.count_erased(described, row)
            if row is not None:
                rows.append(row)
        files = list(self._written(rows))
        self.passed("archive_after_append_files")
        self.commit(
            files=[*self.manifest.files, *files], next_offset=self.position, **self._noted_gap(records[0])
        )
        self.passed("archive_after_append_manifest")
        self.metrics.archive_records.labels(self.table.topic).inc(len(rows))
        self._records, self.size, self._oldest_s, self._gap = [], 0, None, None
        return self.position

    def _written(self, rows: Sequence[ArchiveRow]) -> Iterator[ArchivedFile]:
        by_day: dict[str, list[ArchiveRow]] = {}
        for row in rows:
            by_day.setdefault(day_of(row.record.timestamp), []).append(row)
        for day, of_day in sorted(by_day.items()):
            name = self.manifest.name_for(day, of_day[0].record.offset, of_day[-1].record.offset)
            entry = self.file(name, self.tables(of_day), action="append")
            if entry is not None:
                yield entry

    def _noted_gap(self, record: Record) -> dict[str, object]:
        if self._gap is None:
            return {}
        return {"gaps": [*self.manifest.gaps, self._gap], "complete_since_ms": record.timestamp}

    def tables(self, rows: Iterable[ArchiveRow]) -> Iterator[pa.Table]:
        """Yield rows as Arrow tables of a bounded size."""
        source = iter(rows)
        while part := list(islice(source, _ROWS_AT_ONCE)):
            yield arrow_of(self.table, self.partition, part)

    def file(self, name: str, tables: Iterable[pa.Table], *, action: str) -> ArchivedFile | None:
        """Write a file that no manifest names yet; return its entry, or None if it would be empty."""
        entry = write_file(
            self.storage,
            name,
            tables,
            folder=self.manifest.folder,
            schema=self.table.schema,
            begun=lambda: self.passed("archive_during_file"),
        )
        if entry is not None:
            self.metrics.archive_files.labels(action).inc()
            self.metrics.archive_bytes.labels(action).inc(entry.bytes)
        return entry

    def read(self, file: ArchivedFile, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the rows of a file, a bounded number at a time.

        Raises Superseded if a later owner has replaced the file, ArchiveError if it is damaged.
        """
        try:
            yield from read_tables(self.storage, self.manifest.folder, file, columns)
        except FileMissing:
            self._ledger.check()
            raise

    def commit(self, **fields: object) -> None:
        """Commit the manifest with these fields changed. Raises Superseded if it does not count."""
        manifest = msgspec.structs.replace(self.manifest, **fields)
        self._ledger.commit(manifest)
        self.manifest = manifest

    def replace(self, old: Sequence[ArchivedFile], new: ArchivedFile | None, *, action: str) -> None:
        """Put a file, or none, in the place of others, and delete these."""
        self.passed(f"archive_after_{action}_files")
        names = {file.name for file in old}
        kept = [file for file in self.manifest.files if file.name not in names]
        self.commit(files=[*kept, new] if new else kept)
        self.passed(f"archive_after_{action}_manifest")
        for name in sorted(names):
            self.storage.delete(f"{self.manifest.folder}/{name}")
            self.passed("archive_during_delete")

    def count_erased(self, row: ArchiveRow, remaining: ArchiveRow | None) -> None:
        """Count a row that an erasure has changed or removed."""
        if remaining is None:
            self.metrics.archive_erased.labels("deleted").inc()
        elif remaining.redacted and not row.redacted:
            self.metrics.archive_erased.labels("redacted").inc()
