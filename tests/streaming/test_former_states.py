"""A processor opens on profiles stored by a former version under its recorded definitions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segops.core.engine import Engine
from segops.core.views.profile import ProfileView
from segops.stores.base import Write
from segops.stores.memory import MemoryStores
from segops.streaming.partition.clock import PartitionClock
from segops.streaming.partition.looking import profile_view
from segops.streaming.partition.segment import SegmentProcessor
from segops.streaming.partition.snapshot import EVALUATED_META
from segops.streaming.partition.start import Start
from segops.testing import RecordingOutput, segments
from tests.core.helpers import MONDAY as T
from tests.core.helpers import S

from .fakes import FakeRecord

FORMER = json.loads((Path(__file__).parents[1] / "schemas" / "former_states.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("name", "held"), [("count_1", 1), ("count_5", 7), ("distinct_5", 6), ("ever_5", 6), ("today_5", 6)]
)
def test_profile_stored_by_a_former_version_stays_a_member(name: str, held: int) -> None:
    engine, output = Engine(segments(**{name: FORMER["rules"][name]})), RecordingOutput()
    store = MemoryStores().open(0)
    state = bytes.fromhex(FORMER["alone"][name])
    store.write([Write("user_id:u1", state, None, None)], {EVALUATED_META: engine.version.encode()})
    start = Start(0, PartitionClock(sources=1, by_events=True), since_ms=T)
    processor = SegmentProcessor(store, engine, start=start, output=output)
    assert not processor.scanning
    event = json.dumps({"type": "track", "event": "A", "userId": "u1"}).encode()
    headers = [("segops-source", b"0:1"), ("segops-time", b"%d" % (T + 21 * S))]
    processor.process([FakeRecord(1, b"user_id:u1", event, headers)])
    assert output.changes == [] and output.rejected == []
    known = processor.look("user_id:u1", profile_view)
    assert isinstance(known, ProfileView)
    assert [each.value for each in known.features] == [held]
