"""Writing, merging and taking over one partition: each record once, wherever a writer ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from segops.archive.ledger import Superseded
from segops.archive.partition import ArchivePartition
from segops.archive.storage import FolderStorage
from segops.archive.tables import ArchivedRecord
from segops.archive.verify import verify
from segops.core.errors import UserError
from segops.schemas.ticks import TICK_HEADERS

from .helpers import (
    CHANGES,
    DAY_MS,
    EVENTS,
    START_MS,
    Archive,
    InterruptedStorage,
    carry_out,
    event,
    merge,
    offsets,
    write,
)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(FolderStorage(tmp_path))


RECORDS = [event(number, f"u{number % 3}", at_ms=START_MS + number * DAY_MS // 8) for number in range(15)]
#: Offsets that remain after u1 is erased at offset 8.
KEPT = [number for number in range(15) if number % 3 != 1 or number > 8]


def life(archive: Archive, owner: ArchivePartition) -> None:
    """Continue where the archive is: write all records in three batches, erase a person, merge files."""
    begin = owner.position
    for start in range(0, 15, 5):
        write(owner, [record for record in RECORDS[start : start + 5] if record.offset >= begin])
    carry_out(owner)
    merge(owner)


def assert_whole(archive: Archive) -> None:
    assert offsets(archive.records()) == KEPT
    assert [each.problems for each in verify(archive.storage)] == [[]]


def test_records_come_back_exactly(archive: Archive) -> None:
    odd = [
        ArchivedRecord(0, START_MS, None, b'{"clock_ms": 1}', TICK_HEADERS),
        ArchivedRecord(3, START_MS, b"user_id:u", None, []),
        ArchivedRecord(4, START_MS, b"\xff\x00", b"\xff no json", [("a", b"1"), ("a", b""), ("b", b"\xff")]),
        event(9),
    ]
    write(archive.owner(), odd)
    assert archive.records() == odd


def test_columns_describe_an_event(archive: Archive) -> None:
    write(archive.owner(), [event(7, at_ms=START_MS + 5)])
    (row,) = archive.rows()
    shown = {
        name: row[name] for name in ("topic", "partition", "offset", "type", "source", "name", "message_id")
    }
    assert shown == {
        "topic": EVENTS,
        "partition": 0,
        "offset": 7,
        "type": None,
        "source": "0:7",
        "name": "Viewed",
        "message_id": "m7",
    }
    assert (row["time"].timestamp() * 1000, row["profile_id"]) == (START_MS + 5, "user_id:u1")


def test_columns_hold_a_membership_change(tmp_path: Path) -> None:
    from segops.core.events import Change
    from segops.schemas.changes import encode_change

    change = Change(
        "u", "vip", 1, "entered", True, "event", START_MS, 0, 7, "id", "m", None, "u", None, None, "{}"
    )
    archive = Archive(FolderStorage(tmp_path), CHANGES)
    write(archive.owner(), [ArchivedRecord(0, START_MS, b"u", encode_change(change, START_MS + 1), [])])
    (row,) = archive.rows()
    assert (row["segment_key"], row["member"], row["sequence"], row["flips_at"]) == ("vip", True, 7, None)
    assert row["evaluated_at"].timestamp() * 1000 == START_MS + 1


def test_no_file_holds_records_of_two_days(archive: Archive) -> None:
    owner = archive.owner()
    write(owner, RECORDS)
    days = {file.day for file in owner.manifest.files}
    assert len(days) == len(owner.manifest.files) == 3
    assert [each.problems for each in verify(archive.storage)] == [[]]


def test_merging_keeps_each_record_once(archive: Archive) -> None:
    owner = archive.owner()
    write(owner, *([record] for record in RECORDS))
    assert len(archive.files()) == 15
    merge(owner)
    assert len(archive.files()) == 3
    assert archive.records() == RECORDS


def test_merging_respects_the_size(archive: Archive) -> None:
    owner = archive.owner()
    write(owner, *([event(number)] for number in range(10)))
    size = owner.manifest.files[0].bytes
    merge(owner, 5 * size // 2)
    assert len(archive.files()) == 5
    assert offsets(archive.records()) == list(range(10))


def test_large_file_is_not_written_again_for_a_small_one(archive: Archive) -> None:
    from segops.archive.upkeep import compact

    owner = archive.owner()
    write(owner, [event(n, f"u{n}") for n in range(2_000)], [event(2_000)])
    assert list(compact(owner, 1 << 40)) == []
    write(owner, *([event(2_001 + n)] for n in range(6)))
    assert len(list(compact(owner, 1 << 40))) == 1  # eight files are too many, whatever their sizes


def test_next_owner_goes_on_where_the_archive_ends(archive: Archive) -> None:
    owner = archive.owner()
    write(owner, RECORDS[:10])
    owner.add(RECORDS[10:12])  # lost with this owner
    following = archive.owner()
    assert following.begin(0, 15) == 10
    write(following, RECORDS[10:])
    assert archive.records() == RECORDS


def test_records_read_again_are_passed_over(archive: Archive) -> None:
    owner = archive.owner()
    write(owner, RECORDS[:10], RECORDS[5:12], RECORDS)
    assert archive.records() == RECORDS


def test_former_owner_is_refused(archive: Archive) -> None:
    former = archive.owner()
    write(former, RECORDS[:10])
    following = archive.owner()
    former.add(RECORDS[10:])
    with pytest.raises(Superseded, match="partition 0: claimed by another writer"):
        former.write()
    write(following, RECORDS[10:12])
    assert archive.records() == RECORDS[:12]


def _interrupted(tmp_path: Path, number: int) -> tuple[Archive, Superseded | None, int]:
    """Let another writer do its whole work ahead of operation ``number`` of a writer, which then goes on."""
    archive = Archive(FolderStorage(tmp_path))
    archive.erase("user_id:u1", offset=8)
    taken = False

    def take_over(operation: int) -> None:
        nonlocal taken
        if operation == number and not taken:
            taken = True
            life(archive, archive.owner())

    storage = InterruptedStorage(archive.storage, take_over)  # type: ignore[arg-type]
    try:
        life(archive, archive.owner(storage=storage))
    except Superseded as error:
        return archive, error, storage.operations
    return archive, None, storage.operations


def test_whatever_a_superseded_writer_still_does_changes_nothing(tmp_path: Path) -> None:
    _, error, operations = _interrupted(tmp_path / "alone", 0)
    assert error is None
    refused = 0
    for number in range(1, operations + 1):
        archive, error, _ = _interrupted(tmp_path / str(number), number)
        assert_whole(archive)
        refused += error is not None
    # Not refused: a writer that claims later than the other one, and one that only has to delete files.
    assert operations - 10 < refused < operations


class Killed(BaseException):
    """The end of a process."""


def test_each_record_is_held_once_after_a_kill_at_any_operation(tmp_path: Path) -> None:
    def run(folder: Path, number: int) -> tuple[Archive, bool]:
        archive = Archive(FolderStorage(folder))
        archive.erase("user_id:u1", offset=8)

        def kill(operation: int) -> None:
            if operation == number:
                raise Killed

        try:
            life(archive, archive.owner(storage=InterruptedStorage(archive.storage, kill)))  # type: ignore[arg-type]
        except Killed:
            return archive, True
        return archive, False

    number = 0
    killed = True
    while killed:
        number += 1
        archive, killed = run(tmp_path / str(number), number)
        life(archive, archive.owner())
        assert_whole(archive)
        assert [each.leftovers for each in verify(archive.storage)] == [0]
    assert number > 30


def test_gap_before_the_archive_is_noted(archive: Archive) -> None:
    owner = archive.owner(first=4)
    write(owner, RECORDS[4:10])
    following = archive.owner(first=12)
    write(following, RECORDS[12:])
    manifest = following.manifest
    assert [(gap.first, gap.last) for gap in manifest.gaps] == [(0, 3), (10, 11)]
    assert manifest.complete_since_ms == RECORDS[12].timestamp
    assert archive.metrics.archive_gaps.labels(EVENTS)._value.get() == 2


def test_gap_is_noted_again_by_the_next_owner_if_nothing_was_written(archive: Archive) -> None:
    archive.owner(first=4)
    owner = archive.owner(first=5)
    write(owner, RECORDS[6:7])
    assert [(gap.first, gap.last) for gap in owner.manifest.gaps] == [(0, 4)]


def test_archive_ahead_of_its_topic_is_refused(archive: Archive) -> None:
    write(archive.owner(), RECORDS)
    with pytest.raises(
        UserError, match="goes to offset 15, but the topic ends at 14: the topic was recreated"
    ):
        archive.owner(end=14)
