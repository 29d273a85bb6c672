"""Erased persons in the archive: their records are deleted, other persons' records are kept without them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segops.archive.identifiers import named_in_event, redacted
from segops.archive.storage import FolderStorage
from segops.archive.tables import ArchivedRecord
from segops.core.events import Change, Event
from segops.core.messages import Claim, Erase, Forget, Forward, Handover, Message
from segops.core.profile import Erasing, Links, Profile
from segops.schemas.changes import decode_change, encode_change
from segops.schemas.erasures import hashed
from segops.schemas.messages import encode_message, name_of

from .helpers import CHANGES, EVENTS, START_MS, Archive, carry_out, contents, event, merge, offsets, write

ADA = ("user_id:ada-1", "email:ada@example.com", "anonymous_id:browser-ada")
WORDS = [b"ada-1", b"ada@example.com", b"Ada@Example.com", b"browser-ada"]


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(FolderStorage(tmp_path))


def message(offset: int, sent: Message) -> ArchivedRecord:
    headers = [("segops-type", name_of(sent).encode())]
    return ArchivedRecord(offset, START_MS, sent.to.encode(), encode_message(sent), headers)


def keyed(key: str, record: ArchivedRecord) -> ArchivedRecord:
    return record._replace(key=key.encode())


def story() -> list[ArchivedRecord]:
    """Return Ada's records under all of her identifiers, and those of others who have met her."""
    profile = Profile("anonymous_id:browser-ada", traits={"email": "ada@example.com"})
    forwarded = Event("A", START_MS, "m", {}, {"email": "ada@example.com"}, anonymous_id="browser-ada")
    return [
        keyed("anonymous_id:browser-ada", event(0, "x", userId=None, anonymousId="browser-ada")),
        event(1, "ada-1", anonymousId="browser-ada", traits={"email": "Ada@Example.com"}),
        message(2, Claim("email:ada@example.com", "email:ada@example.com", "user_id:ada-1")),
        message(
            3, Handover("user_id:ada-1", "anonymous_id:browser-ada", "anonymous_id:browser-ada", 1, profile)
        ),
        message(4, Forward("user_id:ada-1", forwarded)),
        message(5, Claim("email:bob@example.com", "email:bob@example.com", "user_id:ada-1")),
        event(6, "bob", anonymousId="browser-ada", properties={"email": " Ada@Example.com ", "total": 7}),
        event(7, "bob", properties={"total": 8}),
        message(8, Erase("email:ada@example.com", Erasing("r"))),
        message(9, Forget("anonymous_id:browser-ada", "user_id:ada-1", Erasing("r"))),
        event(10, "carl"),
    ]


def assert_gone(folder: Path) -> None:
    found = contents(folder)
    assert [word for word in WORDS if word in found] == []


def assert_of_others(archive: Archive) -> None:
    kept = archive.records()
    assert offsets(kept) == [6, 7, 10]
    assert kept[1:] == [story()[7], story()[10]]
    assert kept[0][:3] == story()[6][:3]
    assert json.loads(kept[0].value or b"") == {
        **json.loads(story()[6].value or b""),
        "anonymousId": None,
        "properties": {"email": None, "total": 7},
    }
    assert [row["redacted"] for row in archive.rows()] == [True, False, False]


@pytest.mark.parametrize("merged", [False, True])
def test_erased_person_is_in_no_file(archive: Archive, tmp_path: Path, merged: bool) -> None:
    owner = archive.owner()
    write(owner, story()[:4], story()[4:7], story()[7:])
    if merged:
        merge(owner)
    assert all(word in contents(tmp_path) for word in WORDS)
    archive.erase(*ADA, offset=9)
    carry_out(owner)
    assert_gone(tmp_path)
    assert_of_others(archive)


def test_records_that_are_archived_after_the_erasure_do_not_remain(archive: Archive, tmp_path: Path) -> None:
    archive.erase(*ADA, offset=9)
    write(archive.owner(), story())
    assert_gone(tmp_path)
    assert_of_others(archive)


def test_records_collected_before_the_erasure_do_not_remain(archive: Archive, tmp_path: Path) -> None:
    owner = archive.owner()
    write(owner, story()[:5])
    owner.add(story()[5:])
    archive.erase(*ADA, offset=9)
    carry_out(owner)
    owner.write()
    assert_gone(tmp_path)
    assert_of_others(archive)


def test_next_owner_carries_out_what_a_former_one_did_not(archive: Archive, tmp_path: Path) -> None:
    write(archive.owner(), story())
    archive.erase(*ADA, offset=9)
    carry_out(archive.owner())
    assert_gone(tmp_path)


def test_returning_person_is_another_one(archive: Archive) -> None:
    owner = archive.owner()
    write(owner, [event(0, "ada-1"), event(1, "ada-1")])
    archive.erase("user_id:ada-1", offset=0)
    carry_out(owner)
    write(owner, [event(2, "ada-1")])
    assert offsets(archive.records()) == [1, 2]


def test_receipt_of_an_earlier_version_erases_by_time(archive: Archive) -> None:
    owner = archive.owner()
    write(owner, [event(0, "ada-1"), event(1, "ada-1", at_ms=START_MS + 1)])
    archive.erase("user_id:ada-1", offset=None)
    carry_out(owner)
    assert offsets(archive.records()) == [1]


def test_person_is_erased_by_time_in_other_partitions(tmp_path: Path) -> None:
    archive = Archive(FolderStorage(tmp_path))
    owner = archive.owner()
    write(owner, [event(0, "bob", anonymousId="a"), event(1, "bob", anonymousId="a", at_ms=START_MS + 1)])
    archive._partition = 1  # of the receipt
    archive.erase("anonymous_id:a", offset=0)
    archive._partition = 0
    carry_out(owner)
    assert [json.loads(record.value or b"")["anonymousId"] for record in archive.records()] == [None, "a"]


def change(profile: str, offset: int, *, at_ms: int = START_MS, **fields: Any) -> ArchivedRecord:
    made = Change(
        profile, "vip", 1, "exited", False, "event", 5, 0, offset, "c", None, None, None, None, None, "{}"
    )
    for name, value in fields.items():
        setattr(made, name, value)
    return ArchivedRecord(offset, START_MS, profile.encode(), encode_change(made, at_ms), [])


def test_changes_of_an_erased_person_are_deleted(tmp_path: Path) -> None:
    archive = Archive(FolderStorage(tmp_path), CHANGES)
    owner = archive.owner()
    mentioning = {
        "anonymous_id": "browser-ada",
        "merged_into": "user_id:ada-1",
        "traits_json": '{"email":"ada@example.com","n":1}',
        "email": "ada@example.com",
    }
    changes = [
        change("user_id:ada-1", 0, email="ada@example.com", user_id="ada-1"),
        change("user_id:bob", 1, **mentioning),
        change("user_id:ada-1", 2, reason="erasure"),
        change("user_id:ada-1", 3, at_ms=START_MS + 1),
    ]
    write(owner, changes)
    archive.erase(*ADA, offset=900)
    carry_out(owner)
    assert offsets(archive.records()) == [1, 3]
    kept = decode_change(archive.records()[0].value or b"")
    assert (kept.profile_id, kept.anonymous_id, kept.email, kept.merged_into) == (
        "user_id:bob",
        None,
        None,
        None,
    )
    assert kept.traits_json == '{"email":null,"n":1}'


def test_archive_gives_receipts_of_its_own(archive: Archive, tmp_path: Path) -> None:
    owner = archive.owner()
    write(owner, story())
    archive.erase(*ADA, offset=9)
    carry_out(owner)
    carry_out(owner)  # nothing is left to do
    (file,) = (tmp_path / EVENTS / "0" / "_erasures").iterdir()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(line["request"], line["identifier_sha256"], line["erased_at"]) for line in lines] == [
        ("r", hashed(identifier), START_MS) for identifier in ADA
    ]
    assert archive.metrics.archive_erased.labels("redacted")._value.get() == 1
    assert archive.metrics.archive_erased.labels("deleted")._value.get() == 8


def test_all_files_of_a_person_may_go(archive: Archive) -> None:
    owner = archive.owner()
    write(owner, [event(0, "ada-1")], [event(1, "ada-1")])
    archive.erase("user_id:ada-1", offset=1)
    carry_out(owner)
    assert archive.files() == []
    assert owner.manifest.next_offset == 2


def test_unreadable_receipts_are_passed_over(archive: Archive) -> None:
    for value in (
        None,
        b"no json",
        b'{"request":"r","identifier_sha256":"zz","found":"","erased_at":1,"awaits":[]}',
    ):
        archive.erasures.add(0, 5, value)
    assert archive.erasures.since({}) == []
    assert archive.erasures.positions == {0: 6}


def test_identifiers_of_an_event_are_found() -> None:
    made = Event(
        "A",
        0,
        "m",
        {"email": "F@x.y"},
        {"email": "t@x.y"},
        "u",
        "a",
        "e@x.y",
        previous_id="p",
        others=("device_id:d",),
    )
    assert set(named_in_event(made)) == {
        *("user_id:u", "anonymous_id:a", "email:e@x.y", "email:t@x.y", "email:f@x.y"),
        *("device_id:d", "user_id:p", "anonymous_id:p"),
    }


def test_only_whole_values_are_redacted() -> None:
    value = b'{"userId":7,"count":7,"traits":{"note":"u1 and u10","list":["u1",1]},"id":"u10"}'
    expected = b'{"userId":null,"count":7,"traits":{"note":"u1 and u10","list":[null,1]},"id":"u10"}'
    assert redacted(value, ["user_id:7", "user_id:u1"]) == expected


def test_profile_in_a_message_names_its_identifiers(archive: Archive, tmp_path: Path) -> None:
    profile = Profile("user_id:bob", links=Links(["user_id:bob", "email:ada@example.com"]))
    owner = archive.owner()
    write(owner, [message(0, Handover("user_id:carl", "user_id:bob", "user_id:bob", 1, profile))])
    archive.erase("email:ada@example.com", offset=0)
    carry_out(owner)
    assert archive.records() == []
