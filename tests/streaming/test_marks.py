"""Record marks, the origin of stored state and the sweep of stale memberships, without Kafka."""

from __future__ import annotations

import contextlib

import msgspec
import pytest

from segops.config import load
from segops.core.engine import Engine
from segops.core.errors import StateError, UserError
from segops.core.segments import Definition, SegmentSet
from segops.schemas.changes import decode_change, encode_change
from segops.schemas.origin import ORIGIN_KEY, Mark, Origin, decode_origin, encode_origin
from segops.schemas.owner import Owner, decode_owner, encode_owner
from segops.stores.memory import MemoryStores
from segops.streaming.durability.restorer import StoreRestorer
from segops.streaming.ownership.origin import OriginCheck
from segops.streaming.partition.marks import LastRecord, mark_of
from segops.streaming.partition.segment import SegmentProcessor
from segops.streaming.partition.snapshot import ORIGIN_META
from segops.streaming.partition.start import Start
from segops.testing import RecordingOutput

from .fakes import FakeRecord
from .helpers import DAY_MS, START_MS, shop_events
from .snapshots import logged_of
from .test_segment_processor import clock, forwarded, tick, wanted, work_off  # noqa: F401 - a fixture

ORIGIN = Origin("app", "shop.", 3, "a1")


@pytest.mark.parametrize(
    "other",
    [
        FakeRecord(8, b"k", b"v", [("h", b"1")]),
        FakeRecord(7, b"K", b"v", [("h", b"1")]),
        FakeRecord(7, b"k", b"V", [("h", b"1")]),
        FakeRecord(7, None, b"v", [("h", b"1")]),
        FakeRecord(7, b"k", None, [("h", b"1")]),
        FakeRecord(7, b"k", b"v", [("h", b"2")]),
        FakeRecord(7, b"k", b"v", [("g", b"1")]),
        FakeRecord(7, b"k", b"v", []),
        FakeRecord(7, b"k", b"v", [("h", b"1")], START_MS + 1),
    ],
)
def test_different_records_have_different_marks(other: FakeRecord) -> None:
    assert mark_of(other) != mark_of(FakeRecord(7, b"k", b"v", [("h", b"1")]))


def test_mark_is_kept_until_the_next_record() -> None:
    last = LastRecord(Mark(3, 1, 2))
    assert last.mark == Mark(3, 1, 2)
    last.read(FakeRecord(7, b"k", b"v", []))
    expected = mark_of(FakeRecord(7, b"k", b"v", []))
    assert [last.mark, last.mark] == [expected, expected]  # the second is the kept one


def test_origin_and_owner_round_trip_and_invalid_bytes_are_refused() -> None:
    origin = msgspec.structs.replace(ORIGIN, mark=Mark(7, 8, 9), sweep_until=4)
    assert decode_origin(encode_origin(origin)) == origin
    with pytest.raises(StateError, match="the origin of a partition's state cannot be read"):
        decode_origin(b"{}")
    assert decode_owner(encode_owner(Owner("app", 5, 6))) == Owner("app", 5, 6)
    with pytest.raises(ValueError, match="missing required field"):
        decode_owner(b"{}")


def processor_of(definitions: list[Definition], output: RecordingOutput, **start: object) -> SegmentProcessor:
    begin = Start(0, clock(), since_ms=0, origin=ORIGIN, **start)  # type: ignore[arg-type]
    engine = Engine(SegmentSet(definitions))
    return SegmentProcessor(MemoryStores().open(0), engine, start=begin, output=output)


def test_origin_is_logged_last_and_only_with_profiles(
    wanted: list[Definition],  # noqa: F811
) -> None:
    processor = processor_of(wanted, RecordingOutput())
    records = [
        forwarded(one.value, offset) for offset, one in enumerate(shop_events(9, users=3, partitions=1))
    ]
    processor.process(records)
    snapshot = processor.snapshot()
    assert logged_of(snapshot)[-1].profile_id.encode() == ORIGIN_KEY
    assert decode_origin(logged_of(snapshot)[-1].state or b"").mark == mark_of(records[-1])
    processor.write(snapshot, 0)
    processor.write(processor.snapshot(), 0)  # without the minutes that were over at the one before
    processor.process([*records, tick(9, START_MS)])
    snapshot = processor.snapshot()
    assert logged_of(snapshot) == [] and ORIGIN_META not in snapshot.meta
    assert snapshot.mark == mark_of(tick(9, START_MS))


def test_origin_of_adopted_state_is_recorded_at_once(wanted: list[Definition]) -> None:  # noqa: F811
    processor = processor_of(wanted, RecordingOutput(), adopted=True)
    snapshot = processor.snapshot()
    assert [write.profile_id.encode() for write in logged_of(snapshot)] == [ORIGIN_KEY]
    processor.write(snapshot, 0)
    assert logged_of(processor.snapshot()) == []


def test_sweep_ends_stale_memberships_only_and_is_repeatable(
    wanted: list[Definition],  # noqa: F811
) -> None:
    output = RecordingOutput()
    processor = processor_of(wanted, output)
    processor._meta._origin = msgspec.structs.replace(ORIGIN, sweep_until=50)
    sent = shop_events(60, users=1, partitions=1)
    processor.process([forwarded(one.value, offset) for offset, one in enumerate(sent)])
    processor.process([tick(60, START_MS + DAY_MS + 7_200_000)])
    work_off(processor)
    entered = {change.segment_key: change for change in output.changes if change.member}
    latest = {change.segment_key: change.member for change in output.changes}
    assert set(latest.values()) == {True, False}
    rows = [entered[key] for key in sorted(entered)]
    gone = [key for key in sorted(entered) if not latest[key]]
    for again in (True, False):
        output.changes.clear()
        assert processor.withdraw("user_id:u0", rows, again=again) == len(gone)
        ends = [(end.segment_key, end.sequence, end.member, end.reason) for end in output.changes]
        assert ends == [(key, 51 + n, False, "restart") for n, key in enumerate(gone)]
    ended = [decode_change(encode_change(end, 0)) for end in output.changes]
    output.changes.clear()
    assert processor.withdraw("user_id:u0", ended, again=False) == 0  # published by an earlier attempt
    assert processor.withdraw("user_id:u0", ended, again=True) == len(gone)
    assert [end.change_id for end in output.changes] == [end.change_id for end in ended]
    assert processor.withdraw("user_id:stranger", rows, again=True) == len(rows)


def test_sweep_skips_changes_made_since_it_began(wanted: list[Definition]) -> None:  # noqa: F811
    output = RecordingOutput()
    processor = processor_of(wanted, output)
    processor.begin_sweep()
    sent = shop_events(60, users=1, partitions=1)
    processor.process([forwarded(one.value, offset) for offset, one in enumerate(sent)])
    rows = list({change.segment_key: change for change in output.changes}.values())
    assert rows
    assert processor.withdraw("user_id:u0", rows, again=True) == 0


@pytest.mark.parametrize("lineage", ["a1", "b2"])
def test_store_of_another_changelog_is_detected(lineage: str) -> None:
    store = MemoryStores().open(0)
    StoreRestorer(store, expected=1).apply({ORIGIN_KEY: encode_origin(ORIGIN)}, 5)
    tail = {ORIGIN_KEY: encode_origin(msgspec.structs.replace(ORIGIN, lineage=lineage))}
    restorer = StoreRestorer(store, expected=1)
    if lineage == "a1":
        restorer.apply(tail, 9)
    else:
        with pytest.raises(StateError, match="it belongs to another changelog"):
            restorer.apply(tail, 9)


def test_changelog_with_a_fresh_start_is_read_from_the_beginning() -> None:
    restorer = StoreRestorer(MemoryStores().open(0), expected=2)
    restorer.apply({ORIGIN_KEY: encode_origin(ORIGIN)}, 5)
    restorer.apply({ORIGIN_KEY: encode_origin(msgspec.structs.replace(ORIGIN, lineage="b2"))}, 9)


@pytest.mark.parametrize(
    ("origin", "reason"),
    [
        (ORIGIN, ""),
        (
            msgspec.structs.replace(ORIGIN, prefix="old."),
            r"topics old\.\* with 3 partitions, not to shop",
        ),
        (msgspec.structs.replace(ORIGIN, partitions=4), "with 4 partitions, not to .* with 3"),
        (msgspec.structs.replace(ORIGIN, app_id="else"), "profiles of the application else, not of app"),
    ],
)
def test_state_of_other_topics_or_applications_is_refused(origin: Origin, reason: str) -> None:
    store = MemoryStores().open(0)
    store.write([], {ORIGIN_META: encode_origin(origin)})
    settings = load(topics={"prefix": "shop.", "partitions": 3}, worker={"app_id": "app"})
    origin_check = OriginCheck(settings, Owner("app"), consumer=pytest.fail, lost=pytest.fail)
    assert not origin_check.is_stale(store)
    with pytest.raises(UserError, match=reason) if reason else contextlib.nullcontext():
        origin_check.check_names(0, store)


def test_state_is_stale_only_if_older_than_the_fresh_start() -> None:
    store = MemoryStores().open(0)
    fresh = OriginCheck(load(), Owner("app", generation=5), consumer=pytest.fail, lost=pytest.fail)
    assert fresh.is_stale(store)
    for generation in (0, 4, 5, 6):
        store.write([], {ORIGIN_META: encode_origin(msgspec.structs.replace(ORIGIN, generation=generation))})
        assert fresh.is_stale(store) == (generation < 5)
