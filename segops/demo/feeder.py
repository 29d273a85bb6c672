"""Sends the history to the events topic, then advances time; every delivery is checked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from segops.config import Settings
from segops.core.errors import SegopsError
from segops.demo.history import OrderHistory
from segops.demo.input_events import InputEvent
from segops.demo.life import go_on
from segops.demo.sdk import BATCH, Sdk
from segops.kafka.clients import running_producer
from segops.kafka.topics import partition_counts
from segops.operations.produce import Loader

_PRODUCER: Final = {"linger_ms": 5, "max_batch_size": 256 * 1024, "compression_type": "lz4"}
_SLICES_PER_SECOND: Final = 20
_UNPACED_SLICE: Final = 1_000
_AHEAD: Final = 4_000
_LOOK_S: Final = 0.05
_STEPS: Final = 40
_STEP_S: Final = 0.15


class Feeder:
    """Sends events; ``sent`` counts them, and the caller sets ``done`` to the number processed.

    ``rate`` is the maximum number of events per second; the feeder then also stays close to ``done``, so that
    the view shows the present instead of a backlog. 0: as fast as the broker accepts events.
    """

    def __init__(self, loader: Loader, sdk: Sdk, history: OrderHistory, *, rate: float) -> None:
        self.sent = self.done = 0
        self._sdk = sdk
        self._loader = loader
        self._history = history
        self._rate = rate

    async def events(self, until_ms: int) -> None:
        """Send the next events, up to an instant. Raises SegopsError if the broker did not accept all."""
        loop = asyncio.get_running_loop()
        started, before = loop.time(), self.sent
        for events in self._slices(until_ms, size=self._slice):
            # All events of a profile go to one partition, before and after the log-in.
            await self._loader.send_keyed((event.profile.encode(), event.line) for event in events)
            self.sent += len(events)
            if self._rate:
                await self._pause(started + (self.sent - before) / self._rate - loop.time())
        await self._loader.settle()
        self._refuse_losses()

    async def over_http(self, until_ms: int) -> None:
        """Send the next events, up to an instant, through the collector. Raises SegopsError if it refuses.

        The last one is sent twice.
        """
        loop = asyncio.get_running_loop()
        started, before, last = loop.time(), self.sent, b""
        for events in self._slices(until_ms, size=BATCH):
            await self._sdk.send([event.line for event in events])
            self.sent += len(events)
            last = events[-1].line
            if self._rate:
                await self._pause(started + (self.sent - before) / self._rate - loop.time())
        if last:
            await self._sdk.repeat([last])

    async def _pause(self, ahead_s: float) -> None:
        await asyncio.sleep(max(0.0, ahead_s))
        while self.sent - self.done > _AHEAD:
            await asyncio.sleep(_LOOK_S)

    @property
    def _slice(self) -> int:
        return max(1, int(self._rate / _SLICES_PER_SECOND)) if self._rate else _UNPACED_SLICE

    def _slices(self, until_ms: int, *, size: int) -> Iterator[Sequence[InputEvent]]:
        end = self._history.until(until_ms)
        for at in range(self.sent, end, size):
            yield self._history.events[at : min(at + size, end)]

    async def advance(self, instant_ms: int) -> None:
        """Let time advance to an instant up to which all events have been sent, in every partition."""
        await self._loader.final_tick(instant_ms)
        self._refuse_losses()

    async def time(self) -> None:
        """End the input and advance time to the end of the history.

        One tick would do; many can be watched. Raises SegopsError like ``events``.
        """
        for instant_ms in self._instants():
            await self.advance(instant_ms)
            await asyncio.sleep(_STEP_S if self._rate else 0)

    async def go_on(self) -> None:
        """Send the history again, later, until cancelled."""
        await go_on(self._loader, self._history)

    def _instants(self) -> Iterator[int]:
        last_ms, final_ms = self._history.last_ms, self._history.final_ms
        for step in range(1, _STEPS + 1):
            yield last_ms + (final_ms - last_ms) * step // _STEPS

    def _refuse_losses(self) -> None:
        deliveries = self._loader.deliveries
        if deliveries.failed:
            raise SegopsError(f"{deliveries.failed:,} records were not delivered: {deliveries.first_error}")


@asynccontextmanager
async def feeder(
    settings: Settings, sdk: Sdk, history: OrderHistory, *, rate: float
) -> AsyncIterator[Feeder]:
    """Open a feeder for the events topic and the collector. Raises UserError if no broker can be reached."""
    topic = settings.topics.events
    (partitions,) = (await partition_counts(settings.kafka, [topic])).values()
    async with running_producer(settings.kafka, **_PRODUCER) as producer:
        yield Feeder(Loader(producer, topic, partitions), sdk, history, rate=rate)
