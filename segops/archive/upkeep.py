"""What is done to files that are written: erasures are carried out in them, and small ones are merged.

Both are generators of steps. Each step is short, for the size of a file, and leaves the partition consistent:
between two of them records can be written, and the process may stop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from segops.archive.erasures import Erasure
from segops.archive.manifest import ERASURES, ArchivedFile
from segops.archive.partition import ArchivePartition
from segops.archive.tables import ArchiveRow, arrow_of, records_of
from segops.wall_clock import wall_ms

#: So many files are merged, however different their sizes.
_MANY_FILES: Final = 8


class ArchiveReceipt(msgspec.Struct):
    """A confirmation that no file of a partition holds records of an erased identifier any more."""

    request: str
    identifier_sha256: str
    erased_at: int
    archived_at: int


_encoder = msgspec.json.Encoder()


def erase(partition: ArchivePartition) -> Iterator[None]:
    """Carry out the erasures that the manifest does not cover yet, in one file per step."""
    erasures = partition.erasures.since(partition.manifest.receipts)
    if not erasures:
        return
    positions = dict(partition.erasures.positions)
    hashes = pa.array(sorted({each.identifier_hash for each in erasures}), pa.int64())
    for file in list(partition.manifest.files):
        if _names_any(partition, file, hashes):
            _rewrite(partition, file, hashes)
        yield
    _confirm(partition, erasures, positions)
    yield


def _names_any(partition: ArchivePartition, file: ArchivedFile, hashes: pa.Array) -> bool:
    return any(_concerned(table, hashes) for table in partition.read(file, ["identifier_hashes"]))


def _concerned(table: pa.Table, hashes: pa.Array) -> bool:
    named = pc.list_flatten(table.column("identifier_hashes"))
    return bool(pc.any(pc.is_in(named, value_set=hashes)).as_py())


def _rewrite(partition: ArchivePartition, file: ArchivedFile, hashes: pa.Array) -> None:
    tables = partition.read(file)
    kept = (_remaining(partition, table) if _concerned(table, hashes) else table for table in tables)
    name = partition.manifest.name_for(file.day, file.first, file.last)
    partition.replace([file], partition.file(name, kept, action="erase"), action="erase")


def _remaining(partition: ArchivePartition, table: pa.Table) -> pa.Table:
    """Return the rows that may remain."""
    rows: list[ArchiveRow] = []
    for record, was_redacted in zip(records_of(table), table.column("redacted").to_pylist(), strict=True):
        row = partition.table.describe(record)._replace(redacted=was_redacted)
        kept = partition.erasures.apply(row, partition.table, partition.partition)
        partition.count_erased(row, kept)
        if kept is not None:
            rows.append(kept)
    return arrow_of(partition.table, partition.partition, rows)


def _confirm(partition: ArchivePartition, erasures: Sequence[Erasure], positions: dict[int, int]) -> None:
    """Write the archive's own receipts, and note in the manifest that these erasures are carried out."""
    manifest, now_ms = partition.manifest, wall_ms()
    receipts = [each.receipt for each in erasures]
    lines = [ArchiveReceipt(r.request, r.identifier_sha256, r.erased_at, now_ms) for r in receipts]
    name = f"{ERASURES}/{now_ms:014}.{manifest.claim}.{manifest.sequence}.jsonl"
    partition.storage.write(f"{manifest.folder}/{name}", _encoder.encode_lines(lines))
    partition.passed("archive_after_erasure_receipts")
    partition.commit(receipts=positions, erasures=[*manifest.erasures, name])


def compact(partition: ArchivePartition, target_bytes: int, *, full: bool = False) -> Iterator[None]:
    """Merge files of the same day up to ``target_bytes``, one result per step.

    A file is not written again for a few small ones: at least half of the result must come from other files
    than the largest. ``full``: merge all that can be merged.
    """
    files = sorted(partition.manifest.files, key=lambda file: (file.day, file.first))
    for _, of_day in groupby(files, key=lambda file: file.day):
        for group in _groups(list(of_day), target_bytes):
            if _is_worthwhile(group, full=full):
                _merge(partition, group)
                yield


def _groups(files: Sequence[ArchivedFile], target_bytes: int) -> Iterator[list[ArchivedFile]]:
    group: list[ArchivedFile] = []
    for file in files:
        if group and sum(each.bytes for each in group) + file.bytes > target_bytes:
            yield group
            group = []
        group.append(file)
    yield group


def _is_worthwhile(group: Sequence[ArchivedFile], *, full: bool) -> bool:
    sizes = [file.bytes for file in group]
    return len(group) > 1 and (full or len(group) >= _MANY_FILES or 2 * max(sizes) <= sum(sizes))


def _merge(partition: ArchivePartition, group: Sequence[ArchivedFile]) -> None:
    # Files of one day and partition follow one another in the log: each was written after the former.
    tables = chain.from_iterable(partition.read(file) for file in group)
    name = partition.manifest.name_for(group[0].day, group[0].first, group[-1].last)
    partition.replace(group, partition.file(name, tables, action="compact"), action="compact")
