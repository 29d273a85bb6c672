"""The at-least-once checkpoint, without Kafka."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from segops.kafka.positions import CommittedPosition
from segops.schemas.ticks import TYPE_HEADER
from segops.streaming.durability.checkpoint import AtLeastOnce, Owned, Topics, Ways
from segops.streaming.failpoints import Failpoints
from segops.streaming.partition.marks import with_mark
from segops.streaming.partition.resolve import ResolveProcessor
from segops.streaming.publishers import BatchProducer

from .fakes import ERASE, RecordingProducer, control_processor, event, resolve_processor

TOPICS = Topics("e", "k", "p", "c")


def assignment(processor: ResolveProcessor) -> Owned:
    """Return an assignment without profiles."""
    return Owned({}, {1: processor}, {1: control_processor(RecordingProducer())})


def test_checkpoint_commits_events_and_control() -> None:
    commits: list[Any] = []
    control = control_processor(RecordingProducer())
    parts = Owned({}, {1: resolve_processor(RecordingProducer())}, {1: control})

    async def commit(positions: Any) -> None:
        commits.append(positions)

    async def go() -> None:
        outputs = BatchProducer(lambda: pytest.fail("nothing to send"))
        options = Ways(outputs, outputs, commit, lambda: None)
        checkpointer = AtLeastOnce(TOPICS, parts, options, Failpoints())
        await checkpointer.run()
        control.process([event(6, ERASE, [(TYPE_HEADER, b"erase")])])
        await checkpointer.run()

    asyncio.run(go())
    first, second = commits
    assert first == {("e", 1): CommittedPosition(0, "0"), ("k", 1): CommittedPosition(0, "")}
    # The metadata holds the mark of the last record read, which detects a recreated topic.
    assert second == {("k", 1): CommittedPosition(7, with_mark("", control.mark))}
    assert control.mark is not None and control.mark.offset == 6


def test_checkpoint_waiting_for_the_last_one_commits_nothing() -> None:
    processor, commits = resolve_processor(RecordingProducer()), []

    async def commit(positions: Any) -> None:
        commits.append(positions)
        processor.offset += 1
        await asyncio.sleep(0)

    async def go() -> None:
        outputs = BatchProducer(lambda: pytest.fail("nothing to send"))
        options = Ways(outputs, outputs, commit, lambda: None)
        checkpointer = AtLeastOnce(TOPICS, assignment(processor), options, Failpoints())
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
        options = Ways(broken, broken, commit, lambda: None)
        checkpointer = AtLeastOnce(TOPICS, assignment(processor), options, Failpoints())
        checkpointer.committed({("e", 1): CommittedPosition(0, "")})
        for _ in range(2):
            with pytest.raises(ConnectionError):
                await checkpointer.run()

    asyncio.run(scenario())
    assert committed == []
