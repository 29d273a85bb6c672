"""The Faust app: three agents, one table, and the tasks around them."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, NoReturn, TypeVar

import faust
from faust.types import StreamT
from mode import CrashingSupervisor

from segops.api.profiles import Elsewhere, NotReady
from segops.config import Settings, WorkerSettings
from segops.core.engine import Engine
from segops.core.errors import SegopsError
from segops.core.views.profile import ProfileView
from segops.kafka.definitions import Published
from segops.schemas.records import partition_of
from segops.schemas.sandbox import SandboxStart
from segops.streaming.alerts import AlertEvaluator
from segops.streaming.assignment import Dependencies
from segops.streaming.backfills import draft_in
from segops.streaming.connections import REBALANCE_TIMEOUT_MS, REQUEST_TIMEOUT_MS, Connections, heartbeat_ms
from segops.streaming.faust.assignor import MemberAssignor
from segops.streaming.faust.tables import BatchTableManager, ProfilesTable
from segops.streaming.faust.transport import Batch, BatchConsumer, BatchTransport
from segops.streaming.liveness import watchers as guards
from segops.streaming.liveness.fence import lease_s
from segops.streaming.model_metrics import export_models
from segops.streaming.ownership import owner as owning
from segops.streaming.partition.engines import build_in_thread
from segops.streaming.partition.looking import View, profile_view, sandbox_start
from segops.streaming.pipeline import Pipeline

log = logging.getLogger(__name__)
_Found = TypeVar("_Found")

_WALL_TICK_S: Final = 0.5
_SOURCE_TICK_S: Final = 0.1
_PROGRESS_S: Final = 5.0


class BatchSchema(faust.Schema):  # type: ignore[type-arg]
    """Passes batches through unchanged: the processors decode records."""

    def compile(self, app: Any, **kwargs: Any) -> Callable[..., Awaitable[Any]]:
        """Return the function that converts a message to a Faust event."""
        create_event = app.create_event

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return create_event(None, message.value, None, message)

        return decode


class SegopsApp(faust.App):
    """The worker's Faust app. ``failure`` is set to the error after which the app must do nothing more."""

    mundane_level = "debug"

    def __init__(
        self, settings: Settings, dependencies: Dependencies, connections: Connections, engine: Engine
    ) -> None:
        self.connections = connections
        self.pipeline = Pipeline(settings, engine, dependencies)
        self._alert_evaluator = AlertEvaluator(settings, dependencies.metrics, dependencies.failpoints)
        self._owner = dependencies.owner
        self.failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self.watchdog = guards.Watchdog(settings.worker.stall_timeout_ms / 1000)
        super().__init__(settings.worker.app_id, **_faust_settings(settings))
        self.settings_of_segops = settings
        self._metrics = dependencies.metrics
        self._declare(settings)
        self._export_definitions(engine)

    def _declare(self, settings: Settings) -> None:
        topics = settings.topics
        schema = BatchSchema(key_type=bytes, value_type=bytes)
        self.profiles = self.Table("profiles", partitions=topics.partitions, key_type=bytes, value_type=bytes)
        events = self.topic(topics.events, schema=schema)
        control = self.topic(topics.control, schema=schema)
        profile_events = self.topic(topics.profile_events, schema=schema)
        self.agent(events, name="resolve")(self._resolve)
        self.agent(control, name="control")(self._control)
        self.agent(profile_events, name="segment")(self._segment)
        for task in (self._pump, self._timers, self._ticks, self._sweep, self._backfill, self._alerts):
            self.task(task)

    # -- agents --------------------------------------------------------------------------------

    async def _resolve(self, stream: StreamT[Any]) -> None:
        async for batch in self._batches(stream):
            self.pipeline.resolve(batch.partition, batch.records)

    async def _control(self, stream: StreamT[Any]) -> None:
        async for batch in self._batches(stream):
            await self.pipeline.control(batch.partition, batch.records, self.batch_consumer)

    async def _segment(self, stream: StreamT[Any]) -> None:
        async for batch in self._batches(stream):
            self.pipeline.segment(batch.partition, batch.records)

    async def _batches(self, stream: StreamT[Any]) -> AsyncIterator[Batch]:
        consumer = self.batch_consumer
        async for batch in stream:
            if batch.epoch == consumer.epoch:
                await self.pipeline.wait_for_capacity()
            if batch.epoch == consumer.epoch:
                yield batch
                consumer.finished(batch)

    @property
    def batch_consumer(self) -> BatchConsumer:
        """The consumer of the group."""
        consumer: Any = self.consumer
        assert isinstance(consumer, BatchConsumer)  # noqa: S101 - the transport creates no other
        return consumer

    async def _on_agent_error(self, agent: Any, exc: BaseException) -> None:
        await self.fail(exc)

    # -- tasks ---------------------------------------------------------------------------------

    async def _pump(self) -> None:
        await self._or_fail(self.pipeline.channels.pump())

    async def _timers(self) -> None:
        await self._or_fail(self.pipeline.background.run(self.pipeline, lambda: self.batch_consumer))

    async def _sweep(self) -> None:
        await self._or_fail(self.pipeline.sweeper.run(self.pipeline, lambda: self.batch_consumer))

    async def _backfill(self) -> None:
        await self._or_fail(self.pipeline.backfill_reader.run(self.pipeline, lambda: self.batch_consumer))

    async def _alerts(self) -> None:
        await self._or_fail(self._alert_evaluator.run(self.pipeline))

    async def guard(self) -> None:
        """Run the watchers that may end this app, also during start and recovery. Runs until cancelled."""
        worker = self.settings_of_segops.worker
        watching = (
            self.pipeline.fence.run(self.watchdog.pat),
            guards.watch_topics(self.settings_of_segops, lambda: self.joined),
            owning.watch_owner(self.settings_of_segops, self._owner),
            guards.watch_group(self._coordinator),
            guards.watch_lease(self._coordinator, lambda: self.pipeline.running, lease_s(worker)),
            self._watch_progress(guards.Stall(worker.progress_timeout_ms / 1000)),
        )
        await asyncio.gather(*map(self._or_fail, watching))

    def _coordinator(self) -> Any:
        """Return the group coordinator client; None before the consumer exists."""
        consumer: Any = self._consumer
        return consumer.coordinator if isinstance(consumer, BatchConsumer) else None

    async def _watch_progress(self, stall: guards.Stall) -> None:
        while True:
            await asyncio.sleep(_PROGRESS_S)
            if self.pipeline.running:
                stall.check(self.batch_consumer.progress(self.pipeline.expected))

    async def _ticks(self) -> None:
        await self._or_fail(self._tick_sources() if self.pipeline.event_clock else self._tick_wall())

    async def _tick_wall(self) -> None:
        while True:
            await self.pipeline.tick_wall(self.batch_consumer)
            await asyncio.sleep(_WALL_TICK_S)

    async def _tick_sources(self) -> None:
        while True:
            await self.pipeline.tick_sources(self.batch_consumer)
            await asyncio.sleep(_SOURCE_TICK_S)

    async def _or_fail(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:
            await self.fail(error)

    # -- lifecycle -----------------------------------------------------------------------------

    async def open_partitions(self) -> None:
        """Open the assigned partitions; the recovery calls this before any record is consumed."""
        consumer = self.batch_consumer
        changelog = self.settings_of_segops.worker.changelog
        standbys = [tp.partition for tp in self.assignor.assigned_standbys() if tp.topic == changelog]
        assigned = [(tp.topic, tp.partition) for tp in consumer.assignment()]
        await self.pipeline.open(assigned, consumer, standbys=standbys)
        if not self._owner.since_ms:
            self._owner = await owning.claim(self.settings_of_segops, self._owner)
        log.info("%d profile partitions assigned and restored", len(self.pipeline.processors))

    async def live(self, published: AsyncIterator[Published]) -> NoReturn:
        """Start and work until a failure, and raise it.

        Cancelling this does not stop the app: ``stop`` shuts it down in order, ``discard`` at once.
        """
        # The start lasts as long as the recovery, so a failure must end it, too.
        tasks = [
            asyncio.ensure_future(self._or_fail(work))
            for work in (self._follow(published), self.guard(), self._start())
        ]
        try:
            raise await asyncio.shield(self.failure)
        finally:
            for task in tasks:
                task.cancel()
            if not self.failure.done():
                await asyncio.wait(tasks)

    async def _start(self) -> None:
        await self.start()
        settle_memory()

    async def _follow(self, published: AsyncIterator[Published]) -> None:
        await self.follow(published)
        raise SegopsError("the definitions stream ended")

    async def follow(self, published: AsyncIterator[Published]) -> None:
        """Switch to each new set of definitions; skip one that cannot be compiled. Collect for each draft.

        Raises SegopsError if the checkpoint of a switch fails: the new set may then be active or not.
        """
        async for found in published:
            try:
                engine = await build_in_thread(found.definitions, self.pipeline.engine)
            except SegopsError as error:
                log.error("cannot use the new definitions, the previous ones stay active: %s", error)
            else:
                self.pipeline.draft = await asyncio.to_thread(draft_in, found, engine)
                await self.pipeline.use(engine)
                self._export_definitions(engine)

    def _export_definitions(self, engine: Engine) -> None:
        self._metrics.definitions_version.info({"version": engine.version})
        self._metrics.definitions_active.set(len(engine.segments.definitions))
        export_models(self._metrics, engine.segments.all_definitions)

    def fence(self) -> None:
        """Raise OutOfTouch, and end this app, when another worker may own its partitions."""
        try:
            self.pipeline.fence.check()
        except SegopsError as error:
            self._crash(error)
            raise

    async def fail(self, error: BaseException) -> None:
        """End this app without another commit."""
        self._crash(error)

    async def crash(self, reason: BaseException) -> None:
        """End this app when a Faust service crashes."""
        self._crash(reason)

    def _crash(self, reason: BaseException) -> None:
        self.pipeline.running = False
        if not self.failure.done():
            self.failure.set_result(reason)

    async def on_stop(self) -> None:
        """Shut down in order: the last checkpoint, then the standbys."""
        await super().on_stop()
        await self.pipeline.stop()

    @property
    def leaves_the_group(self) -> bool:
        """Whether this app leaves the group when it stops: as configured, unless it failed."""
        return self.settings_of_segops.worker.leave_on_stop and not self.failure.done()

    @property
    def ready(self) -> bool:
        """Whether the assigned partitions are restored and being processed."""
        return self.pipeline.running and not self.rebalancing

    @property
    def joined(self) -> bool:
        """Whether this worker has an assignment, possibly an empty one."""
        consumer: Any = self._consumer
        return isinstance(consumer, BatchConsumer) and consumer.joined

    def export(self) -> None:
        """Update the metrics."""
        self.pipeline.export(self.batch_consumer)

    def discard(self) -> None:
        """Discard all work since the last checkpoint and close the stores, without awaiting anything."""
        self.watchdog.rest()
        self.pipeline.discard()

    def _create_directories(self) -> None:
        """Do nothing: Faust stores no files, and our stores create their own folders."""

    def _new_transport(self) -> Any:
        return BatchTransport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> Any:
        return BatchTransport(self.conf.broker_producer, self)

    def find_profile(self, identifier: str) -> ProfileView | Elsewhere | None:
        """Return a profile, the worker that has it, or None. Raises NotReady during a rebalance."""
        return self._find(identifier, profile_view)

    def find_sandbox(self, identifier: str) -> SandboxStart | Elsewhere | None:
        """Return where a sandbox begins, the worker that has the profile, or None. Raises NotReady.

        It is not ready, either, while definitions that needed history come into force.
        """
        if any(processor.folding for processor in self.pipeline.processors.values()):
            raise NotReady
        return self._find(identifier, sandbox_start)

    def _find(self, identifier: str, view: View[_Found]) -> _Found | Elsewhere | None:
        found: _Found | str | None = identifier
        while isinstance(found, str):
            number = partition_of(found.encode(), self.settings_of_segops.topics.partitions)
            processor = self.pipeline.processors.get(number) if self.ready else None
            if processor is None:
                return Elsewhere(found, self._owner_of(number))
            found = processor.look(found, view)
        return found

    def _owner_of(self, number: int) -> str:
        """Return the URL of the worker that owns a partition, according to the last assignment."""
        changelog, own = self.settings_of_segops.worker.changelog, str(self.conf.canonical_url)
        for url, topics in self.router.table_metadata(self.profiles.name).items():
            if self.ready and url.rstrip("/") != own.rstrip("/") and number in topics.get(changelog, ()):
                return url.rstrip("/")
        raise NotReady


def _faust_settings(settings: Settings) -> dict[str, Any]:
    worker, kafka = settings.worker, settings.kafka
    return {
        "broker": [f"segops://{address}" for address in kafka.bootstrap_servers.split(",")],
        "datadir": str(settings.state.data_dir),
        "store": "memory://",
        "Table": ProfilesTable,
        "TableManager": BatchTableManager,
        "PartitionAssignor": MemberAssignor,
        "agent_supervisor": CrashingSupervisor,
        "table_standby_replicas": settings.state.standby_replicas,
        "topic_disable_leader": True,
        "topic_partitions": settings.topics.partitions,
        "consumer_group_instance_id": worker.instance_id,
        "broker_session_timeout": worker.session_timeout_ms / 1000,
        "broker_heartbeat_interval": heartbeat_ms(worker) / 1000,
        "broker_rebalance_timeout": REBALANCE_TIMEOUT_MS / 1000,
        "broker_request_timeout": REQUEST_TIMEOUT_MS / 1000,
        "broker_commit_interval": settings.checkpoint_interval_ms / 1000,
        "stream_wait_empty": True,
        "stream_recovery_delay": 0.0,
        "web_enabled": False,  # our server outlives the app
        "canonical_url": _url(worker),
    }


def settle_memory() -> None:
    """Exclude all current objects from garbage collection; ``gc.unfreeze`` undoes it."""
    gc.collect()
    gc.freeze()
    # Long-lived new objects are profiles, which have no cycles: scanning them again frees nothing.
    gc.set_threshold(20_000, 1_000, 1_000)


def _url(worker: WorkerSettings) -> str:
    """Return the URL at which others reach the HTTP server."""
    host = worker.advertised_host or worker.web_host
    return f"http://{f'[{host}]' if ':' in host else host}:{worker.web_port}"
