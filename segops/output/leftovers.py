"""Rows of a format's topic that have no membership any more.

Kafka keeps a tombstone for a time only. A process that was stopped for longer never sees it, and would leave
the row of an erased person in its topic.
"""

from __future__ import annotations

from collections.abc import AsyncIterable

from aiokafka import TopicPartition

from segops.config import KafkaSettings
from segops.kafka.clients import running_consumer
from segops.kafka.copying import Output
from segops.kafka.reading import read_to_end
from segops.output.converting import TopicCopy
from segops.schemas.records import Record


async def leftovers(kafka: KafkaSettings, copy: TopicCopy, partition: int) -> list[Output]:
    """Return a tombstone for each row of a partition that the source lacks. Raises Unreachable.

    The partition of the target is read first: nothing else writes to it meanwhile.
    """
    written = await _present(kafka, TopicPartition(copy.target, partition))
    if not written or copy.row_key is None:
        return []
    members = map(copy.row_key, await _present(kafka, TopicPartition(copy.source, partition)))
    return [Output(copy.target, key, None, []) for key in sorted(written.difference(members))]


async def _present(kafka: KafkaSettings, partition: TopicPartition) -> set[bytes]:
    async with running_consumer(kafka) as consumer:
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        return await present(read_to_end(consumer, [partition]))


async def present(records: AsyncIterable[Record]) -> set[bytes]:
    """Return the keys of which the latest record has a value."""
    keys: set[bytes] = set()
    async for record in records:
        if record.key is not None:
            (keys.discard if record.value is None else keys.add)(record.key)
    return keys
