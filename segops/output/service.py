"""The process that writes memberships in a format: a consumer group of its own, one task per partition."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from segops.config import Settings
from segops.core.errors import UserError
from segops.kafka.clients import running_consumer
from segops.kafka.copying import group_options, taking_over, until_first
from segops.kafka.outages import Pauses
from segops.kafka.partition_tasks import PartitionTasks, Rebalances
from segops.kafka.sessions import Sessions
from segops.kafka.topics import partition_counts
from segops.metrics import Metrics
from segops.output.converting import TopicCopy, copies_of
from segops.output.copying import OutputCopier
from segops.output.form import Form
from segops.output.formats import check, open_form
from segops.sources.registry import Registry, RegistryAway

log = logging.getLogger(__name__)

#: To be raised when a format writes a membership in another way: the rows are then copied again.
_FORM_VERSION: Final = 1


def group_of(settings: Settings) -> str:
    """Return the consumer group of the processes that write the format of these settings."""
    return f"{settings.worker.app_id}-output-{settings.output.format}"


class OutputService:
    """The process of these settings. ``passed`` is called at each failpoint.

    Raises UserError if the settings name no format that has topics of its own.
    """

    def __init__(self, settings: Settings, metrics: Metrics, *, passed: Callable[[str], None]) -> None:
        check(settings)
        self._settings = settings
        self._metrics = metrics
        self._passed = passed
        self._sessions = Sessions()
        self._waits_for: str | None = "starting"

    @property
    def waits_for(self) -> str | None:
        """The reason why nothing is copied at present, or None."""
        return self._sessions.waits_for or self._waits_for

    async def run(self, stop: asyncio.Event) -> None:
        """Copy until ``stop``. After an outage of Kafka go on from the committed offsets. Raises all else."""
        await self._sessions.run(lambda: self._session(stop), stop, lambda: None)

    async def _session(self, stop: asyncio.Event) -> None:
        await until_first(stop.wait(), self._copy_all())

    async def _copy_all(self) -> None:
        async with Registry(self._settings.sources) as registry:
            form = await self._form(registry)
        sources = {copy.source: copy for copy in copies_of(self._settings, form)}
        await self._check_partitions(sources.values())
        options = group_options(group_of(self._settings), self._settings.worker.session_timeout_ms)
        failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        async with running_consumer(self._settings.kafka, **options) as consumer:
            copiers = PartitionTasks(self._start_copier(consumer, sources), failure, self._forget)
            consumer.subscribe(sorted(sources), listener=Rebalances(consumer, copiers))
            self._sessions.connected()
            self._waits_for = None
            try:
                await failure
            finally:
                await copiers.stop(copiers.running())

    async def _form(self, registry: Registry) -> Form:
        """Return the format, once the registry has its schemas."""
        pauses = Pauses()
        while True:
            try:
                return await open_form(self._settings, registry)
            except RegistryAway as error:
                log.error("waiting for the schema registry: %s", error)
                self._waits_for = f"waiting for the schema registry: {error}"
                await asyncio.sleep(pauses.take())

    async def _check_partitions(self, found: Collection[TopicCopy]) -> None:
        """Raise UserError unless each topic exists, and has as many partitions as its copy."""
        names = [name for copy in found for name in (copy.source, copy.target)]
        counts = await partition_counts(self._settings.kafka, names)
        for copy in found:
            if counts[copy.source] != counts[copy.target]:
                raise UserError(
                    f"{copy.target} has {counts[copy.target]} partition(s), expected those of {copy.source}: "
                    f"{counts[copy.source]}"
                )

    def _forget(self, source: TopicPartition) -> None:
        self._metrics.forget_output(source.topic, source.partition)

    def _start_copier(
        self, consumer: AIOKafkaConsumer, sources: Mapping[str, TopicCopy]
    ) -> Callable[[TopicPartition], Any]:
        settings, group = self._settings, group_of(self._settings)

        async def copy(source: TopicPartition) -> None:
            copier = OutputCopier(
                source,
                consumer,
                topics=sources[source.topic],
                form=f"{_FORM_VERSION}/{settings.output.exits}",
                kafka=settings.kafka,
                group=group,
                metrics=self._metrics,
                passed=self._passed,
            )
            async with taking_over(settings.kafka, group, source) as (producer, committed):
                await copier.run(producer, committed)

        return copy
