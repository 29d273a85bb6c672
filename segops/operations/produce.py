"""Sending raw events to a topic: the bytes as they are, every delivery checked."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaTimeoutError

from segops.config import Settings
from segops.kafka.clients import running_producer
from segops.kafka.topics import partition_counts
from segops.schemas.identifying import number_text
from segops.schemas.mending import without_surrogates
from segops.schemas.ticks import TICK_HEADERS

log = logging.getLogger(__name__)

_PRODUCER: Final = {
    "linger_ms": 5,
    "max_batch_size": 256 * 1024,
    "compression_type": "lz4",
}
_SLICES_PER_SECOND: Final = 20


class _Ids(msgspec.Struct):
    userId: Any = None
    anonymousId: Any = None


_ids = msgspec.json.Decoder(_Ids)


def record_key(line: bytes) -> bytes | None:
    """The record key of an event: its userId, else its anonymousId, else none.

    >>> record_key(b'{"userId": "u1", "anonymousId": "a1"}')
    b'u1'
    >>> record_key(b'{"anonymousId": 7.0}'), record_key(b"no event")
    (b'7', None)
    """
    try:
        ids = _ids.decode(line)
    except msgspec.ValidationError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError):  # no JSON, or half an emoji in it
        whole = without_surrogates(line)
        return None if whole == line else record_key(whole)
    for value in (ids.userId, ids.anonymousId):
        text = value if isinstance(value, str) else number_text(value)
        if text:
            return text.encode()
    return None


@dataclass
class Deliveries:
    """How many records were handed over, and what the broker said of them; ``ticks`` of them were ticks."""

    sent: int = 0
    ticks: int = 0
    acknowledged: int = 0
    failed: int = 0
    first_error: BaseException | None = None

    def note(self, delivery: asyncio.Future[Any]) -> None:
        """Count one delivery report."""
        error = delivery.exception()
        if error is None:
            self.acknowledged += 1
            return
        self.failed += 1
        self.first_error = self.first_error or error


class Loader:
    """Sends lines to one topic and counts what became of them."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, partitions: int) -> None:
        self.deliveries = Deliveries()
        self._producer = producer
        self._topic = topic
        self._partitions = partitions

    async def send(self, lines: Iterable[bytes]) -> None:
        """Hand over one record a line; waits while the producer's buffers are full."""
        await self.send_keyed((record_key(line), line) for line in lines)

    async def send_keyed(self, records: Iterable[tuple[bytes | None, bytes]]) -> None:
        """The same, with the record keys given."""
        for key, line in records:
            await self._send(line, key=key)

    async def final_tick(self, watermark_ms: int) -> None:
        """Say in every partition that its events are over and time is ``watermark_ms``: call it last."""
        await self.settle()
        value = msgspec.json.encode({"watermark_ms": watermark_ms, "end": True})
        for partition in range(self._partitions):
            self.deliveries.ticks += 1
            await self._send(value, partition=partition, headers=TICK_HEADERS)
        await self.settle()

    async def settle(self) -> None:
        """Wait until the broker has answered for every record handed over."""
        await self._producer.flush()
        # Reports are counted by callbacks of the loop, which may run a turn after the flush.
        while self.deliveries.acknowledged + self.deliveries.failed < self.deliveries.sent:
            await asyncio.sleep(0)

    async def _send(self, value: bytes, **where: Any) -> None:
        self.deliveries.sent += 1
        try:
            delivery = await self._accepted(value, where)
        except Exception as error:  # refused before it was sent: too large, or the producer has failed
            self.deliveries.failed += 1
            self.deliveries.first_error = self.deliveries.first_error or error
        else:
            delivery.add_done_callback(self.deliveries.note)

    async def _accepted(self, value: bytes, where: Mapping[str, Any]) -> asyncio.Future[Any]:
        """Hand one record over, as soon as there is room: brokers may be away for long."""
        while True:
            try:
                delivery: asyncio.Future[Any] = await self._producer.send(self._topic, value, **where)
            except KafkaTimeoutError:
                log.warning("brokers take no records now: %d wait", self._waiting)
            else:
                return delivery

    @property
    def _waiting(self) -> int:
        return self.deliveries.sent - self.deliveries.acknowledged - self.deliveries.failed


@dataclass(frozen=True, slots=True)
class Load:
    """Where to, at how many records a second at most, and the instant at which the input ends, if it does."""

    topic: str
    rate: float | None = None
    final_tick_ms: int | None = None


def _ignore(_deliveries: Deliveries) -> None:
    pass


async def send_all(
    settings: Settings,
    load: Load,
    slices: AsyncIterable[Sequence[bytes]],
    *,
    on_progress: Callable[[Deliveries], None] = _ignore,
) -> Deliveries:
    """Send every line of ``slices``; the result counts what failed, and no failed delivery raises.

    The final tick is only sent when all was delivered. Raises UserError when no broker can be reached or
    the topic does not exist.
    """
    (partitions,) = (await partition_counts(settings.kafka, [load.topic])).values()
    async with running_producer(settings.kafka, **_PRODUCER) as producer:
        keep_all(producer)
        loader = Loader(producer, load.topic, partitions)
        async for lines in _paced(slices, load.rate):
            await loader.send(lines)
            on_progress(loader.deliveries)
        await loader.settle()
        if load.final_tick_ms is not None and not loader.deliveries.failed:
            await loader.final_tick(load.final_tick_ms)
    return loader.deliveries


def keep_all(producer: AIOKafkaProducer) -> None:
    """Let no record expire while it waits for a broker; the client gives up after a request's time-out."""
    producer._message_accumulator._batch_ttl = math.inf  # noqa: SLF001 - no option of the client's


async def _paced(
    slices: AsyncIterable[Sequence[bytes]], rate: float | None
) -> AsyncIterator[Sequence[bytes]]:
    loop = asyncio.get_running_loop()
    started, sent = loop.time(), 0
    async for lines in slices:
        size = len(lines) if rate is None else max(1, int(rate / _SLICES_PER_SECOND))
        for at in range(0, len(lines), size or 1):
            part = lines[at : at + size]
            yield part
            sent += len(part)
            if rate is not None:
                await asyncio.sleep(started + sent / rate - loop.time())
