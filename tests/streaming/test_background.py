"""Work between batches of events: its share of time, and one partition that folds after another."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from segops.config import load
from segops.core.engine import Engine
from segops.core.segments import SegmentSet
from segops.streaming.background import Background
from segops.streaming.failpoints import Failpoints
from segops.streaming.share import Share


class Group:
    """A consumer that is ``behind`` by so many records."""

    def __init__(self, behind: int = 0) -> None:
        self._behind = behind

    def behind(self, partition: Any, offset: int) -> int:
        return self._behind


class Processor:
    """Records whether its definitions may come into force."""

    adopting = True
    recording = replaying = False
    offset = 0
    timers_at_once = 50

    def __init__(self, *, folding: bool = False, can_switch: bool = False) -> None:
        self.folding, self.can_switch = folding, can_switch
        self.allowed: list[bool] = []
        self.backfill = type("Backfill", (), {"is_blocked": False})()
        self.scans = type("Scans", (), {"work": staticmethod(lambda number, now_ms: False)})()
        self.clock = type("Clock", (), {"now_ms": 0})()

    def fire_due(self, limit: int) -> int:
        return 0

    def rescan(self, limit: int) -> int:
        return 0

    def work_backfill(self, limit: int, *, may_switch: bool) -> int:
        self.allowed.append(may_switch)
        return 0

    def wants(self, engine: Engine, draft: Any) -> bool:
        return False


class Pipeline:
    """Two partitions, of which the first folds."""

    def __init__(self) -> None:
        self.engine, self.draft, self.running = Engine(SegmentSet([])), None, True
        self.processors: Any = {0: Processor(folding=True), 1: Processor(can_switch=True)}
        self.channels: Any = None
        #: How many partitions had switched when the pipeline settled.
        self.settled: list[int] = []

    def adopt(self) -> None: ...
    async def settle(self) -> None:
        self.settled.append(len(self.processors[1].allowed))

    async def use(self, engine: Engine) -> None: ...
    async def wait_for_capacity(self) -> None:
        raise asyncio.CancelledError  # after one round


def one_round(worker: Background) -> tuple[list[bool], list[int]]:
    """Work once; return whether the second partition was allowed to switch, and when the pipeline settled."""
    pipeline = Pipeline()
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(worker.run(pipeline, Group))
    return pipeline.processors[1].allowed, pipeline.settled


def test_one_partition_folds_after_another_while_events_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr("segops.streaming.background.time", SimpleNamespace(monotonic=lambda: now_s))
    worker = Background(Share(load()), Failpoints())
    assert one_round(worker) == ([True], [0])
    worker.note_events()
    assert one_round(worker) == ([False], [])
    now_s += 2.0
    assert one_round(worker) == ([True], [0])


@pytest.mark.parametrize(
    ("behind", "late_ms", "rest_s"),
    [
        (0, 0, 0.0),
        (0, 5_000, 0.0),
        (5, 0, 0.7),
        (5, 100, 0.7),
        (5, 300, 2.1),
        (5, 30_000, 7.0),
        (5, 3_600_000, 0.7),
    ],
)
def test_work_takes_its_share_while_live_records_wait(
    monkeypatch: pytest.MonkeyPatch, behind: int, late_ms: int, rest_s: float
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    taken = Share(load(engine={"backfill_share": "0.3"}))
    monkeypatch.setattr("segops.streaming.share.asyncio", SimpleNamespace(sleep=sleep))
    times = iter([1.0, 1.1, 1.1, 1.3])
    monkeypatch.setattr("segops.streaming.share.time", SimpleNamespace(thread_time=lambda: next(times)))
    for _ in range(2):
        with taken.taken():
            pass
    taken.note_latency(late_ms)
    processors: Any = {0: Processor()}
    asyncio.run(taken.rest(processors, Group(behind)))
    assert slept == [pytest.approx(rest_s)]
    slept.clear()
    asyncio.run(taken.rest(processors, Group(behind)))
    assert slept == [0]
