"""Run the archive: continuously, waiting out Kafka's outages, or once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from segops.archive.erasures import ErasureReader
from segops.archive.storage import Storage
from segops.archive.tables import tables_of
from segops.archive.writer import ArchiveWriter, Rebalances
from segops.config import Settings
from segops.kafka.clients import running_consumer
from segops.kafka.sessions import Sessions
from segops.kafka.topics import partition_counts
from segops.metrics import Metrics

log = logging.getLogger(__name__)

#: How long a partition may take to be written or claimed before the group passes this process over.
_PATIENCE_MS: Final = 1_800_000

Passed = Callable[[str], None]


class ArchiveService:
    """The archive process of these settings. ``passed`` is called at each failpoint."""

    def __init__(self, settings: Settings, storage: Storage, metrics: Metrics, *, passed: Passed) -> None:
        self._settings = settings
        self._storage = storage
        self._metrics = metrics
        self._passed = passed
        self._sessions = Sessions()
        self._writer: ArchiveWriter | None = None

    @property
    def waits_for(self) -> str | None:
        """The reason why nothing is archived at present, or None."""
        assigned = self._writer is not None and self._writer.partitions
        return self._sessions.waits_for or (None if assigned else "no partition is assigned")

    async def run(self, stop: asyncio.Event) -> None:
        """Archive until ``stop``, then write what is collected.

        After an outage of Kafka it begins again from the manifests. Raises all other errors.
        """
        await self._sessions.run(lambda: self._session(stop), stop, self._lost)

    def _lost(self) -> None:
        self._writer = None

    async def _session(self, stop: asyncio.Event) -> None:
        async with self._consuming() as (writer, consumer):
            self._sessions.connected()
            self._writer = writer
            failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            topics = self._settings.topics
            consumer.subscribe(
                [topics.profile_events, topics.membership_changes], listener=Rebalances(writer, failure)
            )
            await self._work(writer, stop, failure)
            async with writer.lock:
                await writer.write_due(everything=True)

    async def _work(self, writer: ArchiveWriter, stop: asyncio.Event, failure: asyncio.Future[None]) -> None:
        """Read and keep the files until ``stop``. Raises the first error, once no thread uses the storage."""
        ending = asyncio.Event()
        works = (self._poll(writer, ending), self._keep(writer, ending))
        tasks: list[asyncio.Future[None]] = [asyncio.ensure_future(work) for work in works]
        stopping: asyncio.Future[Any] = asyncio.ensure_future(stop.wait())
        await asyncio.wait((stopping, failure, *tasks), return_when=asyncio.FIRST_COMPLETED)
        ending.set()
        await asyncio.wait(tasks)
        stopping.cancel()
        for each in (failure, *tasks):
            if each.done():
                each.result()

    async def _poll(self, writer: ArchiveWriter, ending: asyncio.Event) -> None:
        while not ending.is_set():
            await writer.poll()

    async def _keep(self, writer: ArchiveWriter, ending: asyncio.Event) -> None:
        while not ending.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(ending.wait(), self._settings.archive.upkeep_interval_ms / 1000)
            await writer.upkeep(ended=ending.is_set)

    async def once(self, *, read: bool, compact: bool) -> None:
        """Carry out erasures and merge small files of all partitions, outside the group.

        ``read``: first archive what the topics hold now. ``compact``: merge all files that can be merged.
        Use it when no archive process runs: it would lose its partitions to this one, and take them back.
        """
        async with self._consuming() as (writer, consumer):
            counts = await partition_counts(self._settings.kafka, list(tables_of(self._settings)))
            sources = [TopicPartition(name, n) for name, count in counts.items() for n in range(count)]
            consumer.assign(sources)
            writer.hold(sources)
            await writer.own(sources)
            if read:
                ends = await consumer.end_offsets(sources)
                while any([await consumer.position(source) < ends[source] for source in sources]):
                    await writer.poll()
                await writer.write_due(everything=True)
            await writer.upkeep(full=compact)

    @asynccontextmanager
    async def _consuming(self) -> AsyncIterator[tuple[ArchiveWriter, AIOKafkaConsumer]]:
        """Start the consumers, and read the erasures so far. Raises UserError if a topic is missing."""
        settings, tables = self._settings, tables_of(self._settings)
        receipts = settings.topics.receipts
        counts = await partition_counts(settings.kafka, [*tables, receipts])
        options: dict[str, Any] = {
            "group_id": f"{settings.worker.app_id}-archive",
            "auto_offset_reset": "none",
            "session_timeout_ms": settings.worker.session_timeout_ms,
            "rebalance_timeout_ms": _PATIENCE_MS,
            "max_poll_interval_ms": _PATIENCE_MS,
        }
        async with (
            running_consumer(settings.kafka) as reader,
            running_consumer(settings.kafka, **options) as consumer,
        ):
            erasures = ErasureReader(reader, receipts, counts[receipts])
            await erasures.begin()
            yield (
                ArchiveWriter(
                    settings.archive,
                    consumer,
                    erasures,
                    storage=self._storage,
                    tables=tables,
                    metrics=self._metrics,
                    passed=self._passed,
                ),
                consumer,
            )
