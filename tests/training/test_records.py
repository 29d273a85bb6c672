"""What the trainer reads of records, from the topic and from an archive."""

from __future__ import annotations

from pathlib import Path

import pytest

from segops.archive.storage import FolderStorage
from segops.archive.tables import ArchivedRecord
from segops.config import load
from segops.core.errors import UserError
from segops.core.messages import Claim, Erase
from segops.core.profile import Erasing
from segops.schemas.identifying import DEFAULT
from segops.schemas.messages import encode_message, name_of
from segops.training.archived import archived_events
from segops.training.records import read
from tests.archive.helpers import DAY_MS, START_MS, Archive, event, write


def message(offset: int, of: Claim | Erase) -> ArchivedRecord:
    headers = [("segops-type", name_of(of).encode())]
    return ArchivedRecord(offset, START_MS, of.to.encode(), encode_message(of), headers)


def test_only_events_and_erasures_are_something() -> None:
    erase = Erase("user_id:u1", Erasing("r1"))
    records = [
        event(0),
        message(1, Claim("user_id:u1", "user_id:u1", "email:a")),
        message(2, erase),
        event(3)._replace(value=b"{"),
        event(4)._replace(headers=[]),
        ArchivedRecord(5, START_MS, None, b"", []),
    ]
    found = list(read(7, records, limits=DEFAULT, context_keys=frozenset()))
    assert [(at, each.partition, each.offset) for at, each in found] == [
        (START_MS, 7, 0),
        *((0, 7, offset) for offset in range(1, 6)),
    ]
    one, claim, erased, invalid, unknown, tick = (each for _, each in found)
    assert one.event is not None and (one.profile, one.event.name) == ("user_id:u1", "Viewed")
    assert (erased.profile, erased.event) == ("user_id:u1", None)
    assert claim.profile is None and tick.profile is None
    assert invalid.rejected and unknown.rejected and not tick.rejected


def test_an_archive_is_read_by_time_over_its_partitions(tmp_path: Path) -> None:
    for number, user in enumerate(("u1", "u2")):
        records = [event(n, user, at_ms=START_MS + (2 * n + number) * DAY_MS) for n in range(4)]
        write(Archive(FolderStorage(tmp_path), partition=number).owner(), records)
    found = list(archived_events(tmp_path, load(), frozenset()))
    assert [profile for profile, _ in found] == ["user_id:u1", "user_id:u2"] * 4
    assert [each.time_ms for _, each in found] == [START_MS + n * DAY_MS for n in range(8)]


def test_a_folder_without_an_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected an archive with the folder segops\.profile-events"):
        list(archived_events(tmp_path, load(), frozenset()))
