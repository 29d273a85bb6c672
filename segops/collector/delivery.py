"""The collector's connection to Kafka: opened, watched, and opened again after an outage."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Final

from segops.collector.refusals import busy, unavailable
from segops.collector.writer import Acknowledgement, Outgoing, Writer
from segops.config import Settings
from segops.kafka.clients import running_producer
from segops.kafka.outages import Outage, Pauses, is_outage
from segops.kafka.reachability import Unreachable
from segops.kafka.topics import partition_counts

log = logging.getLogger(__name__)

#: Snappy takes a tenth of lz4's time in this client.
_PRODUCER: Final = {"max_batch_size": 512 * 1024, "compression_type": "snappy", "linger_ms": 0}
_STOP_S: Final = 2.0


class Delivery:
    """Delivers records, and says why it cannot. ``on_state`` is called when Kafka comes or goes.

    A request is refused at once while Kafka is away or has acknowledged nothing for the timeout, and when
    its records do not fit into the memory that is left.
    """

    def __init__(
        self, settings: Settings, *, now: Callable[[], float], on_state: Callable[[bool], None]
    ) -> None:
        self._settings = settings
        self._timeout_s = settings.collect.timeout_ms / 1000
        self._limit: Final = settings.collect.buffer_bytes
        self._now = now
        self._on_state = on_state
        self._outage = Outage()
        self._pauses = Pauses()
        self._connected = False
        self._writer: Writer | None = None
        self._partitions: Mapping[str, int] = {}
        #: Size in bytes of the bodies that are being received.
        self.body_bytes = 0

    @property
    def waits_for(self) -> str | None:
        """The reason why nothing can be delivered at present, or None."""
        if self._writer is None:
            return f"waiting for Kafka: {self._outage.reason or 'connecting'}"
        if self._writer.waits_s > self._timeout_s:
            return f"Kafka has acknowledged nothing for {self._writer.waits_s:.0f} s"
        return None

    @property
    def waiting_bytes(self) -> int:
        """The size in bytes of the bodies being received and of the records not acknowledged."""
        return self.body_bytes + (0 if self._writer is None else self._writer.waiting_bytes)

    def check_room(self, size: int = 0) -> None:
        """Raise RequestRefused when ``size`` more bytes are beyond the limit."""
        if self.waiting_bytes + size > self._limit:
            raise busy("too much is waiting for Kafka", close=True)

    def partitions(self, topic: str) -> int:
        """Return the number of partitions of the topic. Raises RequestRefused without Kafka."""
        if self.waits_for is not None:
            raise unavailable("Kafka does not acknowledge events at present")
        return self._partitions[topic]

    async def deliver(self, records: Collection[Outgoing]) -> None:
        """Return once Kafka has acknowledged the records. Raises RequestRefused, and may have sent them."""
        self.check_room(sum(len(record.value) for record in records))
        if self._writer is None or self.waits_for is not None:
            raise unavailable("Kafka does not acknowledge events at present")
        acknowledgements: set[Acknowledgement] = {self._writer.append(record) for record in records}
        if not acknowledgements:
            return
        done, pending = await asyncio.wait(acknowledgements, timeout=self._timeout_s)
        if pending or any(each.result() is not None for each in done):
            raise unavailable("Kafka did not acknowledge the events in time")

    async def run(self, stop: asyncio.Event) -> None:
        """Keep a connection until ``stop``. Raises UserError for wrong settings, at first; all bugs."""
        while not stop.is_set():
            try:
                await self._session(stop)
            except Exception as error:
                if not is_outage(error) or self._is_misconfigured(error):
                    raise
                self._outage.failed(error)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), self._pauses.take())

    def _is_misconfigured(self, error: Exception) -> bool:
        """Tell whether waiting cannot help: before the first session, an unknown host or a refused login."""
        return not self._connected and isinstance(error, Unreachable) and not error.transient

    async def _session(self, stop: asyncio.Event) -> None:
        topics = self._settings.topics
        self._partitions = await partition_counts(self._settings.kafka, [topics.events, topics.dead_letters])
        async with (
            asyncio.timeout(None) as limit,
            running_producer(self._settings.kafka, **_PRODUCER) as producer,
        ):
            writer = self._writer = Writer(producer, now=self._now)
            self._outage.over()
            self._pauses.reset()
            self._connected = True
            self._on_state(True)
            try:
                await self._until(stop, writer)
            finally:
                self._writer = None
                self._on_state(False)
                writer.close()
                # The client stops only once everything is delivered, and never gives up by itself.
                limit.reschedule(asyncio.get_running_loop().time() + _STOP_S)

    async def _until(self, stop: asyncio.Event, writer: Writer) -> None:
        """Return after ``stop`` when the writer has nothing left or time is up. Raises its failure."""
        stopping: asyncio.Task[bool] = asyncio.ensure_future(stop.wait())
        await asyncio.wait((stopping, writer.failed), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(writer.settle(), self._timeout_s)
        elif writer.failed.done():
            raise writer.failed.result()
