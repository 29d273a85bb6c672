"""The receipts of an erasure that has been requested before."""

from __future__ import annotations

import msgspec
from aiokafka import TopicPartition

from segops.config import Settings
from segops.kafka.clients import running_consumer
from segops.kafka.reading import read_to_end
from segops.kafka.topics import partition_counts
from segops.schemas.erasures import Receipt, decode_receipt


async def read_receipts(settings: Settings, request: str) -> list[Receipt]:
    """Return the receipts of a request, by the hash of the identifier. Raises UserError without the topic."""
    topic, found = settings.topics.receipts, dict[str, Receipt]()
    counts = await partition_counts(settings.kafka, [topic])
    partitions = [TopicPartition(topic, number) for number in range(counts[topic])]
    async with running_consumer(settings.kafka) as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        async for record in read_to_end(consumer, partitions):
            receipt = _receipt(record.value)
            if receipt is not None and receipt.request == request:
                found[receipt.identifier_sha256] = receipt
    return [each for _, each in sorted(found.items())]


def _receipt(value: bytes | None) -> Receipt | None:
    try:
        return None if value is None else decode_receipt(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
