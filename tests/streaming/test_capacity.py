"""When a worker takes a checkpoint, and when its intake waits."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from segops.streaming.pipeline import Pipeline
from segops.streaming.uncommitted import Uncommitted


def _pipeline(*, over_limit: bool, pending: int, unstored: float) -> Any:
    return SimpleNamespace(
        running=True,
        settings=SimpleNamespace(checkpoint=SimpleNamespace(max_records=10)),
        channels=SimpleNamespace(over_limit=over_limit),
        processors={},
        _uncommitted=lambda: Uncommitted(pending, changed=0.0, unstored=unstored),
        _recording=False,
        _wanted=asyncio.Event(),
        _eased=asyncio.Event(),
    )


async def _waits_and_wants(*, over_limit: bool, pending: int, unstored: float = 0.0) -> tuple[bool, bool]:
    """Return whether intake waits, and whether it asks for a checkpoint."""
    pipeline = _pipeline(over_limit=over_limit, pending=pending, unstored=unstored)
    waiting = asyncio.ensure_future(Pipeline.wait_for_capacity(pipeline))
    for _ in range(3):
        await asyncio.sleep(0)
    waits = not waiting.done()
    pipeline.running = False
    pipeline._eased.set()
    await waiting
    return waits, pipeline._wanted.is_set()


def test_unacknowledged_output_is_waited_for_without_a_checkpoint() -> None:
    assert asyncio.run(_waits_and_wants(over_limit=True, pending=0)) == (True, False)
    assert asyncio.run(_waits_and_wants(over_limit=False, pending=0)) == (False, False)


def test_uncommitted_work_asks_for_a_checkpoint() -> None:
    assert asyncio.run(_waits_and_wants(over_limit=False, pending=21)) == (True, True)
    assert asyncio.run(_waits_and_wants(over_limit=False, pending=1, unstored=3.1)) == (True, True)


def _waits_s(*, exactly_once: bool, has_waiters: bool = False) -> float:
    """Return how long a worker waits for its next checkpoint after one of 3 s, with an interval of 1 s."""
    waits_s: list[float] = []

    async def until_wanted(seconds: float) -> None:
        waits_s.append(seconds)

    pipeline: Any = SimpleNamespace(
        settings=SimpleNamespace(checkpoint_interval_ms=1_000, exactly_once=exactly_once),
        channels=SimpleNamespace(has_waiters=has_waiters),
        _checkpoint_s=3.0,
        _wanted=asyncio.Event(),
        _until_wanted=until_wanted,
    )
    asyncio.run(Pipeline.checkpoint_due(pipeline))
    return sum(waits_s)


def test_a_busy_worker_pauses_between_checkpoints_unless_its_results_wait_for_them() -> None:
    assert _waits_s(exactly_once=False) == 6.0
    assert _waits_s(exactly_once=True) == 1.0
    assert _waits_s(exactly_once=False, has_waiters=True) == 1.0
