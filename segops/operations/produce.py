"""Send raw events to a topic, byte for byte, and check every delivery."""

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
from segops.schemas.record_keys import record_key
from segops.schemas.ticks import TICK_HEADERS

log = logging.getLogger(__name__)

_PRODUCER: Final = {
    "linger_ms": 5,
    "max_batch_size": 256 * 1024,
    "compression_type": "lz4",
}
_SLICES_PER_SECOND: Final = 20


@dataclass
class Deliveries:
    """Counts of records sent, acknowledged and failed; ``ticks`` of the records sent are ticks."""

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
    """Sends lines to one topic and counts the deliveries."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, partitions: int) -> None:
        self.deliveries = Deliveries()
        self._producer = producer
        self._topic = topic
        self._partitions = partitions

    async def send(self, lines: Iterable[bytes]) -> None:
        """Send one record per line. Blocks while the producer's buffers are full."""
        await self.send_keyed((record_key(line), line) for line in lines)

    async def send_keyed(self, records: Iterable[tuple[bytes | None, bytes]]) -> None:
        """Send records with the given keys. Blocks while the producer's buffers are full."""
        for key, line in records:
            await self._send(line, key=key)

    async def final_tick(self, watermark_ms: int) -> None:
        """Send a tick to every partition: all its input up to time ``watermark_ms`` has been sent."""
        await self.settle()
        value = msgspec.json.encode({"watermark_ms": watermark_ms, "end": True})
        for partition in range(self._partitions):
            self.deliveries.ticks += 1
            await self._send(value, partition=partition, headers=TICK_HEADERS)
        await self.settle()

    async def settle(self) -> None:
        """Wait until the delivery of every record sent has succeeded or failed."""
        await self._producer.flush()
        # Event-loop callbacks count the deliveries, and may run one iteration after the flush.
        while self.deliveries.acknowledged + self.deliveries.failed < self.deliveries.sent:
            await asyncio.sleep(0)

    async def _send(self, value: bytes, **options: Any) -> None:
        self.deliveries.sent += 1
        try:
            delivery = await self._buffer(value, options)
        except Exception as error:  # rejected by the client: too large, or the producer has failed
            self.deliveries.failed += 1
            self.deliveries.first_error = self.deliveries.first_error or error
        else:
            delivery.add_done_callback(self.deliveries.note)

    async def _buffer(self, value: bytes, options: Mapping[str, Any]) -> asyncio.Future[Any]:
        """Add a record to the producer's buffer, retrying until there is room: an outage may be long."""
        while True:
            try:
                delivery: asyncio.Future[Any] = await self._producer.send(self._topic, value, **options)
            except KafkaTimeoutError:
                log.warning("the brokers accept no records: %d are waiting", self._waiting)
            else:
                return delivery

    @property
    def _waiting(self) -> int:
        return self.deliveries.sent - self.deliveries.acknowledged - self.deliveries.failed


@dataclass(frozen=True, slots=True)
class Load:
    """A topic, the maximum rate in records per second, and the time at which the input ends, if it does."""

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
    """Send every line of ``slices`` and return the counts. A failed delivery is counted, not raised.

    Sends the final tick only when every delivery succeeded. Raises UserError when no broker is reachable or
    the topic does not exist.
    """
    (partitions,) = (await partition_counts(settings.kafka, [load.topic])).values()
    async with running_producer(settings.kafka, **_PRODUCER) as producer:
        disable_expiry(producer)
        loader = Loader(producer, load.topic, partitions)
        async for lines in _paced(slices, load.rate):
            await loader.send(lines)
            on_progress(loader.deliveries)
        await loader.settle()
        if load.final_tick_ms is not None and not loader.deliveries.failed:
            await loader.final_tick(load.final_tick_ms)
    return loader.deliveries


def disable_expiry(producer: AIOKafkaProducer) -> None:
    """Keep buffered records until a broker accepts them; by default they expire after the request timeout."""
    producer._message_accumulator._batch_ttl = math.inf  # noqa: SLF001 - the client has no option for it


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
