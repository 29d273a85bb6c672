"""An unreadable profile is quarantined without loss while its partition continues; without Kafka."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from segops.core.engine import Engine
from segops.core.errors import StateError
from segops.core.messages import Claim, Erase, Handover, Message, Release
from segops.core.profile import Erasing, Member, Profile
from segops.core.segments import Definition, SegmentSet
from segops.schemas.messages import encode_message, name_of
from segops.schemas.quarantine import (
    QuarantinedProfile,
    decode_quarantined,
    encode_quarantined,
    name_of_bytes,
    sequence_in,
)
from segops.schemas.state import FORMAT, QUARANTINED, body_of, decode_profile, encode_profile, summary
from segops.schemas.ticks import TYPE_HEADER
from segops.stores.memory import MemoryStores
from segops.streaming.durability.restorer import StoreRestorer
from segops.streaming.partition.looking import profile_view
from segops.streaming.partition.quarantine import MAX_HELD
from segops.streaming.partition.segment import SegmentProcessor
from segops.streaming.partition.snapshot import PartitionSnapshot
from segops.streaming.partition.start import Start
from segops.testing import RecordingOutput

from .fakes import FakeRecord
from .helpers import START_MS, expected_changes, shop_events
from .snapshots import logged_of
from .test_segment_processor import FINAL_MS, clock, forwarded, found, tick, wanted, work_off

assert wanted  # a fixture

Damage = Callable[[bytes], bytes]


def sent(message: Message | Release, offset: int) -> FakeRecord:
    headers = [(TYPE_HEADER, name_of(message).encode())]
    return FakeRecord(offset, message.to.encode(), encode_message(message), headers)


class Partition:
    """A partition across restarts of its owner; ``log`` is its changelog."""

    def __init__(self, definitions: list[Definition], **bounds: int) -> None:
        self.engine, self.bounds = Engine(SegmentSet(definitions)), bounds
        self.stores, self.output = MemoryStores(), RecordingOutput()
        self.log: dict[bytes, bytes | None] = {}
        self.offset, self.metadata = 0, clock().dump()
        self.processor = self._open()

    def _open(self) -> SegmentProcessor:
        now = clock()
        now.load(self.metadata)
        start = Start(self.offset, now, since_ms=0)
        return SegmentProcessor(
            self.stores.open(0), self.engine, start=start, output=self.output, **self.bounds
        )

    def checkpoint(self, snapshot: PartitionSnapshot | None = None) -> None:
        snapshot = snapshot or self.processor.snapshot()
        self.log.update({each.profile_id.encode(): each.state for each in logged_of(snapshot)})
        self.processor.write(snapshot, None)
        self.processor.committed()
        self.offset, self.metadata = snapshot.offset, snapshot.metadata

    def crash(self) -> None:
        self.processor.close()
        self.processor = self._open()

    def rebuild(self) -> None:
        """Delete the store and restore it from the changelog."""
        self.processor.close()
        self.stores = MemoryStores()
        store = self.stores.open(0)
        StoreRestorer(store, expected=9).apply(self.log, 1)
        store.close()
        self.processor = self._open()

    def stored(self, profile_id: str) -> bytes | None:
        return self.log.get(profile_id.encode())

    def damage(self, profile_id: str, damage: Damage) -> bytes:
        """Damage a profile in the store and the changelog; return the original bytes."""
        before = self.stored(profile_id)
        assert before is not None
        self.log[profile_id.encode()] = damage(before)
        self.rebuild()
        return before


def with_float_version(data: bytes) -> bytes:
    """Return a state as an earlier version stored it, with a float for a version of more than 64 bits."""
    body = body_of(data)
    fields = msgspec.msgpack.decode(body)
    fields[14]["foreign"] = [0, 1e30]
    return data.removesuffix(body) + msgspec.msgpack.encode(fields)


DAMAGES: dict[str, Damage] = {
    "float": with_float_version,
    "cut": lambda data: data[: len(data) // 2],
    "head": lambda data: data[:5],
    "empty": lambda data: b"",
    "later": lambda data: b"\x07" + data[1:],
    "noise": lambda data: b"\x02" + bytes(random.Random(3).randbytes(200)),
    "other": lambda data: encode_profile(Profile("user_id:other")),
    "mark": lambda data: bytes([QUARANTINED]) + data[1:],
}


def events(wanted: list[Definition], count: int = 240) -> tuple[list[FakeRecord], dict[str, dict[str, Any]]]:
    shopping = shop_events(count, users=4, partitions=1, seed=5)
    records = [forwarded(one.value, offset) for offset, one in enumerate(shopping)]
    return records, expected_changes(shopping, wanted, FINAL_MS)


WHO = "user_id:u1"


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("crash", ["never", "often"])
def test_released_profile_equals_an_undamaged_one(
    wanted: list[Definition], damage: Damage, crash: str
) -> None:
    records, expected = events(wanted)
    part = Partition(wanted)
    part.processor.process(records[:100])
    part.checkpoint()
    before = part.damage(WHO, damage)
    damaged = part.stored(WHO)
    assert damaged is not None
    for start in range(100, 200, 10):
        part.processor.process(records[start : start + 10])
        part.processor.fire_due(9)
        if start == 150:
            part.checkpoint()
        if crash == "often":
            part.crash()
            part.processor.process(records[part.offset : start + 10])
    work_off(part.processor)
    assert {(each.profile_id, each.data, each.found_in) for each in part.output.letters} == {
        (WHO, damaged, "profile")
    }
    part.checkpoint()
    if crash == "often":
        part.rebuild()
    state = decode_profile(before)
    release = Release(WHO, name_of_bytes(damaged), state.sequence, tuple(state.members), state)
    part.processor.process([sent(release, 200)])
    part.processor.process([msgspec.structs.replace(each, offset=each.offset + 1) for each in records[200:]])
    part.processor.process([tick(len(records) + 1, FINAL_MS)])
    work_off(part.processor)
    part.checkpoint()
    assert found(part.output) == expected
    assert part.output.rejected == []
    assert part.output.releases[-1] == WHO
    data = part.stored(WHO)
    assert data is not None
    assert decode_profile(data).applied < len(records) + 1
    assert +part.processor.sizes == {}


def damaged_partition(wanted: list[Definition], **bounds: int) -> tuple[Partition, bytes]:
    """Return a partition with profile WHO in quarantine, and the profile's original state."""
    records, _ = events(wanted)
    part = Partition(wanted, **bounds)
    part.processor.process(records[:100])
    part.checkpoint()
    before = part.damage(WHO, DAMAGES["float"])
    part.processor.process([record for record in records[100:130] if record.key == WHO.encode()])
    work_off(part.processor)
    part.checkpoint()
    return part, before


def entry_of(part: Partition) -> QuarantinedProfile:
    data = part.stored(WHO)
    assert data is not None
    found = decode_quarantined(data)
    assert found is not None
    return found


def test_quarantined_profile_is_reported_once_and_counted(wanted: list[Definition]) -> None:
    part, before = damaged_partition(wanted)
    sizes, entry = +part.processor.sizes, entry_of(part)
    assert entry.data is None and entry.held and "Expected `int`, got `float`" in entry.reason
    assert entry.members == list(decode_profile(before).members)
    for _ in range(3):
        part.rebuild()
        work_off(part.processor)
        part.checkpoint()
    assert len(part.output.letters) == 1
    assert +part.processor.sizes == sizes
    assert part.processor.look(WHO, profile_view) is None


def test_kill_before_publication_keeps_the_quarantined_bytes(wanted: list[Definition]) -> None:
    records, _ = events(wanted)
    part = Partition(wanted)
    part.processor.process(records[:100])
    part.checkpoint()
    part.damage(WHO, DAMAGES["float"])
    part.processor.process(records[100:110])
    part.checkpoint()  # the quarantine entry is stored but not yet published
    assert entry_of(part).data is not None
    assert part.output.letters == []
    part.rebuild()
    work_off(part.processor)
    part.checkpoint()
    assert [each.profile_id for each in part.output.letters] == [WHO]
    assert entry_of(part).data is None


def test_dropped_profile_restarts_after_the_published_sequence(wanted: list[Definition]) -> None:
    part, before = damaged_partition(wanted)
    state, entry = decode_profile(before), entry_of(part)
    part.processor.process([sent(Release(WHO, entry.of, state.sequence + 40, tuple(state.members)), 500)])
    exits = [each for each in part.output.changes if each.reason == "quarantine"]
    assert [(each.segment_key, each.action) for each in exits] == [
        (key, "exited") for key in sorted(state.members)
    ]
    assert [each.sequence for each in exits] == [state.sequence + 41 + number for number in range(len(exits))]
    part.checkpoint()
    part.rebuild()
    data = part.stored(WHO)
    assert data is not None
    fresh = decode_profile(data)
    assert (fresh.first_ms, fresh.members, fresh.applied) == (None, {}, 500)
    assert fresh.sequence == state.sequence + 40 + len(exits)
    records, _ = events(wanted)
    mine = [record for record in records if record.key == WHO.encode()]
    part.processor.process([msgspec.structs.replace(each, offset=501 + n) for n, each in enumerate(mine)])
    assert part.output.changes[-1].sequence > fresh.sequence
    assert part.output.releases == [WHO]


def test_dropping_a_profile_answers_pending_messages(wanted: list[Definition]) -> None:
    part, _ = damaged_partition(wanted)
    part.processor.process([sent(Claim("user_id:u1", "user_id:u1", "anonymous_id:a"), 400)])
    part.processor.process([sent(Erase("user_id:u1", Erasing("ticket")), 401)])
    assert part.output.sent == [] and part.output.erasures == []
    part.checkpoint()
    part.rebuild()
    part.processor.process([sent(Release(WHO, entry_of(part).of), 402)])
    assert [(name_of(each), each.to) for each in part.output.sent] == [("join", "anonymous_id:a")]
    assert [each.identifier for each in part.output.erasures] == [WHO]


@pytest.mark.parametrize("of", ["", "another"])
def test_release_request_for_other_bytes_is_ignored(wanted: list[Definition], of: str) -> None:
    part, _ = damaged_partition(wanted)
    before = part.stored(WHO)
    part.processor.process([sent(Release(WHO, of), 400), sent(Release("user_id:u2", of), 401)])
    part.processor.process([sent(Release("user_id:nobody", of), 402)])
    part.checkpoint()
    assert part.stored(WHO) == before
    assert [reason for _, reason, _ in part.output.dead_letters] == ["not_quarantined"] * 3
    assert part.output.rejected == []


def test_reread_release_request_is_applied_once(wanted: list[Definition]) -> None:
    part, before = damaged_partition(wanted)
    state = decode_profile(before)
    release = sent(Release(WHO, entry_of(part).of, state.sequence, tuple(state.members), state), 400)
    part.processor.process([release])
    changes = len(part.output.changes)
    snapshot = part.processor.snapshot()
    part.processor.write(snapshot, None)  # killed between store write and commit
    part.crash()
    part.processor.process([release])
    assert len(part.output.changes) == changes
    assert part.output.dead_letters == []


def test_repaired_state_ends_memberships_it_lacks(wanted: list[Definition]) -> None:
    part, before = damaged_partition(wanted)
    state, whole, entry = decode_profile(before), decode_profile(before), entry_of(part)
    assert state.members
    gone = sorted(whole.members)[0]
    del whole.members[gone], whole.flips[gone]
    part.processor.process([sent(Release(WHO, entry.of, state.sequence, tuple(state.members), whole), 400)])
    (exited,) = [each for each in part.output.changes if each.reason == "quarantine"]
    assert (exited.segment_key, exited.member, exited.sequence) == (gone, False, state.sequence + 1)


def test_excess_waiting_records_become_dead_letters(wanted: list[Definition]) -> None:
    part, _ = damaged_partition(wanted)
    records, _ = events(wanted)
    one = next(record for record in records if record.key == WHO.encode())
    known = len(entry_of(part).held)
    part.processor.process([msgspec.structs.replace(one, offset=1_000 + n) for n in range(MAX_HELD + 5)])
    part.checkpoint()
    assert len(entry_of(part).held) == MAX_HELD
    assert [reason for _, reason, _ in part.output.rejected] == ["quarantined"] * (5 + known)
    assert len(part.stored(WHO) or b"") < 512 << 10


def test_waiting_records_are_limited_by_size(wanted: list[Definition]) -> None:
    part, _ = damaged_partition(wanted, max_state_bytes=8_192)
    records, _ = events(wanted)
    one = next(record for record in records if record.key == WHO.encode())
    part.processor.process([msgspec.structs.replace(one, offset=1_000 + n) for n in range(100)])
    part.checkpoint()
    assert 3_500 < entry_of(part).held_bytes <= 4_096
    assert part.output.rejected


def test_too_many_unreadable_profiles_stop_the_worker(wanted: list[Definition]) -> None:
    records, _ = events(wanted)
    part = Partition(wanted, max_quarantined=2)
    part.processor.process(records[:100])
    part.checkpoint()
    part.log = {key: bytes([FORMAT + 1]) + (value or b"")[1:] for key, value in part.log.items()}
    part.rebuild()
    with pytest.raises(StateError, match=r"more than 2 unreadable profiles .* SEGOPS_MAX_QUARANTINED"):
        part.processor.process(records[100:150])


@pytest.mark.parametrize("value", [1e30, 10**30], ids=["float", "integer"])
@pytest.mark.parametrize("meanwhile", ["nothing", "event", "timer"])
def test_profile_that_cannot_be_stored_is_quarantined(
    wanted: list[Definition], value: Any, meanwhile: str
) -> None:
    records, _ = events(wanted)
    part = Partition(wanted)
    part.processor.process(records[:100])
    part.checkpoint()
    part.processor.process(records[100:120])
    entry = part.processor._profiles.get(WHO)
    entry.profile.members["foreign"] = Member(0, value)
    part.processor._profiles.touch(entry)
    sequence, applied = entry.profile.sequence, entry.profile.applied
    snapshot = part.processor.snapshot()
    if meanwhile == "event":
        part.processor.process(records[120:140])
    elif meanwhile == "timer":
        part.processor.fire_due(100)
    part.checkpoint(snapshot)
    first = entry_of(part)
    assert (first.sequence, first.applied) == (sequence, applied)
    assert first.data is not None and sequence_in(first.data) == sequence
    assert "cannot be stored" in first.reason
    part.offset, part.metadata = snapshot.offset, snapshot.metadata
    part.rebuild()
    part.processor.process(records[part.offset :])
    work_off(part.processor)
    part.checkpoint()
    assert {each.of for each in part.output.letters} == {first.of}
    assert entry_of(part).held


def test_unreadable_handover_is_quarantined_and_the_claimant_continues(
    wanted: list[Definition],
) -> None:
    part = Partition(wanted)
    source = Profile("anonymous_id:a", sequence=3, first_ms=START_MS, latest_ms=START_MS)
    source.members["buyers"] = Member(START_MS, 1)
    handover = Handover("user_id:u9", "anonymous_id:a", "anonymous_id:a", 3, source)
    event = {"type": "track", "event": "Page Seen", "userId": "u9", "anonymousId": "a", "messageId": "1"}
    part.processor.process(
        [forwarded(msgspec.json.encode({**event, "timestamp": "2025-10-09T08:53:20Z"}), 0)]
    )
    broken = sent(handover, 1)
    assert broken.value is not None
    broken.value = broken.value.replace(b"\x94\xcf", b"\x94\xcb")  # a float for the time of the membership
    part.processor.process([broken])
    (letter,) = part.output.letters
    assert (letter.profile_id, letter.found_in, letter.data) == ("anonymous_id:a", "handover", broken.value)
    view = part.processor.look("user_id:u9", profile_view)
    assert view is not None and not isinstance(view, str)
    assert (view.awaits, view.memberships) == ((), ())
    part.processor.process([sent(handover, 2)])  # whole by an operator
    profile = part.processor._profiles.peek("user_id:u9")
    assert profile is not None and profile.links is not None
    assert profile.links.merged == {"anonymous_id:a": 3}
    assert profile.first_ms == START_MS


def test_stored_form_has_the_header_of_a_profile() -> None:
    entry = QuarantinedProfile("user_id:u1", "of", "reason", 5, 7, b"bytes", 3, ["buyers", "vip"])
    assert summary(encode_quarantined(entry)) == (0, b"buyers\nvip")
    entry.data = None
    assert summary(encode_quarantined(entry)) == (None, b"buyers\nvip")
    assert decode_quarantined(encode_quarantined(entry)) == entry
    assert decode_quarantined(encode_profile(Profile("x"))) is None
    with pytest.raises(StateError, match="damaged"):
        decode_quarantined(encode_quarantined(entry)[:-2])
    with pytest.raises(StateError):
        decode_profile(encode_quarantined(entry))
