"""Deliberately broken workers that prove the verifier detects each kind of error. Never part of segops.

Most break one rule of the checkpoint and then die once, at a point where the broken rule matters. They create
the flag file named by FAULTS_ONCE when they die; a worker that finds the file runs correctly.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from segops.core import links
from segops.core.identity import merging
from segops.core.messages import Handover
from segops.schemas import events
from segops.streaming.durability.checkpoint import AtLeastOnce
from segops.streaming.partition import applier
from segops.streaming.partition.applier import RecordApplier
from segops.streaming.partition.backfill.backfill import Backfill
from segops.streaming.publishers import BatchProducer, MessageSender

from .cluster import CRASHED


def _once() -> Path:
    return Path(os.environ["FAULTS_ONCE"])


def _die() -> None:
    _once().touch()
    os._exit(CRASHED)


def commit_first() -> None:
    """Commit the source offsets before their effects are in the changelog and the store."""

    async def run(self: Any) -> int:
        positions: dict[Any, Any] = {}
        for number in self._sources:
            positions.update(self._source_position(number))
        snapshots = await self._snapshot()
        await self._outputs.settle()
        for number, taken in snapshots.items():
            positions.update(self._segment_position(number, taken.snapshot))
        await self._commit_changed(self._changed(positions))
        if sum(len(taken.snapshot.profiles) for taken in snapshots.values()) > 5:
            _die()
        await self._write_changelog(snapshots)
        await self._write_stores(snapshots)
        for taken in snapshots.values():
            taken.processor.committed()
        return 0

    AtLeastOnce._run = run  # type: ignore[method-assign]


def no_flush() -> None:
    """Commit without waiting for the outputs, none of which is sent in time."""
    commit = AtLeastOnce._commit_changed
    settle, flush = BatchProducer.settle, BatchProducer.flush

    async def committed(self: Any, positions: Any) -> None:
        await commit(self, positions)
        if any(topic.endswith("membership.changes") for topic, _ in self._outputs._open):
            _die()
        await flush(self._outputs)

    async def unsettled(self: Any) -> None:
        if any(topic.endswith("changelog") for topic, _ in self._open):
            await settle(self)

    async def unflushed(self: Any, *, full_only: bool = False) -> None:
        if any(topic.endswith("changelog") for topic, _ in self._open):
            await flush(self)

    AtLeastOnce._commit_changed = committed  # type: ignore[method-assign]
    BatchProducer.settle, BatchProducer.flush = unsettled, unflushed  # type: ignore[method-assign]


def apply_twice() -> None:
    """Die between the store write and the commit; then apply the re-read records a second time."""
    write = AtLeastOnce._write_stores

    async def written(self: Any, snapshots: Any) -> None:
        await write(self, snapshots)
        if not _once().exists() and sum(len(taken.snapshot.profiles) for taken in snapshots.values()) > 5:
            _die()

    def event(self: Any, record: Any) -> None:
        profile = self._profiles.get(record.key.decode()).profile
        if record.offset <= profile.applied:
            profile.applied = -1
            applier.decode = _renamed  # type: ignore[attr-defined]
        try:
            apply(self, record)
        finally:
            applier.decode = events.decode  # type: ignore[attr-defined]

    apply = RecordApplier._event
    AtLeastOnce._write_stores = written  # type: ignore[method-assign]
    RecordApplier._event = event  # type: ignore[method-assign]


def _renamed(*args: Any, **named: Any) -> Any:
    event = events.decode(*args, **named)
    event.message_id += "-again"
    return event


def lose_handover() -> None:
    """Drop one handed-over profile instead of sending it, without dying."""
    send = MessageSender.send

    def lossy(self: Any, message: Any, **more: Any) -> None:
        if isinstance(message, Handover) and message.state is not None and not _once().exists():
            _once().touch()
        else:
            send(self, message, **more)

    MessageSender.send = lossy  # type: ignore[method-assign]


def lose_held() -> None:
    """Drop the first event that a profile held back while it waited for a merge."""

    def lossy(profile: Any) -> Any:
        deferred = links.end_waiting(profile)
        if deferred.held:
            _once().touch()
            deferred.held = deferred.held[1:]
        return deferred

    merging.end_waiting = lossy  # type: ignore[attr-defined]


def lose_rows() -> None:
    """Drop the history that one partition reads for a backfill, as if it had no event, without dying."""
    read = Backfill.read

    def lossy(self: Any, records: Any, start: int, end: int, **more: Any) -> bool:
        lost = bool(records) and not _once().exists()
        taken = read(self, [] if lost else records, start, end, **more)
        if lost and taken:
            _once().touch()
        return taken

    Backfill.read = lossy  # type: ignore[method-assign]


KINDS: Mapping[str, Callable[[], None]] = {
    "commit_first": lambda: None if _once().exists() else commit_first(),
    "no_flush": lambda: None if _once().exists() else no_flush(),
    "apply_twice": apply_twice,
    "lose_handover": lose_handover,
    "lose_held": lose_held,
    "lose_rows": lose_rows,
}
