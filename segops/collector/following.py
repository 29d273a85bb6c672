"""The task that follows the tracking plans, and publishes what violates them, apart from the events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import aclosing, suppress
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from segops.collector.metrics import CollectorMetrics
from segops.collector.plans import Plans
from segops.config import Settings
from segops.core.errors import DefinitionError
from segops.kafka.clients import running_producer
from segops.kafka.sessions import Sessions
from segops.tracking import published
from segops.tracking.compiler import CompiledPlan, compile_plan
from segops.tracking.model import TrackingPlan
from segops.tracking.violations import encode

log = logging.getLogger(__name__)

_RETRY_S: Final = 10.0
_PUBLISH_INTERVAL_S: Final = 1.0
#: Kinds of violations published per interval; further ones wait and are counted meanwhile.
_KINDS: Final = 50
_STOP_S: Final = 2.0
_PRODUCER: Final = {"linger_ms": 0, "compression_type": "snappy"}


class PlanFollower:
    """Keeps ``plans`` as published."""

    def __init__(self, settings: Settings, plans: Plans, metrics: CollectorMetrics) -> None:
        self._settings = settings
        self._plans = plans
        self._metrics = metrics
        self._sessions = Sessions()

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until ``stop``. Whatever fails is logged and tried again: no plan may stop a collector."""
        while not stop.is_set():
            try:
                await self._sessions.run(lambda: self._session(stop), stop, lambda: None)
            except Exception as error:
                log.error("tracking plans are not followed: %s", error)
                self._plans.known = True  # events are accepted by the plans known so far
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _RETRY_S)

    async def _session(self, stop: asyncio.Event) -> None:
        tasks = [
            asyncio.ensure_future(each) for each in (stop.wait(), self._follow(), self._publish_regularly())
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self) -> None:
        async with aclosing(published.topic_of(self._settings).follow()) as changes:
            async for plans in changes:
                self._sessions.connected()
                # Compiling takes milliseconds per schema, which requests must not wait for.
                self._plans.by_source = await asyncio.to_thread(self._compiled, plans)
                self._metrics.plans.set(len(self._plans.by_source))
                log.info("tracking plans: %s", ", ".join(sorted(self._plans.by_source)) or "none")
                self._plans.known = True

    def _compiled(self, plans: Mapping[str, TrackingPlan]) -> dict[str, CompiledPlan]:
        """Return the compiled plans; of a plan that cannot be compiled, the former one."""
        known, found = self._plans.by_source, dict[str, CompiledPlan]()
        for source, plan in plans.items():
            former = known.get(source)
            if former is not None and former.plan == plan:
                found[source] = former
                continue
            try:
                found[source] = compile_plan(plan)
            except DefinitionError as error:
                log.error("the former tracking plan stays in force: %s", error)
                if former is not None:
                    found[source] = former
        return found

    async def _publish_regularly(self) -> None:
        async with (
            asyncio.timeout(None) as limit,
            running_producer(self._settings.kafka, **_PRODUCER) as producer,
        ):
            try:
                while True:
                    await asyncio.sleep(_PUBLISH_INTERVAL_S)
                    await self._publish(producer)
            finally:
                # The client stops only once everything is delivered, and never gives up by itself.
                limit.reschedule(asyncio.get_running_loop().time() + _STOP_S)
                with suppress(KafkaError):
                    await self._publish(producer)

    async def _publish(self, producer: AIOKafkaProducer) -> None:
        topic, records = self._settings.topics.violations, self._plans.tally.take(_KINDS)
        try:
            sent = [
                await producer.send(topic, encode(record), key=record.source.encode()) for record in records
            ]
            await asyncio.gather(*sent)
        except BaseException:
            self._plans.tally.put_back(records)  # some may be published twice: counts are not exact then
            raise
