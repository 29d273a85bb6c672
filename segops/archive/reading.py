"""History from the archive, alone or followed by what the topic still retains."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from itertools import islice
from pathlib import Path
from typing import Final

from segops.archive.files import FileMissing, read_tables
from segops.archive.history import History, HistoryBatch, TopicHistory
from segops.archive.ledger import latest
from segops.archive.manifest import ArchivedFile, Manifest
from segops.archive.storage import FolderStorage, Storage
from segops.archive.tables import RECORD_COLUMNS, ArchivedRecord, records_of
from segops.core.errors import UserError
from segops.wall_clock import wall_ms

_BATCH: Final = 1_000


class ArchiveHistory(History):
    """The archived records of a topic, without those that were erased.

    Holds at most one row group of each file whose offsets overlap: of one file, unless timestamps jump
    between days. Reading goes on while a writer replaces files.
    """

    def __init__(self, storage: Storage, topic: str) -> None:
        self._storage = storage
        self._topic = topic

    async def next_offset(self, partition: int) -> int:
        """Return the offset that follows the last archived record; 0 without an archive."""
        manifest = await self._manifest(partition)
        return 0 if manifest is None else manifest.next_offset or 0

    async def complete_since_ms(self, partition: int) -> int:
        """Return the timestamp of the first record after the last gap; the present without an archive."""
        manifest = await self._manifest(partition)
        return wall_ms() if manifest is None else manifest.complete_since_ms

    async def _manifest(self, partition: int) -> Manifest | None:
        return await asyncio.to_thread(latest, self._storage, self._topic, partition)

    async def read(
        self, partition: int, *, from_ms: int, to_offset: int, from_offset: int = 0
    ) -> AsyncGenerator[HistoryBatch, None]:
        """Yield the records (``History.read``), as far as they are archived now: it does not wait for more.

        Raises ArchiveError if a file is damaged, or missing although the manifest names it.
        """
        position, manifest = from_offset, await self._manifest(partition)
        while manifest is not None:
            files = [
                file
                for file in manifest.files
                if file.last >= position and file.first < to_offset and file.max_ms >= from_ms
            ]
            records = in_log_order(self._storage, manifest.folder, files)
            wanted = (r for r in records if position <= r.offset < to_offset and r.timestamp >= from_ms)
            try:
                while batch := await asyncio.to_thread(_next, wanted):
                    position = batch[-1].offset + 1
                    yield HistoryBatch(batch, position)
            except FileMissing:
                manifest = await self._replaced(manifest)
                continue
            end = min(manifest.next_offset or 0, to_offset)
            if end > position:
                yield HistoryBatch((), end)
            return

    async def _replaced(self, former: Manifest) -> Manifest | None:
        """Return the manifest that replaced ``former``. Raises FileMissing if none did."""
        manifest = await self._manifest(former.partition)
        if manifest == former:
            raise FileMissing(f"{former.folder}: a file that the manifest names is missing")
        return manifest


def _next(records: Iterator[ArchivedRecord]) -> list[ArchivedRecord]:
    return list(islice(records, _BATCH))


def in_log_order(storage: Storage, folder: str, files: Iterable[ArchivedFile]) -> Iterator[ArchivedRecord]:
    """Yield the records of files by offset. A file is opened when the log reaches its first offset."""
    waiting = deque(sorted(files, key=lambda file: file.first))
    open_files: list[tuple[int, int, ArchivedRecord, Iterator[ArchivedRecord]]] = []
    number = 0
    while waiting or open_files:
        while waiting and (not open_files or waiting[0].first <= open_files[0][0]):
            rows = _records(storage, folder, waiting.popleft())
            number += 1
            _push(open_files, number, rows)
        if open_files:
            _, number_of, record, rows = heapq.heappop(open_files)
            yield record
            _push(open_files, number_of, rows)


def _push(
    heap: list[tuple[int, int, ArchivedRecord, Iterator[ArchivedRecord]]],
    number: int,
    rows: Iterator[ArchivedRecord],
) -> None:
    record = next(rows, None)
    if record is not None:
        heapq.heappush(heap, (record.offset, number, record, rows))


def _records(storage: Storage, folder: str, file: ArchivedFile) -> Iterator[ArchivedRecord]:
    for table in read_tables(storage, folder, file, RECORD_COLUMNS):
        yield from records_of(table)


def logs_in(folder: Path, topic: str) -> Iterator[Iterator[ArchivedRecord]]:
    """Yield the records of each partition of a topic in an archive folder, by offset.

    Raises UserError if the folder has none of the topic.
    """
    storage = FolderStorage(folder)
    partitions = sorted(each.name for each in (folder / topic).glob("*") if each.name.isdigit())
    if not partitions:
        raise UserError(f"{folder}: expected an archive with the folder {topic} (SEGOPS_TOPIC_PREFIX)")
    for number in partitions:
        manifest = latest(storage, topic, int(number))
        if manifest is not None:
            yield in_log_order(storage, manifest.folder, manifest.files)


class ChainedHistory(History):
    """The archive up to its last offset, then the topic: each record once, without a gap between the two."""

    def __init__(self, archive: ArchiveHistory, topic: TopicHistory) -> None:
        self._archive = archive
        self._topic = topic

    async def read(
        self, partition: int, *, from_ms: int, to_offset: int, from_offset: int = 0
    ) -> AsyncGenerator[HistoryBatch, None]:
        """Yield the records of both (``History.read``)."""
        position = from_offset
        while position < min(await self._archive.next_offset(partition), to_offset):  # it may grow meanwhile
            archived = self._archive.read(
                partition, from_ms=from_ms, to_offset=to_offset, from_offset=position
            )
            async with aclosing(archived) as batches:
                async for batch in batches:
                    position = batch.next_offset
                    yield batch
        if position < to_offset:
            recent = self._topic.read(partition, from_ms=from_ms, to_offset=to_offset, from_offset=position)
            async with aclosing(recent) as batches:
                async for batch in batches:
                    yield batch

    async def complete_since_ms(self, partition: int) -> int:
        """Return the instant of the archive; that of the topic if there is a gap between the two."""
        archived = await self._archive.next_offset(partition)
        if archived == 0 or await self._topic.first_offset(partition) > archived:
            return await self._topic.complete_since_ms(partition)
        return await self._archive.complete_since_ms(partition)
