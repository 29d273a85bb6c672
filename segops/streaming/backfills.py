"""Reads the past records that the backfills of a worker's partitions need, in a share of its time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Final, Protocol

from segops.archive.history import HistoryBatch
from segops.archive.sources import open_history
from segops.config import Settings
from segops.core.engine import Engine
from segops.core.errors import SegopsError
from segops.kafka.definitions import Published
from segops.metrics import Metrics
from segops.schemas.records import Record
from segops.streaming.failpoints import Failpoints
from segops.streaming.partition.backfill.adoption import DraftSet, adoption_of
from segops.streaming.partition.engines import build_draft
from segops.streaming.partition.segment import SegmentProcessor
from segops.streaming.share import Group, Share
from segops.wall_clock import wall_ms

log = logging.getLogger(__name__)

_LOOK_S: Final = 0.2
_RETRY_S: Final = 5.0
#: Records read between two batches of events, which wait meanwhile.
_SLICE: Final = 200


class SegmentProcessors(Protocol):
    """The methods used of the pipeline."""

    @property
    def processors(self) -> dict[int, SegmentProcessor]: ...
    @property
    def running(self) -> bool: ...


class BackfillReader:
    """Reads the history of one partition after another, from the archive too if one is configured."""

    def __init__(self, settings: Settings, share: Share, metrics: Metrics, failpoints: Failpoints) -> None:
        self._history = open_history(settings, settings.topics.profile_events)
        self._share = share
        self._metrics = metrics
        self._failpoints = failpoints

    async def run(self, pipeline: SegmentProcessors, group: Callable[[], Group]) -> None:
        """Read whatever backfills need. Runs until cancelled; an unreachable broker is tried again."""
        while True:
            waiting = [number for number, processor in pipeline.processors.items() if processor.backfill.gap]
            # Partitions that apply nothing until their rows are there come first.
            for number in sorted(waiting, key=lambda each: not pipeline.processors[each].backfill.is_blocked):
                await self._try(number, pipeline, group)
            await asyncio.sleep(_LOOK_S)

    async def _try(self, number: int, pipeline: SegmentProcessors, group: Callable[[], Group]) -> None:
        try:
            await self._fill(number, pipeline, group)
        except SegopsError as error:
            if not pipeline.running:
                return
            log.error("history of partition %d, retrying in %.0f s: %s", number, _RETRY_S, error)
            await asyncio.sleep(_RETRY_S)

    async def _fill(self, number: int, pipeline: SegmentProcessors, group: Callable[[], Group]) -> None:
        """Read the first gap of a partition to its end, or until the gap or its owner changes."""
        processor = pipeline.processors.get(number)
        gap = None if processor is None else processor.backfill.gap
        if processor is None or gap is None:
            return
        (at, end), from_ms = gap, processor.backfill.from_ms
        batches = self._history.read(number, from_ms=from_ms, to_offset=end, from_offset=at)
        async with aclosing(batches):
            async for batch in batches:
                for records, upto in _slices(batch):
                    if not (pipeline.running and pipeline.processors.get(number) is processor):
                        return
                    with self._share.taken():
                        taken = processor.backfill.read(records, at, upto, since_ms=batch.complete_since_ms)
                    if not taken:
                        return
                    self._failpoints.passed("during_backfill_read")
                    self._metrics.backfill_records.inc(len(records))
                    at = upto
                    await self._share.rest(pipeline.processors, group())
        if pipeline.running and pipeline.processors.get(number) is processor:
            processor.backfill.read((), at, end, since_ms=None)  # only transaction markers are left


def _slices(batch: HistoryBatch) -> Iterator[tuple[Sequence[Record], int]]:
    """Yield the records in slices, each with the offset from which the next one begins."""
    records = batch.records
    for start in range(0, len(records), _SLICE):
        last = start + _SLICE >= len(records)
        few = records[start : start + _SLICE]
        yield few, batch.next_offset if last else few[-1].offset + 1
    if not records:
        yield (), batch.next_offset


def is_blocked(processors: Mapping[int, SegmentProcessor]) -> bool:
    """Return whether a partition may apply nothing until its rows are read again."""
    return any(processor.backfill.is_blocked for processor in processors.values())


def draft_in(published: Published, engine: Engine) -> DraftSet | None:
    """Compile the draft of the open plan that needs history, if any; ``engine`` is of what is published."""
    planned = published.planned
    draft = None if planned is None else build_draft(published.draft, engine)
    return None if planned is None or draft is None else DraftSet(planned.id, draft, planned.expires_ms)


def is_behind(processors: Mapping[int, SegmentProcessor], engine: Engine, draft: DraftSet | None) -> bool:
    """Return whether a partition can adopt these definitions or this draft now and has not done so."""
    draft = _open(draft)
    return any(each.wants(engine, draft) and not each.replaying for each in processors.values())


def adopt(processors: Mapping[int, SegmentProcessor], engine: Engine, draft: DraftSet | None) -> None:
    """Let the partitions that can do so now adopt these definitions, and the draft unless it has expired."""
    draft = _open(draft)
    for processor in processors.values():
        if not processor.replaying:
            processor.use(engine, draft)


def _open(draft: DraftSet | None) -> DraftSet | None:
    return draft if draft is not None and wall_ms() < draft.until_ms else None


async def prepare(processors: Mapping[int, SegmentProcessor], engine: Engine, draft: DraftSet | None) -> None:
    """Compile what ``use`` of these definitions needs, in a thread: events are processed meanwhile."""
    for former in {processor.in_force for processor in processors.values()}:
        await asyncio.to_thread(adoption_of, former, engine)
        if draft is not None and former.version == engine.version:
            await asyncio.to_thread(adoption_of, former, draft.engine)
