"""History from archived files: log order, bounds, files that are replaced while they are read."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segops.archive.files import FileMissing
from segops.archive.history import HistoryBatch
from segops.archive.reading import ArchiveHistory
from segops.archive.storage import ArchiveError, FolderStorage
from segops.archive.tables import ArchivedRecord
from segops.archive.verify import verify

from .helpers import DAY_MS, EVENTS, LARGE, START_MS, Archive, event, merge, offsets, write


async def _read(history: ArchiveHistory, **bounds: int) -> list[HistoryBatch]:
    async with aclosing(history.read(0, **{"from_ms": 0, "to_offset": LARGE, **bounds})) as batches:
        return [batch async for batch in batches]


def read(archive: Archive, **bounds: int) -> list[ArchivedRecord]:
    """Read through the port, and check the offsets of the batches."""
    batches = asyncio.run(_read(ArchiveHistory(archive.storage, EVENTS), **bounds))
    for batch in batches:
        assert all(record.offset < batch.next_offset for record in batch.records)
    assert [batch.next_offset for batch in batches] == sorted(batch.next_offset for batch in batches)
    return [record for batch in batches for record in batch.records]  # type: ignore[misc]


@settings(max_examples=25)
@given(
    days=st.lists(st.integers(0, 3), min_size=1, max_size=40),
    cuts=st.sets(st.integers(1, 39), max_size=5),
    merged=st.booleans(),
    bounds=st.tuples(st.integers(0, 41), st.integers(0, 41), st.integers(0, 4)),
)
def test_history_equals_the_log(
    days: list[int], cuts: set[int], merged: bool, bounds: tuple[int, int, int]
) -> None:
    log = [event(number, at_ms=START_MS + day * DAY_MS) for number, day in enumerate(days)]
    begin, end, day = bounds
    from_ms = START_MS + day * DAY_MS
    with TemporaryDirectory() as folder:
        archive = Archive(FolderStorage(Path(folder)))
        edges = [0, *sorted(cuts), len(log)]
        owner = archive.owner()
        write(owner, *(log[one:other] for one, other in pairwise(edges)))
        if merged:
            merge(owner)
        found = read(archive, from_offset=begin, to_offset=end, from_ms=from_ms)
        assert found == [r for r in log if begin <= r.offset < end and r.timestamp >= from_ms]
        assert [each.problems for each in verify(archive.storage)] == [[]]


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(FolderStorage(tmp_path))


def test_end_of_the_archive_is_reported(archive: Archive) -> None:
    write(archive.owner(), [event(n) for n in range(2_500)])
    history = ArchiveHistory(archive.storage, EVENTS)
    batches = asyncio.run(_read(history, from_ms=START_MS + 1))
    assert [(len(batch.records), batch.next_offset) for batch in batches] == [(0, 2_500)]
    assert [len(batch.records) for batch in asyncio.run(_read(history))] == [1_000, 1_000, 500]
    assert asyncio.run(history.next_offset(0)) == 2_500


def test_no_archive_is_an_empty_history(archive: Archive) -> None:
    assert read(archive) == []
    assert asyncio.run(ArchiveHistory(archive.storage, EVENTS).next_offset(0)) == 0


@pytest.mark.parametrize("position", [0, 1, 2])
def test_reading_goes_on_while_files_are_replaced(archive: Archive, position: int) -> None:
    owner = archive.owner()
    write(owner, *([event(number * 1_000 + n) for n in range(1_000)] for number in range(3)))

    async def interrupted() -> list[int]:
        found: list[int] = []
        history = ArchiveHistory(archive.storage, EVENTS)
        async with aclosing(history.read(0, from_ms=0, to_offset=LARGE)) as batches:
            async for batch in batches:
                found += offsets(batch.records)  # type: ignore[arg-type]
                if len(found) == 1_000 * position + 1_000:
                    merge(owner)
        return found

    assert asyncio.run(interrupted()) == list(range(3_000))


def test_missing_file_is_an_error_and_a_problem(archive: Archive) -> None:
    write(archive.owner(), [event(0)])
    (name,) = archive.files()
    archive.storage.delete(name)
    with pytest.raises(FileMissing, match="a file that the manifest names is missing"):
        read(archive)
    (found,) = verify(archive.storage)
    assert found.problems == [f"{name}: the file is missing"]


def test_damaged_file_is_an_error_and_a_problem(archive: Archive) -> None:
    write(archive.owner(), [event(0)])
    (name,) = archive.files()
    archive.storage.write(name, archive.storage.read(name)[:-9])
    with pytest.raises(ArchiveError, match="damaged file"):
        read(archive)
    (found,) = verify(archive.storage)
    assert "damaged file" in found.problems[0]


def test_records_in_two_files_are_a_problem(archive: Archive) -> None:
    owner = archive.owner()
    write(owner, [event(0), event(1)])
    (file,) = owner.manifest.files
    copy = owner.manifest.name_for(file.day, 0, 1)
    archive.storage.write(
        f"{owner.manifest.folder}/{copy}", archive.storage.read(f"{owner.manifest.folder}/{file.name}")
    )
    owner.commit(files=[file, type(file)(copy, 0, 1, 3, file.bytes, file.min_ms, file.max_ms)])
    (found,) = verify(archive.storage)
    assert [problem.rpartition(": ")[2] for problem in found.problems] == [
        f"holds offsets of {file.name}, too",
        "expected 3 records, got 2",
    ]


def test_unreadable_manifest_is_an_error(archive: Archive) -> None:
    owner = archive.owner()
    name = f"{owner.manifest.folder}/_manifest/{owner.manifest.claim}.json"
    for data, reason in (
        (b"{", "invalid manifest"),
        (archive.storage.read(name).replace(b'"format":1', b'"format":2'), "unknown format 2"),
    ):
        archive.storage.write(name, data)
        with pytest.raises(ArchiveError, match=reason):
            read(archive)
