"""One partition of a source: its records become events in transactions that hold its offsets, too."""

from __future__ import annotations

import asyncio
import logging
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from segops.core.errors import RejectedEvent
from segops.kafka.copying import Output, PartitionReader, send_all
from segops.kafka.outages import Pauses
from segops.metrics import Metrics
from segops.schemas.dead_letters import dead_letter
from segops.schemas.events import route
from segops.schemas.identifying import IdentityLimits
from segops.schemas.records import FROM_HEADER, Record
from segops.sources.decoding import Decoder
from segops.sources.framing import UNDECODABLE
from segops.sources.mapping import UNMAPPED, events_of
from segops.sources.model import Source
from segops.sources.registry import UNKNOWN_SCHEMA, RegistryAway
from segops.wall_clock import wall_ms

log = logging.getLogger(__name__)

#: Why a record of a source is rejected, beside the reasons of events.
SOURCE_REJECTIONS: Final = (UNDECODABLE, UNKNOWN_SCHEMA, UNMAPPED)
_SLICE: Final = 100
_LOG_INTERVAL_S: Final = 60.0


class Mapped(msgspec.Struct, frozen=True):
    """What the first ``count`` records of a batch become, and how many of them are rejected, by reason.

    ``away``: why the next record has to wait, or None.
    """

    outputs: list[Output]
    count: int
    rejected: Counter[str]
    away: RegistryAway | None


class Mapper(NamedTuple):
    """The mapping in force of a source."""

    source: Source
    decoder: Decoder


class Target(NamedTuple):
    """Where events and dead letters go: topics of equally many partitions, and who may be written there."""

    events: str
    dead_letters: str
    partitions: int
    limits: IdentityLimits

    def partition_of(self, source: TopicPartition) -> int:
        """Return the partition for all records of a source's partition, so that their order is preserved."""
        number: int = source.partition
        return (zlib.crc32(source.topic.encode()) + number) % self.partitions


async def map_records(mapper: Mapper, partition: int, records: Sequence[Record], *, target: Target) -> Mapped:
    """Map records, up to the first whose schema cannot be fetched. Those without an event are left out."""
    topic, outputs, rejected = mapper.source.topic, list[Output](), Counter[str]()
    for number, record in enumerate(records):
        origin = f"{topic}:{partition}:{record.offset}"
        try:
            found = await _events(mapper, partition, record, target, origin)
        except RegistryAway as error:
            return Mapped(outputs, number, rejected, error)
        except RejectedEvent as error:
            rejected[error.reason] += 1
            key, value, headers = dead_letter(record, origin, error.reason, error.detail)
            found = [Output(target.dead_letters, key, value, headers)]
        outputs += found
        if number % _SLICE == _SLICE - 1:
            await asyncio.sleep(0)
    return Mapped(outputs, len(records), rejected, None)


async def _events(
    mapper: Mapper, partition: int, record: Record, target: Target, origin: str
) -> list[Output]:
    """Return the events of one record, each checked as workers will. Raises RejectedEvent, RegistryAway."""
    decoded = await mapper.decoder.decode(record, partition)
    if decoded is None:
        return []
    now_ms, outputs = wall_ms(), list[Output]()
    for event in events_of(mapper.source, decoded):
        routed = route(event, now_ms=now_ms, default_time_ms=record.timestamp, limits=target.limits)
        headers = [(FROM_HEADER, origin.encode())]
        outputs.append(Output(target.events, routed.profile_id.encode(), event, headers))
    return outputs


class PartitionCopier:
    """Copies one partition until cancelled. ``mapper`` returns the mapping in force."""

    def __init__(
        self,
        source: TopicPartition,
        consumer: AIOKafkaConsumer,
        *,
        mapper: Callable[[], Mapper],
        target: Target,
        group: str,
        metrics: Metrics,
        passed: Callable[[str], None],
    ) -> None:
        self._source = source
        self._consumer = consumer
        self._mapper = mapper
        self._target = target
        self._group = group
        self._metrics = metrics
        self._passed = passed
        self._labels = (source.topic, str(source.partition))

    async def run(self, producer: AIOKafkaProducer, committed: OffsetAndMetadata | None) -> None:
        """Copy from the committed offset on, else from the start of the source. ``producer`` is fenced."""
        source = self._mapper().source
        position = source.starts.get(self._source.partition, 0)
        if committed is not None and committed.metadata == str(source.since_ms):
            position = committed.offset
        reader = PartitionReader(
            self._source,
            self._consumer,
            lagging=lambda records: self._metrics.source_lag.labels(*self._labels).set(records),
            lost=lambda records: self._metrics.source_lost.labels(*self._labels).inc(records),
        )
        await reader.run(position, partial(self._copy, producer))

    async def _copy(self, producer: AIOKafkaProducer, records: Sequence[Any]) -> int:
        """Copy records in one transaction, and return how many; wait while a schema cannot be fetched."""
        mapper = self._mapper()
        mapped = await map_records(mapper, self._source.partition, records, target=self._target)
        if mapped.away is not None and not mapped.count:
            await self._wait_for_registry(mapper, records[0], mapped.away)
            return 0
        self._passed("sources_after_map")
        next_offset = records[mapped.count - 1].offset + 1
        position = OffsetAndMetadata(next_offset, str(mapper.source.since_ms))
        async with producer.transaction():
            await send_all(producer, mapped.outputs, self._target.partition_of(self._source))
            self._passed("sources_after_send")
            await producer.send_offsets_to_transaction({self._source: position}, self._group)
            self._passed("sources_after_offsets")
        self._passed("sources_after_commit")
        self._count(mapped)
        return mapped.count

    def _count(self, mapped: Mapped) -> None:
        topic, metrics = self._source.topic, self._metrics
        metrics.source_records.labels(topic).inc(mapped.count)
        metrics.source_events.labels(topic).inc(len(mapped.outputs) - mapped.rejected.total())
        for reason, number in mapped.rejected.items():
            metrics.source_rejected.labels(topic, reason).inc(number)

    async def _wait_for_registry(self, mapper: Mapper, record: Any, away: RegistryAway) -> None:
        """Wait until the record can be decoded, or the mapping changes. Other partitions go on meanwhile."""
        self._metrics.source_waiting.labels(*self._labels).set(1)
        pauses, began, reported = Pauses(), time.monotonic(), float("-inf")
        while self._mapper() is mapper:
            if time.monotonic() - reported >= _LOG_INTERVAL_S:
                reported = time.monotonic()
                log.error("%s:%d waits for the schema registry: %s", *self._source, away)
            await asyncio.sleep(pauses.take())
            try:
                await mapper.decoder.decode(record, self._source.partition)
            except RegistryAway as error:
                away = error
                continue
            except RejectedEvent:
                pass
            break
        self._metrics.source_waiting.labels(*self._labels).set(0)
        log.warning("%s:%d goes on after %.0f s", *self._source, time.monotonic() - began)
