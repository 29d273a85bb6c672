"""When a process writes what it has collected, and what it does once another one has claimed a partition."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition

from segops.archive import partition as partition_module
from segops.archive.storage import FolderStorage
from segops.archive.tables import tables_of
from segops.archive.writer import ArchiveWriter
from segops.config import load

from .helpers import EVENTS, LARGE, Archive, event, offsets, write


class Consumer:
    """The group's part of a consumer: partitions, and where it was told to read on."""

    def __init__(self) -> None:
        self.assigned: set[TopicPartition] = set()
        self.positions: dict[TopicPartition, int] = {}
        self.committed: dict[TopicPartition, int] = {}

    def assignment(self) -> set[TopicPartition]:
        return self.assigned

    async def beginning_offsets(self, sources: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(sources, 0)

    async def end_offsets(self, sources: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(sources, LARGE)

    def seek(self, source: TopicPartition, offset: int) -> None:
        self.positions[source] = offset

    def resume(self, source: TopicPartition) -> None:
        pass

    async def commit(self, positions: dict[TopicPartition, Any]) -> None:
        self.committed |= {source: found.offset for source, found in positions.items()}


class NoErasures:
    """A reader of a receipts topic without records."""

    def __init__(self, archive: Archive) -> None:
        self.erasures = archive.erasures

    async def read(self) -> None:
        pass


class Process:
    """A writer of three partitions."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.archives = [Archive(FolderStorage(folder), partition=number) for number in range(3)]
        self.sources = [TopicPartition(EVENTS, number) for number in range(3)]
        self.consumer = Consumer()
        self.consumer.assigned = set(self.sources)
        self.metrics = self.archives[0].metrics
        self.writer = ArchiveWriter(
            load(archive=settings).archive,
            self.consumer,
            NoErasures(self.archives[0]),  # type: ignore[arg-type]
            storage=self.archives[0].storage,
            tables=tables_of(load()),
            metrics=self.metrics,
            passed=lambda _: None,
        )
        asyncio.run(self.writer.own(self.sources))

    def collect(self, *counts: int) -> None:
        for source, count in zip(self.sources, counts, strict=True):
            start = self.writer.partitions[source].position
            self.writer.partitions[source].add(event(start + n) for n in range(count))

    def written(self) -> list[int]:
        return [len(archive.records()) for archive in self.archives]


def test_partition_with_enough_records_is_written(tmp_path: Path) -> None:
    process = Process(tmp_path, file_bytes="5000")
    process.collect(2, 20, 0)
    asyncio.run(process.writer.write_due())
    assert process.written() == [0, 20, 0]
    assert process.consumer.committed == {process.sources[1]: 20}


def test_old_records_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr(partition_module, "monotonic", lambda: now_s)
    process = Process(tmp_path, file_interval_ms="10s")
    process.collect(1, 0, 0)
    now_s = 9.0
    process.collect(1, 1, 0)
    asyncio.run(process.writer.write_due())
    assert process.written() == [0, 0, 0]
    now_s = 10.0
    asyncio.run(process.writer.write_due())
    assert process.written() == [2, 0, 0]


def test_largest_partitions_are_written_while_memory_is_short(tmp_path: Path) -> None:
    process = Process(tmp_path, buffer_bytes="10000")
    process.collect(2, 20, 9)
    asyncio.run(process.writer.write_due())
    assert process.written() == [0, 20, 0]


def test_partition_that_another_process_has_claimed_is_claimed_again(tmp_path: Path) -> None:
    process = Process(tmp_path)
    process.collect(5, 5, 5)
    write(process.archives[1].owner(), [event(n) for n in range(3)])
    asyncio.run(process.writer.write_due(everything=True))
    assert process.written() == [5, 3, 5]
    assert process.consumer.positions[process.sources[1]] == 3
    assert process.metrics.archive_superseded._value.get() == 1
    process.collect(0, 4, 0)
    asyncio.run(process.writer.write_due(everything=True))
    assert offsets(process.archives[1].records()) == list(range(7))


def test_partition_that_belongs_to_another_process_is_given_up(tmp_path: Path) -> None:
    process = Process(tmp_path)
    process.collect(5, 5, 5)
    process.consumer.assigned.remove(process.sources[1])
    write(process.archives[1].owner(), [event(n) for n in range(3)])
    asyncio.run(process.writer.write_due(everything=True))
    assert sorted(process.writer.partitions) == [process.sources[0], process.sources[2]]


def test_revoked_partitions_are_written(tmp_path: Path) -> None:
    process = Process(tmp_path)
    process.collect(5, 5, 5)
    write(process.archives[1].owner(), [event(0)])
    asyncio.run(process.writer.disown(process.sources[:2]))
    assert process.written() == [5, 1, 0]
    assert list(process.writer.partitions) == [process.sources[2]]


def test_upkeep_ends_between_two_steps(tmp_path: Path) -> None:
    process = Process(tmp_path)
    for source in process.sources:
        write(process.writer.partitions[source], [event(0)], [event(1)])
    answers = iter([False, True, True, True])
    asyncio.run(process.writer.upkeep(full=True, ended=lambda: next(answers)))
    assert [len(process.writer.partitions[source].manifest.files) for source in process.sources] == [1, 2, 2]


def test_upkeep_claims_a_lost_partition_again(tmp_path: Path) -> None:
    process = Process(tmp_path)
    write(process.writer.partitions[process.sources[0]], [event(0)], [event(1)])
    write(process.archives[0].owner(), [event(2)])
    asyncio.run(process.writer.upkeep(full=True))
    assert process.writer.partitions[process.sources[0]].position == 3
    asyncio.run(process.writer.upkeep(full=True))
    assert offsets(process.archives[0].records()) == [0, 1, 2]
    assert len(process.archives[0].files()) == 1
