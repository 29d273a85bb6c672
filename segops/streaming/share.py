"""The share of a worker's time that work beside live records takes while live records wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol

from segops.config import Settings
from segops.kafka.positions import LogPartition
from segops.streaming.partition.segment import SegmentProcessor

#: Shorter work need not be made up for.
_LEAST_S: Final = 0.0001
#: If live records are later than this, the rest is longer in proportion, up to so many times.
_LATE_MS: Final = 100
_MOST_TIMES: Final = 10
#: Records that are later than this are a backlog, or have the timestamps of a past: not live.
_PAST_MS: Final = 60_000


class Group(Protocol):
    """The method used of the group's consumer."""

    def behind(self, partition: LogPartition, offset: int) -> int | None: ...


class Share:
    """Times such work, and leaves the rest of the time to live records (SEGOPS_BACKFILL_SHARE)."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.topics.profile_events
        self._rest = 1 / settings.engine.backfill_share - 1
        self._took_s = 0.0
        self._late_ms = 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Count the time that the block takes."""
        began = time.thread_time()
        yield
        self._took_s += time.thread_time() - began

    def note_latency(self, late_ms: int) -> None:
        """Note how long after its arrival in Kafka a live record was applied."""
        self._late_ms = late_ms

    async def rest(self, processors: Mapping[int, SegmentProcessor], group: Group) -> None:
        """Let live records go on: for as long as the share demands if any wait, longer if they are late."""
        took_s, self._took_s = self._took_s, 0.0
        waits = took_s > _LEAST_S and any(
            group.behind((self._topic, number), processor.offset) for number, processor in processors.items()
        )
        late_ms = self._late_ms if self._late_ms < _PAST_MS else 0
        times = min(max(late_ms / _LATE_MS, 1), _MOST_TIMES)
        await asyncio.sleep(took_s * self._rest * times if waits else 0)
