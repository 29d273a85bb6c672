"""The violations topic as its readers see it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator
from typing import Any, Final

from segops.config import Settings
from segops.kafka import reading
from segops.kafka.clients import running_consumer
from segops.kafka.topics import single_partition
from segops.tracking.violations import ViolationRecord, decode

_POLL_MS: Final = 500


async def published_since(settings: Settings, since_ms: int) -> AsyncGenerator[list[ViolationRecord], None]:
    """Yield the published violations since an instant, perhaps none, then the later ones as they come.

    Runs until closed. Raises UserError if the topic is missing.
    """
    partition = await single_partition(settings.kafka, settings.topics.violations)
    async with running_consumer(settings.kafka) as consumer:
        consumer.assign([partition])
        begin = (await consumer.offsets_for_times({partition: max(0, since_ms)}))[partition]
        if begin is None:
            await consumer.seek_to_end(partition)
        else:
            consumer.seek(partition, begin.offset)
        yield list(_decoded([each async for each in reading.read_to_end(consumer, [partition])]))
        while True:
            records = (await consumer.getmany(partition, timeout_ms=_POLL_MS)).get(partition, [])
            if records:
                yield list(_decoded(records))


def _decoded(records: Iterable[Any]) -> Iterator[ViolationRecord]:
    for record in records:
        found = decode(record.value)
        if found is not None:
            yield found
