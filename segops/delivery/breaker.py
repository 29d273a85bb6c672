"""The breaker: what is sent never exceeds an audience's limits, whichever processes send it.

Before messages are sent, their number is reserved in a log that all processes read. Each reads its own
reservation back and decides it by those before it, so that all decide the same; and what was reserved before
a ``kill -9`` stays used.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final, Literal
from uuid import uuid4

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from segops.analytics.reader import follow_sizes
from segops.analytics.sizes import SegmentSizes
from segops.config import Settings
from segops.core.audiences.budgets import LONGEST_MS, Budgets, Kind, Reservation, exceeded, paced, rate_of
from segops.core.audiences.model import AudienceRecord, Rate
from segops.core.errors import UserError
from segops.delivery.board import Board
from segops.kafka.clients import running_consumer, running_producer
from segops.kafka.copying import until_first
from segops.kafka.topics import single_partition
from segops.operations.audiences.actions import trip
from segops.wall_clock import wall_ms

log = logging.getLogger(__name__)

_POLL_MS: Final = 1_000
_AGAIN_S: Final = 0.2
_PRODUCER: Final = {"linger_ms": 0}

_encode = msgspec.json.Encoder().encode
_reservation = msgspec.json.Decoder(Reservation)


class Breaker:
    """The breaker of a process. ``run`` must be running while reservations are made."""

    def __init__(self, settings: Settings, board: Board) -> None:
        self._settings = settings
        self._board = board
        self._budgets = Budgets()
        self._waiting: dict[str, asyncio.Future[bool]] = {}
        self._producer: AIOKafkaProducer
        self._ready = asyncio.Event()
        self._holding: set[str] = set()

    async def run(self) -> None:
        """Read the log, and watch the sizes of audiences. Runs until cancelled."""
        await until_first(self._follow(), self._watch())

    async def _follow(self) -> None:
        part = await single_partition(self._settings.kafka, self._settings.topics.budgets)
        async with (
            running_consumer(self._settings.kafka) as consumer,
            running_producer(self._settings.kafka, **_PRODUCER) as self._producer,
        ):
            await self._read_back(consumer, part)
            self._ready.set()
            while True:
                for records in (await consumer.getmany(part, timeout_ms=_POLL_MS)).values():
                    self._take(records)

    async def _read_back(self, consumer: AIOKafkaConsumer, part: TopicPartition) -> None:
        """Read the reservations that can count."""
        consumer.assign([part])
        found = await consumer.offsets_for_times({part: max(0, wall_ms() - LONGEST_MS)})
        end = (await consumer.end_offsets([part]))[part]
        consumer.seek(part, end if found[part] is None else found[part].offset)
        while await consumer.position(part) < end:
            for records in (await consumer.getmany(part, timeout_ms=_POLL_MS)).values():
                self._take(records)

    def _take(self, records: Any) -> None:
        for record in records:
            try:
                reservation = _reservation.decode(record.value or b"")
            except msgspec.DecodeError as error:
                log.error("skipping the reservation %d: %s", record.offset, error)
                continue
            granted = self._budgets.grant(reservation)
            waiting = self._waiting.pop(reservation.id, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(granted)

    async def _reserved(self, delivery: str, kind: Kind, count: int, rate: Rate, from_ms: int) -> bool:
        """Append a reservation, and return how it is decided."""
        await self._ready.wait()
        wanted = Reservation(uuid4().hex, delivery, kind, count, rate, from_ms, max(wall_ms(), from_ms))
        decided = self._waiting[wanted.id] = asyncio.get_running_loop().create_future()
        try:
            topic = self._settings.topics.budgets
            await self._producer.send_and_wait(topic, _encode(wanted), key=delivery.encode(), partition=0)
            granted: bool = await decided
            return granted
        finally:
            self._waiting.pop(wanted.id, None)

    async def reserve(
        self, record: AudienceRecord, delivery: str, kind: Literal["entries", "exits"], count: int
    ) -> bool:
        """Return whether so many messages may be sent; if not, hold the audience."""
        rate = rate_of(record, kind)
        if rate is None or await self._reserved(delivery, kind, count, rate, record.since_ms):
            return True
        what = f"{count:,} {kind} at once" if count > rate.at_most else f"another {count:,} {kind}"
        span = f"{rate.per_ms / 1000:g} s"
        await self.hold(record.audience.key, f"{delivery}: {what}, at most {rate.at_most:,} per {span}")
        return False

    async def pace(self, record: AudienceRecord, delivery: str, count: int) -> tuple[int, int]:
        """Return how many of so many released messages may be sent now, and the wait for the next in ms."""
        released = record.released
        if released is None or released.rate is None:
            return count, 0
        await self._ready.wait()
        rate, from_ms = released.rate, released.at_ms
        wanted = Reservation("", delivery, "released", 0, rate, from_ms, max(wall_ms(), from_ms))
        now = min(count, self._budgets.left(wanted))
        if now and not await self._reserved(delivery, "released", now, rate, from_ms):
            now = 0
        return now, paced(rate)

    async def hold(self, key: str, why: str) -> None:
        """Hold an audience, once. Publishers that commit first are waited out."""
        if key in self._holding:
            return
        self._holding.add(key)
        try:
            while True:
                try:
                    held = await trip(self._settings, key, why)
                except UserError as error:
                    log.warning("the audience %s is to be held: %s", key, error)
                    await asyncio.sleep(_AGAIN_S)
                    continue
                if held:
                    log.error("the audience %s is held: %s", key, why)
                return
        finally:
            self._holding.discard(key)

    async def _watch(self) -> None:
        """Hold audiences that are larger than they may be."""
        async for sizes in follow_sizes(self._settings):
            for key, why in _exceeding(self._board, sizes):
                await self.hold(key, why)


def _exceeding(board: Board, sizes: SegmentSizes) -> list[tuple[str, str]]:
    """Return the active audiences that exceed a limit of their size, each with why."""
    population = sizes.population()
    found = []
    for record in {each.record.audience.key: each.record for each in board.active.values()}.values():
        size = sizes.segment(record.audience.definition_key)
        if size is None or population is None:
            continue
        why = exceeded(record.audience.limits, size.members, population.known)
        if why is not None:
            found.append((record.audience.key, why))
    return found
