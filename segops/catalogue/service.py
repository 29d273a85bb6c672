"""``segops catalogue run``: counts the events topic. It commits its counts with its position."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from segops.catalogue.counters import Catalogue
from segops.catalogue.published import CatalogueJournal, open_journal
from segops.config import Settings
from segops.core.errors import RejectedEvent
from segops.kafka.clients import running_consumer
from segops.kafka.sessions import Sessions
from segops.kafka.topics import partition_counts
from segops.metrics import Metrics
from segops.schemas.events import decode, route
from segops.schemas.identifying import IdentityLimits, limits_of
from segops.schemas.records import COLLECTOR_HEADER, FROM_HEADER, Headers
from segops.wall_clock import wall_ms

log = logging.getLogger(__name__)

#: The source of events that neither the collector nor a mapped topic brought.
DIRECT: Final = "-"
_POLL_MS: Final = 500
_POLL_RECORDS: Final = 500
_LAG_INTERVAL_S: Final = 5.0


def source_of(headers: Headers) -> str:
    """Return where an event came from: a source of the collector, a mapped topic, or ``-``.

    >>> source_of([("segops-from", b"orders.v1:0:17")]), source_of([])
    ('orders.v1', '-')
    """
    for name, value in headers:
        if name == COLLECTOR_HEADER:
            return value.decode(errors="replace")
        if name == FROM_HEADER:
            return value.decode(errors="replace").rsplit(":", 2)[0]
    return DIRECT


class CatalogueService:
    """The process of these settings. ``passed`` is called at each failpoint."""

    def __init__(self, settings: Settings, metrics: Metrics, *, passed: Callable[[str], None]) -> None:
        self._settings = settings
        self._metrics = metrics
        self._passed = passed
        self._sessions = Sessions()
        self._running = False

    @property
    def waits_for(self) -> str | None:
        """The reason why nothing is counted at present, or None."""
        return self._sessions.waits_for or (None if self._running else "reading the catalogue")

    async def run(self, stop: asyncio.Event) -> None:
        """Count until ``stop``. After an outage of Kafka go on from the last commit. Raises all else."""
        await self._sessions.run(lambda: self._session(stop), stop, lambda: None)

    async def _session(self, stop: asyncio.Event) -> None:
        self._running = False
        settings, topic = self._settings, self._settings.topics.events
        count = (await partition_counts(settings.kafka, [topic]))[topic]
        partitions = [TopicPartition(topic, number) for number in range(count)]
        async with (
            open_journal(settings, passed=self._passed) as (journal, stored),
            running_consumer(settings.kafka) as consumer,
        ):
            catalogue = Catalogue(stored.progress.salt, settings.catalogue.profiles)
            for entry in stored.entries:
                catalogue.add(entry)
            counter = _Counter(catalogue, limits_of(settings), self._metrics)
            consumer.assign(partitions)
            for each in partitions:
                consumer.seek(
                    each, await _retained(consumer, each, stored.progress.offsets.get(each.partition, 0))
                )
            self._sessions.connected()
            self._running = True
            await self._count(consumer, partitions, counter, journal, stop)

    async def _count(
        self,
        consumer: AIOKafkaConsumer,
        partitions: Sequence[TopicPartition],
        counter: _Counter,
        journal: CatalogueJournal,
        stop: asyncio.Event,
    ) -> None:
        """Count until ``stop``, and commit at each interval in which there was anything."""
        interval_s = self._settings.catalogue.interval_ms / 1000
        committed, due_s, lag_due_s = None, time.monotonic(), time.monotonic()
        while True:
            ending = stop.is_set()
            try:
                found = (
                    {} if ending else await consumer.getmany(timeout_ms=_POLL_MS, max_records=_POLL_RECORDS)
                )
            except OffsetOutOfRangeError as error:
                for each, offset in error.args[0].items():
                    consumer.seek(each, await _retained(consumer, each, offset))
                continue
            for records in found.values():
                counter.count(records)
                await asyncio.sleep(0)
            offsets = {each.partition: await consumer.position(each) for each in partitions}
            if offsets != committed and (ending or time.monotonic() >= due_s):
                await journal.commit(counter.catalogue, offsets)
                committed, due_s = offsets, time.monotonic() + interval_s
            if ending:
                return
            if time.monotonic() >= lag_due_s:
                await self._export_lag(consumer, partitions, offsets)
                lag_due_s = time.monotonic() + _LAG_INTERVAL_S

    async def _export_lag(
        self, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], offsets: dict[int, int]
    ) -> None:
        """Export how many events are not counted; raises an error while Kafka is away, unlike a poll."""
        for each, end in (await consumer.end_offsets(partitions)).items():
            self._metrics.catalogue_lag.labels(str(each.partition)).set(end - offsets[each.partition])


class _Counter:
    def __init__(self, catalogue: Catalogue, limits: IdentityLimits, metrics: Metrics) -> None:
        self.catalogue = catalogue
        self._limits = limits
        self._metrics = metrics

    def count(self, records: Sequence[Any]) -> None:
        """Count what the engine accepts of these records."""
        now_ms, rejected = wall_ms(), 0
        for record in records:
            try:
                routed = route(
                    record.value, now_ms=now_ms, default_time_ms=record.timestamp, limits=self._limits
                )
                event = decode(record.value, time_ms=routed.time_ms, default_id="", limits=self._limits)
            except RejectedEvent:
                rejected += 1
                continue
            self.catalogue.observe(source_of(record.headers), event, routed.profile_id)
        self._metrics.catalogue_events.labels("counted").inc(len(records) - rejected)
        self._metrics.catalogue_events.labels("rejected").inc(rejected)
        self._metrics.catalogue_entries.set(len(self.catalogue.entries))


async def _retained(consumer: AIOKafkaConsumer, partition: TopicPartition, position: int) -> int:
    """Return the position, or the first record if the topic lost that one or was created again."""
    first = (await consumer.beginning_offsets([partition]))[partition]
    end = (await consumer.end_offsets([partition]))[partition]
    if first <= position <= end:
        return position
    if position:
        log.error("%s:%d: %d was deleted uncounted, or the topic was created again", *partition, position)
    return int(first)
