"""What is published of audiences and destinations, kept up to date: which deliveries may be made."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, NamedTuple

from segops.config import Settings
from segops.core.audiences.audit import Trust
from segops.core.audiences.model import AudienceRecord
from segops.core.delivery.deciding import Terms, terms_of
from segops.core.delivery.model import Delivery
from segops.core.delivery.routing import Delivering
from segops.core.errors import SegopsError
from segops.destinations.kinds import open_adapter
from segops.destinations.model import Destination
from segops.destinations.port import Adapter
from segops.destinations.published import topic_of as destinations_topic
from segops.kafka import reading
from segops.kafka.copying import until_first
from segops.kafka.definitions import DefinitionLog, require_topic
from segops.metrics import Metrics
from segops.operations.audiences.store import Known, topic_of
from segops.operations.definitions import in_use
from segops.wall_clock import wall_ms

log = logging.getLogger(__name__)


class Active(NamedTuple):
    """A delivery that may be made: on which terms, with which options, by which adapter."""

    delivery: Delivery
    terms: Terms
    record: AudienceRecord
    options: Mapping[str, Any]
    adapter: Adapter


class Board:
    """The deliveries as published. ``version`` grows with each change of them; ``changed`` waits for one."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self.version = 0
        self.deliverings: Mapping[str, Delivering] = {}
        self.active: Mapping[Delivery, Active] = {}
        #: Why a destination cannot be used, by its name.
        self.unusable: dict[str, str] = {}
        self._log = DefinitionLog(log.error)
        self._records: Mapping[str, AudienceRecord] = {}
        self._destinations: Mapping[str, Destination] = {}
        self._adapters: dict[str, tuple[Destination, Adapter]] = {}
        self._read = {"audiences": False, "definitions": False, "destinations": False}
        self._changed = asyncio.Condition()

    @property
    def is_read(self) -> bool:
        """Whether everything was read once."""
        return all(self._read.values())

    @property
    def indicators(self) -> frozenset[str]:
        """The indicators that audiences send along."""
        named = (name for each in self.deliverings.values() for name in each.audience.properties)
        return frozenset(name.removeprefix("indicator.") for name in named if name.startswith("indicator."))

    @property
    def longest_cap_ms(self) -> int:
        """How long entries that people were told of count, for any audience; 0: for none."""
        caps = (each.audience.frequency for each in self._records.values() if each.state != "retired")
        return max((cap.per_ms for cap in caps if cap is not None), default=0)

    async def changed(self, since: int) -> None:
        """Wait until the version is not ``since``."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.version != since)

    async def follow(self) -> None:
        """Keep the board up to date. Runs until cancelled; raises what reading raises."""
        await until_first(
            self._follow("audiences", topic_of(self._settings).follow(), self._take_records),
            self._follow("definitions", self._definitions(), lambda _: None),
            self._follow(
                "destinations", destinations_topic(self._settings).follow(), self._take_destinations
            ),
        )

    async def _definitions(self) -> AsyncGenerator[None, None]:
        part = await require_topic(self._settings)
        async with aclosing(reading.follow(self._settings.kafka, part, self._log.apply_all)) as changes:
            async for _ in changes:
                yield None

    async def _follow(
        self, name: str, changes: AsyncGenerator[Any, None], take: Callable[[Any], None]
    ) -> None:
        async with aclosing(changes):
            async for found in changes:
                take(found)
                self._read[name] = True
                if self.is_read:
                    await self._renew()

    def _take_records(self, found: Mapping[str, AudienceRecord]) -> None:
        self._records = found

    def _take_destinations(self, found: Mapping[str, Destination]) -> None:
        self._destinations = found

    async def _renew(self) -> None:
        await self._open_adapters()
        self.deliverings = {str(each.id): each for each in self._deliverings()}
        self.active = {each.delivery: each for each in self._active()}
        for key, record in self._records.items():
            self._metrics.delivery.held.labels(key).set(record.state == "held")
        async with self._changed:
            self.version += 1
            self._changed.notify_all()

    async def _open_adapters(self) -> None:
        """Open the adapters of new and changed destinations, and close those of former ones."""
        self.unusable.clear()
        for name in [*self._adapters]:
            if self._destinations.get(name) != self._adapters[name][0]:
                await self._adapters.pop(name)[1].close()
        for name, destination in self._destinations.items():
            if name in self._adapters:
                continue
            try:
                self._adapters[name] = destination, open_adapter(destination, self._settings, self._metrics)
            except SegopsError as error:
                self.unusable[name] = str(error)
                log.error("the destination %s cannot be used: %s", name, error)

    def _deliverings(self) -> list[Delivering]:
        found = []
        for key, record in self._records.items():
            for each in record.audience.deliver if record.state != "retired" else ():
                if each.to in self._adapters:
                    adapter = self._adapters[each.to][1]
                    found.append(Delivering(Delivery(each.to, key), record.audience, adapter.address_of))
        return found

    def _known(self) -> Known:
        trust = Trust(self._settings.audiences.verifying_keys)
        return Known(self._log, in_use(self._log.live), self._records, trust, wall_ms())

    def _active(self) -> list[Active]:
        known, found = self._known(), []
        for key, record in self._records.items():
            if record.state != "active" or known.status(record).state != "active":
                continue
            for each in record.audience.deliver:
                if each.to in self._adapters:
                    delivery, adapter = Delivery(each.to, key), self._adapters[each.to][1]
                    found.append(Active(delivery, terms_of(record), record, each.options, adapter))
        return found

    def state(self, delivery: Delivery) -> str:
        """Return the state of a delivery's audience that counts."""
        return self._known().status(self._records[delivery.audience]).state

    def described(self, delivery: Delivery) -> tuple[AudienceRecord, Adapter, Mapping[str, Any]]:
        """Return the audience, the adapter and the options of a delivery that is routed."""
        record = self._records[delivery.audience]
        (options,) = (each.options for each in record.audience.deliver if each.to == delivery.destination)
        return record, self._adapters[delivery.destination][1], options

    async def close(self) -> None:
        """Close the adapters."""
        for _, adapter in self._adapters.values():
            await adapter.close()
        self._adapters.clear()
