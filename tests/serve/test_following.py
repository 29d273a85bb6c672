"""As of when everything is read, by what a broker has said; and when reading must begin again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from prometheus_client import CollectorRegistry

from segops.config import load
from segops.kafka import following
from segops.kafka.batches import current as read_up_to
from segops.kafka.following import LostRecords
from segops.metrics import Metrics
from segops.serve.following import Follower
from segops.serve.metrics import ServeMetrics
from segops.serve.service import ServeService
from segops.serve.view import View
from segops.stores.memory import MemoryStores

from .helpers import row, row_key, settings_of

A, B, C = (TopicPartition("segops.membership.state", number) for number in range(3))


class FakeConsumer:
    """A consumer of A, B and C. ``said``: partition -> position, stable offset, high water mark, instant."""

    def __init__(self, said: Mapping[TopicPartition, tuple[int, int | None, int | None, int | None]]) -> None:
        self.said = said
        self.sought: dict[TopicPartition, int] = {}

    async def position(self, partition: TopicPartition) -> int:
        return self.said[partition][0]

    def last_stable_offset(self, partition: TopicPartition) -> int | None:
        return self.said[partition][1]

    def highwater(self, partition: TopicPartition) -> int | None:
        return self.said[partition][2]

    def last_poll_timestamp(self, partition: TopicPartition) -> int | None:
        return self.said[partition][3]

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 2)

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 9)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.sought[partition] = offset


class FakeRecord:
    def __init__(self, key: bytes | None, value: bytes | None) -> None:
        self.key, self.value = key, value


class FakeFetched:
    """Records of one fetch, of which the latest of a key counts."""

    def __init__(self, next_offset: int, *records: FakeRecord) -> None:
        self.next_offset = next_offset
        self._records = records

    def slices(self, size: int) -> list[list[FakeRecord]]:
        return [[each] for each in self._records]


@pytest.mark.parametrize(
    ("said", "current"),
    [
        ((5, 5, 7, 100), True),  # what follows belongs to an open transaction
        ((4, 5, 5, 100), False),
        ((5, -1, 7, 100), False),  # a broker without transactions
        ((7, -1, 7, 100), True),
        ((7, None, 7, 100), True),
        ((0, None, None, None), False),  # nothing was said yet
    ],
)
def test_a_partition_is_read_up_to_what_is_stable(said: Any, current: bool) -> None:
    found = asyncio.run(read_up_to(FakeConsumer({A: said}), [A]))
    assert found == ({A: 100} if current else {})


@pytest.fixture
def view() -> View:
    return View(MemoryStores().open(0))


@pytest.fixture
def follower(view: View, monkeypatch: pytest.MonkeyPatch) -> Follower:
    monkeypatch.setattr(following, "wall_ms", lambda: 1_000)
    found = Follower(load(topics={"prefix": "segops."}), view, ServeMetrics(CollectorRegistry()))
    found._partitions = frozenset((A, B))
    return found


def take(follower: Follower, found: Any, current_ms: Mapping[TopicPartition, int]) -> int | None:
    asyncio.run(follower._take_over(found, current_ms))
    return follower.as_of_ms


def test_everything_is_as_old_as_its_oldest_partition(follower: Follower, view: View) -> None:
    entered = FakeRecord(row_key("user_id:a", "vip"), row("", "vip", member=True))
    assert take(follower, [(A, FakeFetched(3, entered))], {}) is None
    assert take(follower, [], {A: 700}) is None
    assert take(follower, [], {A: 900, B: 800}) == 800
    assert take(follower, [], {A: 950}) == 800
    left = FakeRecord(row_key("user_id:a", "vip"), row("", "vip", member=False))
    assert [each.profile_id for each in view.members("vip", "", 9).members] == ["user_id:a"]
    assert take(follower, [(A, FakeFetched(5, entered, left, FakeRecord(None, b"")))], {B: 960}) == 950
    assert view.members("vip", "", 9).members == []


def test_reading_goes_on_where_a_session_ended(follower: Follower) -> None:
    take(follower, [(A, FakeFetched(5))], {})
    consumer = FakeConsumer({})
    asyncio.run(follower._seek(consumer, [A, B]))
    assert consumer.sought == {A: 5, B: 2}


@pytest.mark.parametrize("position", [1, 10])
def test_a_topic_that_is_another_one_is_noticed(follower: Follower, position: int) -> None:
    take(follower, [(A, FakeFetched(position))], {})
    with pytest.raises(LostRecords, match="state:0 was created again or shortened"):
        asyncio.run(follower._seek(FakeConsumer({}), [A, B]))


def test_deletions_may_be_forgotten_after_twelve_hours(
    follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = 3_600_000
    assert take(follower, [], {A: 1_000, B: 900}) == 900
    monkeypatch.setattr(following, "wall_ms", lambda: 900 + 12 * hours)
    assert take(follower, [], {}) == 900
    monkeypatch.setattr(following, "wall_ms", lambda: 901 + 12 * hours)
    with pytest.raises(LostRecords, match="deletions may have been forgotten"):
        take(follower, [], {})


def test_what_is_too_old_is_not_shown(tmp_path: Path, follower: Follower) -> None:
    service = ServeService(settings_of(tmp_path, max_age_ms="10s"), Metrics(CollectorRegistry()))
    assert service.waits_for == "the memberships are not read yet"
    service._follower, follower.as_of_ms = follower, int(time.time() * 1000)
    assert service.as_of_ms() is None and service.waits_for == "the memberships are not read yet"
    service._defined = True
    assert service.as_of_ms() == follower.as_of_ms and service.waits_for is None
    follower.as_of_ms -= 60_000
    assert service.as_of_ms() is None
    assert service.waits_for == "the memberships are older than SEGOPS_SERVE_MAX_AGE"
