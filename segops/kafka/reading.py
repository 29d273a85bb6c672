"""Read partitions to their current end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

_POLL_MS: Final = 500


async def read_to_end(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
) -> AsyncGenerator[Any, None]:
    """Yield the records of assigned partitions, from the current positions to the current ends of the logs.

    Records that arrive meanwhile may follow. Compaction and transaction markers leave gaps in the offsets, so
    the consumer's position, not the offset of a record, shows that the end is reached.
    """
    ends = await consumer.end_offsets(partitions)
    while any([await consumer.position(partition) < end for partition, end in ends.items()]):
        for records in (await consumer.getmany(*partitions, timeout_ms=_POLL_MS)).values():
            for record in records:
                yield record
