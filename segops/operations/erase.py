"""Request an erasure and wait for its receipts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from segops.config import Settings
from segops.core.errors import SegopsError
from segops.kafka import definitions
from segops.kafka.clients import running_consumer, running_producer
from segops.kafka.deadlines import within
from segops.kafka.topics import partition_counts
from segops.schemas.erasures import ERASE, ErasureRequest, Receipt, decode_receipt, encode_request
from segops.schemas.records import partition_of
from segops.schemas.ticks import TYPE_HEADER

_POLL_MS = 500


async def erase(settings: Settings, request: ErasureRequest, *, wait_s: float) -> list[Receipt]:
    """Send the request and return its receipts, once every identifier of the profile has one.

    With ``wait_s`` 0 return at once. Raises SegopsError when ``wait_s`` seconds pass first.
    """
    topics = settings.topics
    retired = (await definitions.read(settings)).retired
    request = msgspec.structs.replace(request, segments=sorted({*request.segments, *retired}))
    counts = await partition_counts(settings.kafka, [topics.control, topics.receipts])
    partitions = [TopicPartition(topics.receipts, number) for number in range(counts[topics.receipts])]
    async with running_consumer(settings.kafka) as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_end(*partitions)
        for partition in partitions:  # resolve the seek now, before the request is sent
            await consumer.position(partition)
        await _send(settings, request, counts[topics.control])
        if not wait_s:
            return []
        receipts: dict[str, Receipt] = {}
        try:
            async with within(wait_s) as check:
                await _collect(consumer, request, receipts, check)
        except TimeoutError:
            count = f"{len(receipts)} receipts" if receipts else "no receipt"
            text = f"request {request.request} was sent, but {count} arrived within {wait_s:g} s"
            raise SegopsError(f"{text}; is a worker running?") from None
    return list(receipts.values())


async def _send(settings: Settings, request: ErasureRequest, partitions: int) -> None:
    key = request.profile.encode()
    async with running_producer(settings.kafka) as producer:
        await producer.send_and_wait(
            settings.topics.control,
            encode_request(request),
            key=key,
            partition=partition_of(key, partitions),
            headers=[(TYPE_HEADER, ERASE)],
        )


async def _collect(
    consumer: AIOKafkaConsumer,
    request: ErasureRequest,
    receipts: dict[str, Receipt],
    check: Callable[[], None],
) -> None:
    while not is_complete(receipts.values()):
        for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
            for record in records:
                receipt = _receipt(record.value)
                if receipt is not None and receipt.request == request.request:
                    _note(receipts, receipt)
        check()


def _note(receipts: dict[str, Receipt], receipt: Receipt) -> None:
    # A crash may leave two receipts for one identifier: keep the one that found more.
    known = receipts.get(receipt.identifier_sha256)
    if known is None or known.found in ("nothing", "nobody"):
        receipts[receipt.identifier_sha256] = receipt


def _receipt(value: bytes | None) -> Receipt | None:
    try:
        return None if value is None else decode_receipt(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def is_complete(receipts: Iterable[Receipt]) -> bool:
    """Return whether the profile itself and everything its receipt awaits have receipts.

    >>> is_complete([Receipt("r", "hash of one", "profile", 0, ["hash of another"])])
    False
    """
    found = list(receipts)
    had = {receipt.identifier_sha256 for receipt in found}
    known = any(receipt.found in ("profile", "nobody") for receipt in found)
    return known and all(had.issuperset(receipt.awaits) for receipt in found)
