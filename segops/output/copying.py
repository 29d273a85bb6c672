"""One partition of a membership topic: copied in a format, in transactions that hold its offsets, too."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from segops.config import KafkaSettings
from segops.kafka.copying import PartitionReader, send_all
from segops.metrics import Metrics
from segops.output.converting import TopicCopy, convert_all
from segops.output.leftovers import leftovers
from segops.wall_clock import wall_ms

log = logging.getLogger(__name__)

#: Half of the time for which Kafka keeps tombstones by default: within it, none can have been missed.
_FRESH_MS: Final = 12 * 3_600_000
_SLICE: Final = 1_000


class Written(NamedTuple):
    """What the metadata of a committed offset say: in which form the rows before it are written, and when.

    >>> Written.read(str(Written("1/rows", 1_760_000_000_000)))
    Written(form='1/rows', at_ms=1760000000000)
    >>> Written.read("")
    Written(form='', at_ms=0)
    """

    form: str
    at_ms: int

    def __str__(self) -> str:
        return f"{self.form} {self.at_ms}"

    @classmethod
    def read(cls, metadata: str) -> Written:
        """Read metadata; those of another program are as old as can be."""
        form, _, at_ms = metadata.rpartition(" ")
        return cls(form, int(at_ms)) if at_ms.isdecimal() else cls("", 0)


class OutputCopier:
    """Copies one partition until cancelled. ``form`` names the form of the rows that it writes."""

    def __init__(
        self,
        source: TopicPartition,
        consumer: AIOKafkaConsumer,
        *,
        topics: TopicCopy,
        form: str,
        kafka: KafkaSettings,
        group: str,
        metrics: Metrics,
        passed: Callable[[str], None],
    ) -> None:
        self._source = source
        self._consumer = consumer
        self._topics = topics
        self._form = form
        self._kafka = kafka
        self._group = group
        self._metrics = metrics
        self._passed = passed

    async def run(self, producer: AIOKafkaProducer, committed: OffsetAndMetadata | None) -> None:
        """Copy from the committed offset on, else from the beginning. ``producer`` is fenced.

        All is copied again into a new topic, and rows that are written in another form. Rows whose deletion
        may have been missed are looked for, and deleted.
        """
        labels = self._source.topic, str(self._source.partition)
        reader = PartitionReader(
            self._source,
            self._consumer,
            lagging=lambda records: self._metrics.output_lag.labels(*labels).set(records),
            lost=lambda records: self._metrics.output_lost.labels(*labels).inc(records),
        )
        position = 0 if committed is None or await self._target_is_new() else committed.offset
        if self._topics.row_key is not None:
            written = Written.read("" if committed is None else committed.metadata)
            if written.form != self._form:
                position = 0
            if not position or wall_ms() - written.at_ms > _FRESH_MS:
                await self._delete_leftovers(producer)
        await reader.run(position, partial(self._copy, producer))

    async def _target_is_new(self) -> bool:
        target = TopicPartition(*self._target)
        return not (await self._consumer.end_offsets([target]))[target]

    async def _delete_leftovers(self, producer: AIOKafkaProducer) -> None:
        found = await leftovers(self._kafka, self._topics, self._source.partition)
        for start in range(0, len(found), _SLICE):
            async with producer.transaction():
                await send_all(producer, found[start : start + _SLICE], self._source.partition)
        if found:
            log.warning("%s:%d: deleted %d rows without a membership", *self._target, len(found))

    @property
    def _target(self) -> tuple[str, int]:
        return self._topics.target, self._source.partition

    async def _copy(self, producer: AIOKafkaProducer, records: Sequence[Any]) -> int:
        """Copy records in one transaction, and return how many."""
        converted = convert_all(self._topics, records)
        position = OffsetAndMetadata(records[-1].offset + 1, str(Written(self._form, wall_ms())))
        async with producer.transaction():
            await send_all(producer, converted.outputs, self._source.partition)
            self._passed("output_after_send")
            await producer.send_offsets_to_transaction({self._source: position}, self._group)
            self._passed("output_after_offsets")
        self._passed("output_after_commit")
        self._metrics.output_records.labels(self._topics.target).inc(len(converted.outputs))
        self._metrics.output_skipped.labels(self._source.topic).inc(converted.skipped)
        return len(records)
