"""The rows of one partition, what they cover, and what partitions announce."""

from __future__ import annotations

import json

import pytest

from segops.core.messages import Erase, Rows
from segops.core.profile import Erasing, Links, Profile
from segops.core.segments import SegmentSet
from segops.schemas.backfills import (
    DROPPED,
    SWITCHED,
    WHOLE,
    Announcement,
    BackfillRecord,
    decode_announcement,
    decode_coverage,
    encode_record,
)
from segops.schemas.events import decode
from segops.schemas.identifying import DEFAULT
from segops.schemas.messages import encode_message
from segops.schemas.rows import decode_row
from segops.stores.memory import MemoryStores
from segops.streaming.partition.backfill.announcements import Announcements
from segops.streaming.partition.backfill.history import History
from segops.streaming.partition.backfill.recorded import next_engine, recorded
from segops.streaming.partition.backfill.rows import chunked
from segops.streaming.partition.snapshot import COVERAGE_META
from segops.testing import segments

from .fakes import FakeRecord

SOLD: SegmentSet = segments(sold={"sum": "total", "of": "Sold", "within": "1d", "is": {"gte": 3}})
LATEST: SegmentSet = segments(latest={"latest": "total", "of": "Sold", "is": {"gte": 3}})


def sold(offset: int, profile_id: str = "user_id:u", total: object = 5) -> FakeRecord:
    value = json.dumps(
        {"type": "track", "event": "Sold", "userId": "u", "properties": {"total": total}, "messageId": offset}
    )
    headers = [("segops-source", b"0:%d" % offset), ("segops-time", b"7")]
    return FakeRecord(offset, profile_id.encode(), value.encode(), headers)


@pytest.fixture
def stores() -> MemoryStores:
    return MemoryStores()


def collecting(stores: MemoryStores, offset: int = 10) -> History:
    history = History(stores.open(0), DEFAULT)
    history.collect_for("v", SOLD.features, offset, from_ms=9)
    return history


def rows_of(history: History, *, owned: tuple[str, ...] = ()) -> list[int]:
    """Return the source offsets of the rows of a user."""
    profile = Profile("user_id:u", links=Links(["user_id:u", *owned]))
    return sorted(decode_row(row).offset for rows in history.of(profile).values() for row in rows)


def test_log_before_the_adoption_is_read_in_slices(stores: MemoryStores) -> None:
    history = collecting(stores)
    assert (history.gap, history.progress) == ((0, 10), (0, 10))
    assert history.read([sold(1), sold(3)], 0, 4)
    assert (history.gap, history.progress) == ((4, 10), (4, 10))
    assert not history.read([sold(1)], 0, 4)  # not where the gap begins
    assert history.read([], 4, 10)
    assert history.gap is None
    assert rows_of(history) == [1, 3]


def test_records_that_no_event_can_be_read_from_are_skipped(stores: MemoryStores) -> None:
    history = collecting(stores)
    bad = [FakeRecord(2, b"user_id:u", b"{", []), FakeRecord(3, None, b"{}", [("segops-type", b"tick")])]
    bad += [FakeRecord(4, b"user_id:u", b"?", [("segops-type", b"forward")])]
    assert history.read([*bad, sold(5)], 0, 10)
    assert rows_of(history) == [5]


def test_restart_leaves_a_gap_where_no_checkpoint_was_written(stores: MemoryStores) -> None:
    history = collecting(stores)
    history.read([], 0, 10)
    coverage, rows = history.writes(12)
    store = history._store
    store.write([], coverage, rows)
    store.close()
    history = History(stores.open(0), DEFAULT)
    history.resume("v", SOLD.features, 15, from_ms=9)
    assert history.gap == (12, 15)


def test_other_features_are_collected_from_the_beginning(stores: MemoryStores) -> None:
    history = collecting(stores)
    history.read([sold(1)], 0, 10)
    history.stop(20)
    history.collect_for("w", {**SOLD.features, **LATEST.features}, 20, from_ms=9)
    assert (history.gap, rows_of(history)) == ((0, 20), [])


def test_rows_remain_for_definitions_that_need_less(stores: MemoryStores) -> None:
    history = History(stores.open(0), DEFAULT)
    history.collect_for("v", {**SOLD.features, **LATEST.features}, 10, from_ms=9)
    history.read([sold(1)], 0, 10)
    history.stop(20)
    history.collect_for("w", SOLD.features, 20, from_ms=9)
    assert (history.gap, rows_of(history)) == (None, [1])
    history.stop(30)
    history.collect_for("x", SOLD.features, 31, from_ms=9)  # a record was applied without a row
    assert (history.gap, rows_of(history)) == ((0, 31), [])


def test_rows_of_sources_count_for_the_profile_that_owns_these(stores: MemoryStores) -> None:
    history, other = collecting(stores), collecting(MemoryStores())
    other.read([sold(1)], 0, 10)
    (moved,) = other.of(Profile("user_id:u")).values()
    for of in ("v", "another set"):
        history.take(Rows("user_id:u", of, "anonymous_id:a", moved), sold(11))
    assert rows_of(history) == []
    assert rows_of(history, owned=("anonymous_id:a",)) == [1]


def test_erased_profile_has_only_later_rows(stores: MemoryStores) -> None:
    history = collecting(stores)
    event = decode(sold(12).value or b"", time_ms=7, default_id="0:12")
    history.note("user_id:u", event, sold(12), b"0:12")
    history.wipe("user_id:u", (), 13)
    history.note("user_id:u", event, sold(14), b"0:14")
    history.read([sold(1)], 0, 10)
    assert rows_of(history) == [14]
    assert "user_id:u" not in repr(decode_coverage(history._store.meta(COVERAGE_META)))


def test_erasure_that_is_read_from_the_log_later_brings_back_no_row(stores: MemoryStores) -> None:
    history = collecting(stores)
    history.wipe("user_id:u", (), 13)
    erase = encode_message(Erase("user_id:u", Erasing("request")))
    first = FakeRecord(2, b"user_id:u", erase, [("segops-type", b"erase")])
    history.read([first, sold(5)], 0, 10)
    assert rows_of(history) == []


def test_completeness_is_that_of_what_was_read(stores: MemoryStores) -> None:
    history = collecting(stores)
    assert history.since_ms == 9  # unless the beginning of the log is met
    history.read([sold(0)], 0, 4)
    assert history.since_ms == 0
    history.read([], 4, 10, since_ms=70)
    assert history.since_ms == 70
    history.stop(20)
    history.collect_for("w", SOLD.features, 20, from_ms=9)
    assert history.since_ms == 70


def test_end_leaves_nothing_in_the_store(stores: MemoryStores) -> None:
    history = collecting(stores)
    history.read([sold(1)], 0, 10)
    history.clear()
    assert rows_of(history) == [1]  # still needed
    history.stop()
    history.clear()
    assert history._store.row_owners(None, 9) == [] and history._store.meta(COVERAGE_META) == b""


def test_messages_of_rows_are_bounded() -> None:
    rows = [bytes(100_000)] * 5
    assert [len(part) for part in chunked(rows)] == [2, 2, 1]
    assert [len(part) for part in chunked([bytes(900_000), b""])] == [1, 1]
    assert list(chunked([])) == []


def announced(*found: Announcement) -> Announcements:
    known = Announcements(BackfillRecord(), 2)
    for each in found:
        known.take(each)
    return known


def test_round_is_complete_when_all_have_announced_it() -> None:
    known = announced(Announcement("v", 0, 1, moved=True))
    assert known.moved("v", 1) is None
    known.take(Announcement("v", 1, 1))
    assert known.moved("v", 1) is True and known.moved("v", 2) is None
    known.take(Announcement("v", 0, 1))  # a repetition
    assert known.moved("v", 1) is True


def test_partition_that_has_switched_needs_no_more_rounds() -> None:
    known = announced(Announcement("v", 0, 2), Announcement("v", 1, WHOLE))
    assert known.moved("v", 2) is False and not known.all_switched("v")
    known.take(Announcement("v", 0, SWITCHED))
    assert known.all_switched("v")


def test_what_a_partition_gave_up_does_not_count() -> None:
    known = announced(Announcement("v", 0, 1), Announcement("v", 1, 1), Announcement("v", 1, DROPPED))
    assert known.moved("v", 1) is None
    assert known.has_announced("v", 0) and not known.has_announced("v", 1)


def test_announcements_of_the_latest_sets_are_kept() -> None:
    known = announced(*(Announcement(f"v{n}", 0, 1) for n in range(20)))
    assert [n for n in range(20) if known.knows(f"v{n}")] == list(range(12, 20))


@pytest.mark.parametrize("value", [None, b"", b"[]", b"{", b'{"of": 5}'])
def test_invalid_announcement_is_refused(value: bytes | None) -> None:
    with pytest.raises(ValueError, match="invalid record of a backfill"):
        decode_announcement(value)


@pytest.mark.parametrize("data", [b"9", b"1", b"1\xff"])
def test_unreadable_record_means_that_definitions_are_adopted_again(data: bytes) -> None:
    assert recorded(data) == BackfillRecord()
    assert next_engine(data) is None
    assert decode_coverage(data) is None
    assert recorded(encode_record(BackfillRecord(since={1: 2}))).since == {1: 2}
