"""The process that copies the records of all sources: a consumer group of its own, one task per partition."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from segops.config import Settings
from segops.core.errors import SegopsError
from segops.kafka.clients import running_consumer
from segops.kafka.copying import group_options, taking_over, until_first
from segops.kafka.partition_tasks import PartitionTasks, Rebalances
from segops.kafka.sessions import Sessions
from segops.kafka.topics import existing, partition_counts
from segops.metrics import Metrics
from segops.schemas.identifying import limits_of
from segops.sources.copying import Mapper, PartitionCopier, Target
from segops.sources.decoding import Decoder
from segops.sources.model import Source
from segops.sources.published import topic_of
from segops.sources.registry import Registry

log = logging.getLogger(__name__)

_MISSING_CHECK_S: Final = 10.0


def group_of(settings: Settings) -> str:
    """Return the consumer group of the processes that copy sources."""
    return f"{settings.worker.app_id}-sources"


class SourceService:
    """The process of these settings. ``passed`` is called at each failpoint."""

    def __init__(self, settings: Settings, metrics: Metrics, *, passed: Callable[[str], None]) -> None:
        self._settings = settings
        self._metrics = metrics
        self._passed = passed
        self._sessions = Sessions()
        self._mappers: dict[str, Mapper] = {}

    @property
    def waits_for(self) -> str | None:
        """The reason why no source is read at present, or None."""
        return self._sessions.waits_for or (None if self._mappers else "no source is published")

    async def run(self, stop: asyncio.Event) -> None:
        """Copy until ``stop``. After an outage of Kafka go on from the committed offsets. Raises all else."""
        await self._sessions.run(lambda: self._session(stop), stop, self._mappers.clear)

    async def _session(self, stop: asyncio.Event) -> None:
        """Copy the sources that are published, until there are others or ``stop``."""
        async with (
            Registry(self._settings.sources) as registry,
            aclosing(topic_of(self._settings).follow()) as changes,
        ):
            self._mappers = {}  # their decoders hold the registry of the former session
            self._mappers = self._mappers_of(await anext(changes), registry)
            self._sessions.connected()
            failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            async with self._copying(failure) as missing:
                await until_first(
                    stop.wait(), failure, self._watch(changes, registry), self._await_topics(missing)
                )

    def _mappers_of(self, sources: Mapping[str, Source], registry: Registry) -> dict[str, Mapper]:
        """Return what maps these sources; of a source that did not change, the present one."""
        known, found = self._mappers, dict[str, Mapper]()
        for topic, source in sources.items():
            if topic in known and known[topic].source == source:
                found[topic] = known[topic]
                continue
            try:
                found[topic] = Mapper(source, Decoder(source, registry))
            except SegopsError as error:  # a library is missing, or another client wrote the record
                log.error("%s is not read: %s", topic, error)
        return found

    async def _watch(self, changes: AsyncIterator[dict[str, Source]], registry: Registry) -> None:
        """Follow the sources: take a changed mapping between two transactions; end if there are others."""
        async for sources in changes:
            mappers = self._mappers_of(sources, registry)
            if _subscribed(mappers) != _subscribed(self._mappers):
                log.info("the sources are now: %s", ", ".join(sorted(sources)) or "none")
                return  # the running copiers keep their mappings until they are stopped
            self._mappers = mappers
            log.info("mappings have changed")

    async def _await_topics(self, missing: Collection[str]) -> None:
        """Return once one of these topics exists."""
        while True:
            await asyncio.sleep(_MISSING_CHECK_S)
            if missing and not (await existing(self._settings.kafka)).keys().isdisjoint(missing):
                return

    @asynccontextmanager
    async def _copying(self, failure: asyncio.Future[None]) -> AsyncIterator[Collection[str]]:
        """Copy in tasks during the block; provide the topics that do not exist."""
        topics = self._settings.topics
        counts = await partition_counts(self._settings.kafka, [topics.events, topics.dead_letters])
        known = await existing(self._settings.kafka)
        missing = sorted(self._mappers.keys() - known.keys())
        for topic in missing:
            log.error("%s does not exist", topic)
        target = Target(topics.events, topics.dead_letters, min(counts.values()), limits_of(self._settings))
        options = group_options(group_of(self._settings), self._settings.worker.session_timeout_ms)
        async with running_consumer(self._settings.kafka, **options) as consumer:
            copiers = PartitionTasks(self._start_copier(consumer, target), failure, self._forget)
            present = self._mappers.keys() & known.keys()
            if present:
                consumer.subscribe(sorted(present), listener=Rebalances(consumer, copiers))
            try:
                yield missing
            finally:
                await copiers.stop(copiers.running())

    def _forget(self, source: TopicPartition) -> None:
        self._metrics.forget_source(source.topic, source.partition)

    def _start_copier(self, consumer: AIOKafkaConsumer, target: Target) -> Callable[[TopicPartition], Any]:
        group = group_of(self._settings)

        async def copy(source: TopicPartition) -> None:
            copier = PartitionCopier(
                source,
                consumer,
                mapper=lambda: self._mappers[source.topic],
                target=target,
                group=group,
                metrics=self._metrics,
                passed=self._passed,
            )
            async with taking_over(self._settings.kafka, group, source) as (producer, committed):
                await copier.run(producer, committed)

        return copy


def _subscribed(mappers: Mapping[str, Mapper]) -> set[tuple[str, int]]:
    """Return the topics that are read, each with when it became a source."""
    return {(topic, each.source.since_ms) for topic, each in mappers.items()}
