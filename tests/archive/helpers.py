"""An archive of one partition without Kafka, and records to put into it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry

from segops.archive.erasures import Erasures
from segops.archive.ledger import latest
from segops.archive.partition import ArchivePartition
from segops.archive.reading import in_log_order
from segops.archive.storage import FolderStorage, Storage
from segops.archive.tables import ArchivedRecord, tables_of
from segops.archive.upkeep import compact, erase
from segops.config import load
from segops.core.step import Erased
from segops.metrics import Metrics
from segops.schemas.erasures import encode_receipt

START_MS = 1_760_000_000_000
DAY_MS = 86_400_000
EVENTS, CHANGES = "segops.profile-events", "segops.membership.changes"
LARGE = 1 << 40


def event(offset: int, user: str = "u1", *, at_ms: int = START_MS, **fields: Any) -> ArchivedRecord:
    """Return a forwarded event of a user."""
    form = {"type": "track", "event": "Viewed", "userId": user, "messageId": f"m{offset}", **fields}
    headers = [("segops-source", f"0:{offset}".encode()), ("segops-time", str(at_ms).encode())]
    return ArchivedRecord(offset, at_ms, f"user_id:{user}".encode(), json.dumps(form).encode(), headers)


class Archive:
    """One partition of an archive; every owner works on the same storage and knows the same erasures."""

    def __init__(self, storage: Storage, topic: str = EVENTS, partition: int = 0) -> None:
        self.storage = storage
        self.erasures = Erasures()
        self.metrics = Metrics(CollectorRegistry())
        self._table = tables_of(load())[topic]
        self._partition = partition
        self._receipts = 0

    def owner(
        self,
        *,
        storage: Storage | None = None,
        passed: Callable[[str], None] = lambda _: None,
        first: int = 0,
        end: int = LARGE,
    ) -> ArchivePartition:
        """Claim the partition."""
        owner = ArchivePartition(
            storage or self.storage,
            self._table,
            self._partition,
            erasures=self.erasures,
            metrics=self.metrics,
            passed=passed,
        )
        owner.open()
        owner.begin(first, end)
        return owner

    def erase(self, *identifiers: str, offset: int | None, at_ms: int = START_MS) -> None:
        """Publish receipts for these identifiers."""
        for identifier in identifiers:
            _, value = encode_receipt(Erased("r", identifier, "profile"), at_ms, offset or 0)
            if offset is None:  # as earlier versions wrote them
                value = msgspec.json.encode({**msgspec.json.decode(value), "offset": None})
            self.erasures.add(self._partition, self._receipts, value)
            self._receipts += 1

    def records(self) -> list[ArchivedRecord]:
        """Return what the archive holds, in log order."""
        manifest = latest(self.storage, self._table.topic, self._partition)
        return [] if manifest is None else list(in_log_order(self.storage, manifest.folder, manifest.files))

    def rows(self) -> list[dict[str, Any]]:
        """Return all columns of all files."""
        from segops.archive.files import read_tables

        manifest = latest(self.storage, self._table.topic, self._partition)
        assert manifest is not None
        tables = [
            table for file in manifest.files for table in read_tables(self.storage, manifest.folder, file)
        ]
        return sorted((row for table in tables for row in table.to_pylist()), key=lambda row: row["offset"])

    def files(self) -> list[str]:
        """Return the names of all data files on the storage, whether a manifest names them or not."""
        return [name for name in self.storage.list("") if name.endswith(".parquet")]


def write(owner: ArchivePartition, *batches: Iterable[ArchivedRecord]) -> None:
    """Write each batch as files of its own."""
    for batch in batches:
        owner.add(batch)
        owner.write()


def merge(owner: ArchivePartition, target_bytes: int = LARGE) -> None:
    """Merge all files that can be merged."""
    for _ in compact(owner, target_bytes, full=True):
        pass


def carry_out(owner: ArchivePartition) -> None:
    """Carry out all erasures."""
    for _ in erase(owner):
        pass


def offsets(records: Iterable[ArchivedRecord]) -> list[int]:
    return [record.offset for record in records]


def contents(folder: Path) -> bytes:
    """Return the bytes of all files below a folder, and every value of every Parquet file."""
    import pyarrow.parquet as pq

    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    values = [pq.read_table(file).to_pylist() for file in files if file.suffix == ".parquet"]
    return b"".join([*(file.read_bytes() for file in files), repr(values).encode()])


class InterruptedStorage(Storage):
    """Calls ``before`` ahead of each operation, with its number."""

    def __init__(self, storage: FolderStorage, before: Callable[[int], None]) -> None:
        self._storage = storage
        self._before = before
        self.operations = 0

    def _count(self) -> None:
        self.operations += 1
        self._before(self.operations)

    def read(self, name: str) -> bytes:
        self._count()
        return self._storage.read(name)

    def write(self, name: str, data: bytes) -> None:
        self._count()
        self._storage.write(name, data)

    @contextmanager
    def create(self, name: str) -> Iterator[Any]:
        self._count()
        with self._storage.create(name) as file:
            yield file

    def open(self, name: str) -> Any:
        self._count()
        return self._storage.open(name)

    def list(self, folder: str) -> list[str]:
        self._count()
        return self._storage.list(folder)

    def delete(self, name: str) -> None:
        self._count()
        self._storage.delete(name)
