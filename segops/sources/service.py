"""The process that copies the records of all sources: a consumer group of its own, one task per partition."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from segops.config import Settings
from segops.core.errors import SegopsError
from segops.kafka.clients import running_admin, running_consumer, running_producer
from segops.kafka.coordinator import once_available
from segops.kafka.partition_tasks import PartitionTasks, Rebalances, cancel_all
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

#: A partition may wait for the registry for as long as it takes: transactional ids fence, not this limit.
_PATIENCE_MS: Final = 2_000_000_000
_REBALANCE_MS: Final = 60_000
_TRANSACTION_MS: Final = 60_000
_MISSING_CHECK_S: Final = 10.0
_PRODUCER: Final = {"linger_ms": 5, "max_batch_size": 256 * 1024, "compression_type": "snappy"}


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
        if self._sessions.reason is not None:
            return f"waiting for Kafka: {self._sessions.reason}"
        return None if self._mappers else "no source is published"

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
                ending: list[asyncio.Future[Any]] = [
                    asyncio.ensure_future(stop.wait()),
                    failure,
                    asyncio.ensure_future(self._watch(changes, registry)),
                    asyncio.ensure_future(self._await_topics(missing)),
                ]
                try:
                    done, _ = await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
                    for each in done:
                        each.result()
                finally:
                    await cancel_all(ending)

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
        async with running_consumer(self._settings.kafka, **self._group_options()) as consumer:
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

    def _group_options(self) -> dict[str, Any]:
        return {
            "group_id": group_of(self._settings),
            "auto_offset_reset": "none",
            "session_timeout_ms": self._settings.worker.session_timeout_ms,
            "rebalance_timeout_ms": _REBALANCE_MS,
            "max_poll_interval_ms": _PATIENCE_MS,
        }

    def _start_copier(self, consumer: AIOKafkaConsumer, target: Target) -> Callable[[TopicPartition], Any]:
        group = group_of(self._settings)

        async def copy(source: TopicPartition) -> None:
            options = {
                **_PRODUCER,
                "transactional_id": f"{group}-{source.topic}-{source.partition}",
                "transaction_timeout_ms": _TRANSACTION_MS,
            }
            copier = PartitionCopier(
                source,
                consumer,
                mapper=lambda: self._mappers[source.topic],
                target=target,
                group=group,
                metrics=self._metrics,
                passed=self._passed,
            )
            async with running_producer(self._settings.kafka, **options) as producer:
                await copier.run(producer, await self._committed(group, source))

        return copy

    async def _committed(self, group: str, source: TopicPartition) -> OffsetAndMetadata | None:
        async with running_admin(self._settings.kafka) as admin:
            found = await once_available(
                lambda: admin.list_consumer_group_offsets(group, partitions=[source])
            )
        at = found.get(source)
        return at if at is not None and at.offset >= 0 else None


def _subscribed(mappers: Mapping[str, Mapper]) -> set[tuple[str, int]]:
    """Return the topics that are read, each with when it became a source."""
    return {(topic, each.source.since_ms) for topic, each in mappers.items()}
