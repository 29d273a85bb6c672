"""Offsets that Kafka lost with a transaction: which ones are taken from the changelog, without Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from segops.config import load
from segops.kafka.positions import CommittedPosition, Positions
from segops.schemas.positions import POSITIONS_KEY, Move, decode_positions, encode_positions
from segops.stores.base import ProfileStore, Write
from segops.stores.memory import MemoryStores
from segops.streaming.failpoints import Failpoints
from segops.streaming.ownership import fresh_start
from segops.streaming.ownership.fresh_start import FreshStart
from segops.streaming.ownership.origin import lost_offsets
from segops.streaming.partition.snapshot import POSITIONS_META

from .test_marks import ORIGIN

PARTITION = ("events", 1)


def stored(move: Move) -> ProfileStore:
    store = MemoryStores().open(1)
    store.write([], {POSITIONS_META: encode_positions({"events": move})})
    return store


def at(offset: int) -> dict[tuple[str, int], CommittedPosition]:
    return {PARTITION: CommittedPosition(offset, "group")}


@pytest.mark.parametrize(
    ("move", "committed", "is_lost"),
    [
        (Move(67, 69, "m"), at(67), True),
        (Move(None, 20, "m"), {}, True),
        (Move(67, 69, "m"), at(69), False),  # committed as it should be
        (Move(67, 69, "m"), at(80), False),  # and since then more
        (Move(67, 69, "m"), at(3), False),  # an operator moved the group
        (Move(67, 69, "m"), {}, False),  # the topic was recreated
        (Move(None, 20, "m"), at(0), False),
        (Move(5, 5, "m"), at(5), False),  # only the metadata changed
    ],
)
def test_offset_is_lost_if_the_group_is_still_where_it_was_before(
    move: Move, committed: Positions, is_lost: bool
) -> None:
    found = lost_offsets({1: stored(move)}, committed)
    assert found == ({PARTITION: CommittedPosition(move.offset, "m")} if is_lost else {})


def test_store_without_positions_has_lost_nothing() -> None:
    assert lost_offsets({1: MemoryStores().open(1)}, at(0)) == {}


def test_fresh_start_clears_the_recorded_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The group goes back to the beginning, which may be an offset from before a former transaction."""
    written: list[Write] = []

    async def survey(*_: Any) -> Any:
        return SimpleNamespace(greatest=0, most=0)

    async def persist(number: int, writes: Sequence[Write], positions: Positions) -> int:
        written.extend(writes)
        return len(written)

    async def not_replaced(*_: Any) -> bool:
        return False

    async def beginnings(partitions: Any) -> dict[tuple[str, int], int]:
        return dict.fromkeys(partitions, 0)

    monkeypatch.setattr(fresh_start, "survey", survey)
    stores = MemoryStores()
    check = SimpleNamespace(new_origin=lambda **_: ORIGIN, is_replaced=not_replaced)
    manager, group = SimpleNamespace(stores=stores), SimpleNamespace(beginnings=beginnings)
    start: Any = FreshStart(load(), check, manager, lambda: None, Failpoints())  # type: ignore[arg-type]
    asyncio.run(start.reset(1, stores.open(1), group, persist))
    recorded = [
        decode_positions(each.state or b"") for each in written if each.profile_id.encode() == POSITIONS_KEY
    ]
    assert recorded == [{}]
