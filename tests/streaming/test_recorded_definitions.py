"""Definitions recorded in a store, from which a partition's engine is restored."""

from __future__ import annotations

from segops.core.segments import SegmentSet
from segops.schemas.in_force import encode_in_force, pack_definitions
from segops.schemas.segments import definition_from_record
from segops.stores.memory import MemoryStores
from segops.streaming.assignment import recorded_engine
from segops.streaming.partition.snapshot import IN_FORCE_META


def test_unusable_recorded_definitions_are_ignored() -> None:
    store = MemoryStores().open(0)
    assert recorded_engine(store) is None
    user = definition_from_record(
        b'{"key": "user", "version": 1, "name": "U", "when": {"in_segment": "gone"}}'
    )
    assert user is not None
    for data in (b"9", encode_in_force(pack_definitions([user]), since_ms=7)):
        store.write([], {IN_FORCE_META: data})
        assert recorded_engine(store) is None
    store.write([], {IN_FORCE_META: encode_in_force(pack_definitions([]), since_ms=7)})
    engine, since_ms = recorded_engine(store) or (None, 0)
    assert engine is not None and engine.version == SegmentSet.EMPTY.version
    assert since_ms == 7
