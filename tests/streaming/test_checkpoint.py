"""The at-least-once checkpoint, without Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from segops.config import load
from segops.kafka.positions import CommittedPosition
from segops.schemas.ticks import TYPE_HEADER
from segops.streaming.durability.checkpoint import AtLeastOnce
from segops.streaming.failpoints import Failpoints
from segops.streaming.partition.control import ControlProcessor
from segops.streaming.partition.marks import with_mark
from segops.streaming.partition.resolve import ResolveProcessor
from segops.streaming.publishers import BatchProducer

from .fakes import ERASE, RecordingProducer, control_processor, event, resolve_processor


def at_least_once(
    producer: BatchProducer,
    commit: Callable[[Any], Awaitable[None]],
    *,
    source: ResolveProcessor,
    control: ControlProcessor | None = None,
) -> AtLeastOnce:
    """Return the checkpointer of an assignment without profiles."""
    return AtLeastOnce(
        load(topics={"prefix": ""}).topics,
        "changelog",
        processors={},
        sources={1: source},
        controls={1: control or control_processor(RecordingProducer())},
        failpoints=Failpoints(),
        outputs=producer,
        changelog=producer,
        commit=commit,
        fence=lambda: None,
    )


def test_checkpoint_commits_events_and_control() -> None:
    commits: list[Any] = []
    control = control_processor(RecordingProducer())
    source = resolve_processor(RecordingProducer())

    async def commit(positions: Any) -> None:
        commits.append(positions)

    async def go() -> None:
        outputs = BatchProducer(lambda: pytest.fail("nothing to send"))
        checkpointer = at_least_once(outputs, commit, source=source, control=control)
        await checkpointer.run()
        control.process([event(6, ERASE, [(TYPE_HEADER, b"erase")])])
        await checkpointer.run()

    asyncio.run(go())
    first, second = commits
    assert first == {("events", 1): CommittedPosition(0, "0"), ("control", 1): CommittedPosition(0, "")}
    # The metadata holds the mark of the last record read, which detects a recreated topic.
    assert second == {("control", 1): CommittedPosition(7, with_mark("", control.mark))}
    assert control.mark is not None and control.mark.offset == 6


def test_checkpoint_waiting_for_the_last_one_commits_nothing() -> None:
    processor, commits = resolve_processor(RecordingProducer()), []

    async def commit(positions: Any) -> None:
        commits.append(positions)
        processor.offset += 1
        await asyncio.sleep(0)

    async def go() -> None:
        outputs = BatchProducer(lambda: pytest.fail("nothing to send"))
        checkpointer = at_least_once(outputs, commit, source=processor)
        await asyncio.gather(checkpointer.run(last=True), checkpointer.run())

    asyncio.run(go())
    assert len(commits) == 1


def test_failed_checkpoint_never_commits_again() -> None:
    committed: list[Any] = []

    async def commit(positions: Any) -> None:
        committed.append(positions)

    class Broken(BatchProducer):
        async def settle(self) -> None:
            raise ConnectionError("the broker is gone")

    async def scenario() -> None:
        broken = Broken(producer=lambda: pytest.fail("unexpected send"))
        processor = resolve_processor(RecordingProducer())
        checkpointer = at_least_once(broken, commit, source=processor)
        checkpointer.committed({("events", 1): CommittedPosition(0, "")})
        for _ in range(2):
            with pytest.raises(ConnectionError):
                await checkpointer.run()

    asyncio.run(scenario())
    assert committed == []
