"""Recorded definitions: decoded ones evaluate alike, and invalid ones are rejected."""

from __future__ import annotations

import zlib
from pathlib import Path

import msgspec
import pytest

from segops.core.errors import StateError
from segops.core.segments import SegmentSet
from segops.schemas.in_force import decode_in_force, encode_in_force, pack_definitions, split_in_force
from segops.schemas.segments import definition_to_record, load

SEGMENTS = """
version: 1
rfm:
  recency: [30d, 60d]
segments:
  - key: buyers
    name: Buyers
    when: {did: Order Completed, within: 6h}
    membership: {min_stay: 1d, cool_down: 2d}
  - key: users-of
    when: {all: [{in_segment: buyers}, {rfm: {recency: {gte: 2}}}]}
"""


def test_active_definitions_round_trip(tmp_path: Path) -> None:
    file = tmp_path / "segments.yaml"
    file.write_text(SEGMENTS)
    wanted = SegmentSet(load([file]))
    found = decode_in_force(encode_in_force(pack_definitions(wanted.definitions), since_ms=1_760_000_000_000))
    assert found.since_ms == 1_760_000_000_000
    assert SegmentSet(found.definitions).version == wanted.version
    assert decode_in_force(encode_in_force(pack_definitions([]), since_ms=0)).definitions == []


@pytest.mark.parametrize(
    "data",
    [b"", b"3x", b"2x", b"1", b"1no zlib", b"\x02", encode_in_force(pack_definitions([]), since_ms=0)[:-5]],
)
def test_unreadable_definitions_raise_state_error(data: bytes) -> None:
    with pytest.raises(StateError, match="the definitions of a partition"):
        decode_in_force(data)


def test_the_first_format_is_still_read(tmp_path: Path) -> None:
    file = tmp_path / "segments.yaml"
    file.write_text(SEGMENTS)
    wanted = load([file])
    records = [msgspec.Raw(definition_to_record(each)) for each in wanted]
    data = b"1" + zlib.compress(msgspec.json.encode({"since_ms": 7, "definitions": records}))
    found = decode_in_force(data)
    assert (found.since_ms, [d.identity for d in found.definitions]) == (7, [d.identity for d in wanted])
    assert split_in_force(data) == (7, pack_definitions(wanted))
