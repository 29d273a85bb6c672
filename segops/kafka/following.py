"""What copies of compacted topics share: how they are read, and when they must be read again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from segops.core.errors import SegopsError
from segops.kafka.batches import Fetched, current, fetch
from segops.wall_clock import wall_ms

#: How often it is looked whether a broker has answered that there are no records.
_LOOK_S: Final = 0.1
#: Half of the time for which compaction keeps the records that say what was deleted.
TOMBSTONES_MS: Final = 12 * 3_600_000
#: Of the consumer. A broker waits for records for a while before it says that there are none.
OPTIONS: Final = {
    "fetch_max_wait_ms": 250,
    "auto_offset_reset": "none",
    "max_partition_fetch_bytes": 1 << 20,
}


class LostRecords(SegopsError):
    """Records may be missing: all must be read again from the beginning."""


def seek(
    consumer: AIOKafkaConsumer,
    positions: Mapping[TopicPartition, int],
    begins: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
) -> None:
    """Go on at these positions. Raises LostRecords for one that the topic does not have."""
    for each, at in positions.items():
        if not begins[each] <= at <= ends[each]:
            raise LostRecords(f"{each.topic}:{each.partition} was created again or shortened")
        consumer.seek(each, at)


async def read(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]
) -> tuple[list[tuple[TopicPartition, Fetched]], Mapping[TopicPartition, int]]:
    """Return the next records, and as of when which partitions are read to their ends (ms UTC).

    Raises LostRecords if records were deleted before they were read.
    """
    try:
        found = await fetch(consumer, _LOOK_S)
    except OffsetOutOfRangeError as error:
        raise LostRecords(f"{error}") from error
    return found, await current(consumer, partitions)


def check_age(as_of_ms: int | None) -> None:
    """Raise LostRecords if what was read is so old that deletions since then may have been forgotten."""
    if as_of_ms is not None and wall_ms() - as_of_ms > TOMBSTONES_MS:
        raise LostRecords("Kafka was away for so long that deletions may have been forgotten")
