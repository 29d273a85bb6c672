"""Sends the history to the events topic, and lets time pass afterwards; every delivery is checked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from segops.config import Settings
from segops.core.errors import SegopsError
from segops.demo.history import OrderHistory
from segops.demo.input_events import InputEvent
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
    """``sent`` counts the events handed over, ``done`` how many of them somebody has seen processed.

    ``rate`` is how many are sent a second at most; then it also never runs far ahead of ``done``, so that
    there is no backlog to look at instead of the present. 0: as fast as the broker takes them.
    """

    def __init__(self, loader: Loader, history: OrderHistory, *, rate: float) -> None:
        self.sent = self.done = 0
        self._loader = loader
        self._history = history
        self._rate = rate

    async def events(self) -> None:
        """Send all events. Raises SegopsError when the broker did not take every one."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        for moments in self._slices():
            # A person's events keep to one partition, before and after the log-in.
            await self._loader.send_keyed((moment.person.encode(), moment.line) for moment in moments)
            self.sent += len(moments)
            if self._rate:
                await self._pause(started + self.sent / self._rate - loop.time())
        await self._loader.settle()
        self._refuse_losses()

    async def _pause(self, ahead_s: float) -> None:
        await asyncio.sleep(max(0.0, ahead_s))
        while self.sent - self.done > _AHEAD:
            await asyncio.sleep(_LOOK_S)

    def _slices(self) -> Iterator[Sequence[InputEvent]]:
        size = max(1, int(self._rate / _SLICES_PER_SECOND)) if self._rate else _UNPACED_SLICE
        moments = self._history.moments
        for at in range(0, len(moments), size):
            yield moments[at : at + size]

    async def time(self) -> None:
        """Say that the events are over, and move time on to the end of the history.

        One step would do; many can be watched. Raises SegopsError like ``events``.
        """
        for instant_ms in self._instants():
            await self._loader.final_tick(instant_ms)
            self._refuse_losses()
            await asyncio.sleep(_STEP_S if self._rate else 0)

    def _instants(self) -> Iterator[int]:
        last_ms, final_ms = self._history.last_ms, self._history.final_ms
        for step in range(1, _STEPS + 1):
            yield last_ms + (final_ms - last_ms) * step // _STEPS

    def _refuse_losses(self) -> None:
        deliveries = self._loader.deliveries
        if deliveries.failed:
            raise SegopsError(f"{deliveries.failed:,} records were not delivered: {deliveries.first_error}")


@asynccontextmanager
async def feeder(settings: Settings, history: OrderHistory, *, rate: float) -> AsyncIterator[Feeder]:
    """A feeder of the events topic. UserError when no broker can be reached."""
    topic = settings.topics.events
    (partitions,) = (await partition_counts(settings.kafka, [topic])).values()
    async with running_producer(settings.kafka, **_PRODUCER) as producer:
        yield Feeder(Loader(producer, topic, partitions), history, rate=rate)
