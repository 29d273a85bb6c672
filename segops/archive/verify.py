"""Check an archive: every file is there and readable, and holds each of its records once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pyarrow as pa

from segops.archive.files import read_tables
from segops.archive.ledger import latest
from segops.archive.manifest import MANIFESTS, ArchivedFile, Manifest, day_of
from segops.archive.storage import ArchiveError, Storage


@dataclass(frozen=True)
class Verified:
    """One partition of an archive, and every problem found in it.

    ``leftovers``: files that no manifest names; the next owner of the partition deletes them.
    """

    manifest: Manifest
    problems: list[str]
    leftovers: int

    @property
    def records(self) -> int:
        """The number of archived records."""
        return sum(file.records for file in self.manifest.files)

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(file.bytes for file in self.manifest.files)


def verify(storage: Storage) -> Iterator[Verified]:
    """Check one partition after the other, in the order of their names; reads every file."""
    names = storage.list("")
    claimed = {name.split(f"/{MANIFESTS}/")[0] for name in names if f"/{MANIFESTS}/" in name}
    for folder in sorted(claimed, key=_topic_and_number):
        topic, number = _topic_and_number(folder)
        manifest = latest(storage, topic, number)
        if manifest is not None:
            kept = manifest.named()
            others = [name for name in names if name.startswith(f"{folder}/") and name not in kept]
            leftovers = sum(not name.startswith(f"{folder}/{MANIFESTS}/") for name in others)
            yield Verified(manifest, list(_problems(storage, manifest)), leftovers)


def _topic_and_number(folder: str) -> tuple[str, int]:
    topic, _, number = folder.rpartition("/")
    return topic, int(number)


def _problems(storage: Storage, manifest: Manifest) -> Iterator[str]:
    # A record has one day. So it is archived once if the files of a day have offsets apart from one another.
    by_day = sorted(manifest.files, key=lambda file: (file.day, file.first))
    for former, file in pairwise(by_day):
        if former.day == file.day and former.last >= file.first:
            yield f"{manifest.folder}/{file.name}: holds offsets of {former.name}, too"
    for file in by_day:
        place = f"{manifest.folder}/{file.name}"
        try:
            yield from (f"{place}: {problem}" for problem in _file_problems(storage, manifest, file))
        except ArchiveError as error:
            yield str(error)


def _file_problems(storage: Storage, manifest: Manifest, file: ArchivedFile) -> Iterator[str]:
    records, former = 0, -1
    for table in read_tables(storage, manifest.folder, file, ["offset", "timestamp"]):
        times = table.column("timestamp").cast(pa.int64()).to_pylist()
        offsets = table.column("offset").to_pylist()
        if any(day_of(time) != file.day for time in times):
            yield "holds a record of another day"
        if any(one >= other for one, other in pairwise([former, *offsets])):
            yield "offsets do not increase"
        records, former = records + len(offsets), offsets[-1]
    if records != file.records:
        yield f"expected {file.records} records, got {records}"
    if former != file.last or former >= (manifest.next_offset or 0):
        yield f"expected offsets up to {file.last}, got {former}"
