"""What a partition publishes follows from its log alone: not from where batches end or when timers fire.

A process that replays records after a crash reads them in other batches, and must publish the same changes.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from segops.core.engine import Engine
from segops.core.events import Event
from segops.core.identity.protocol import Identity
from segops.core.messages import Claim, Forward, Handover, MergeRequest, Message
from segops.core.segments import SegmentSet
from segops.schemas.messages import encode_message, name_of
from segops.schemas.records import Headers
from segops.schemas.ticks import TICK_HEADERS, source_tick
from segops.stores.memory import MemoryStores
from segops.streaming.partition.clock import PartitionClock
from segops.streaming.partition.segment import SegmentProcessor
from segops.streaming.partition.start import Start
from segops.testing import RecordingOutput

from .fakes import FakeRecord
from .helpers import START_MS
from .test_backfill import HOUR, segments_in

USER, MAIL, DEVICE, OTHER = "user_id:u", "email:x@y", "anonymous_id:d", "anonymous_id:o"
SEGMENTS = """
version: 1
segments:
  - key: fresh
    when: {last: Viewed, is: {newer_than: 20m}}
  - key: dormant
    when: {last: Viewed, is: {older_than: 2h}}
"""


def hand_overs(segments: SegmentSet) -> list[Message]:
    """Return the hand-over of a profile that has waited for a device for two hours, and the device's."""
    identity = Identity(Engine(segments))
    mail, device = (identity.engine.new_profile(each) for each in (MAIL, DEVICE))
    event = Event("Viewed", START_MS + HOUR, "m2", {}, email="x@y", anonymous_id="d")
    (claim,) = identity.on_message(mail, Forward(MAIL, event), clock_ms=START_MS + HOUR).messages
    assert isinstance(claim, Claim)
    request = MergeRequest(MAIL, OTHER, USER, at_ms=START_MS + HOUR)
    first = identity.on_message(mail, request, clock_ms=START_MS + HOUR).messages
    second = identity.on_message(device, claim, clock_ms=START_MS + HOUR).messages
    return [msgspec.structs.replace(each, to=USER) for each in (*first, *second)]


def _sent(message: Message) -> tuple[bytes, bytes, Headers]:
    return USER.encode(), encode_message(message), [("segops-type", name_of(message).encode())]


def log_of(segments: SegmentSet) -> list[FakeRecord]:
    """Return a log in which a profile is handed over three hours after the start."""
    event = b'{"type": "track", "event": "Viewed", "userId": "u", "anonymousId": "o", "messageId": "m1"}'
    source = [("segops-source", b"0:0"), ("segops-time", b"%d" % START_MS)]
    tick = source_tick(0, START_MS + 3 * HOUR, idle=False)
    records: list[tuple[bytes | None, bytes, Headers]] = [
        (USER.encode(), event, source),
        _sent(Handover(USER, OTHER, OTHER, at_ms=START_MS)),
        (None, tick, TICK_HEADERS),
        *map(_sent, hand_overs(segments)),
    ]
    return [FakeRecord(offset, *each) for offset, each in enumerate(records)]


def published(segments: SegmentSet, size: int) -> list[tuple[str, str, str, int]]:
    """Return what a partition publishes that reads the log in batches of a size, with timers in between."""
    log, output = log_of(segments), RecordingOutput()
    clock = PartitionClock(sources=1, by_events=True)
    store = MemoryStores().open(0)
    processor = SegmentProcessor(store, Engine(segments), start=Start(0, clock), output=output)
    for start in range(0, len(log), size):
        processor.process(log[start : start + size])
        processor.fire_due(50)
    assert output.rejected == []
    return [(each.segment_key, each.action, each.reason, each.occurred_at) for each in output.changes]


def test_changes_do_not_depend_on_batches(tmp_path: Path) -> None:
    """A profile that has passed three hours is handed another's event, held since the first of them."""
    segments = segments_in(SEGMENTS, tmp_path)
    by_record = published(segments, 1)
    assert ("dormant", "entered", "time", START_MS + 2 * HOUR) in by_record
    for size in (2, 3, 10):
        assert published(segments, size) == by_record
