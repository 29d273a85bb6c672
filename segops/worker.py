"""The composition root: builds a worker process, runs it, and supervises several.

A worker waits for Kafka during an outage (``segops.streaming.lifecycle``). A process that fails for another
reason logs it in one line and exits with 1, without committing uncertain work; its replacement continues from
the last checkpoint. ``supervise`` restarts a failed process after a pause that doubles, and gives up (exit 1,
the others shut down) when one keeps failing.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import aclosing
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import uvloop
from aiokafka.errors import InvalidTimestampError
from prometheus_client import CollectorRegistry

from segops import __version__
from segops.analytics.alert_log import AlertLog, follow_alerts
from segops.analytics.reader import BackgroundReader, follow_sizes
from segops.analytics.sizes import SegmentSizes
from segops.api.access import Access, is_loopback
from segops.api.health import Health, Page, metrics_page
from segops.api.profiles import ProfilePages
from segops.api.sandbox import SandboxPages
from segops.api.scans import ScanPages
from segops.api.segments import SegmentPages
from segops.api.server import Pages
from segops.api.timeline import TimelinePages
from segops.config import Settings
from segops.core.errors import SegopsError, StoreInUseError, UserError
from segops.core.text import printable
from segops.kafka import topics
from segops.kafka.definitions import Published
from segops.kafka.reachability import in_words
from segops.kernel import chosen, running
from segops.logs import start_logging
from segops.metrics import Metrics
from segops.operations import group
from segops.operations.recent import recent
from segops.operations.scans import scan
from segops.processes.memory import keep_freed_memory
from segops.processes.restarts import Restarts
from segops.schemas.owner import Owner
from segops.stores.lock import lock_folder
from segops.stores.rocksdb import RocksDBStores
from segops.streaming.assignment import Dependencies
from segops.streaming.backfills import draft_in
from segops.streaming.connections import Connections
from segops.streaming.durability.recovery import StoreManager
from segops.streaming.failpoints import Failpoints
from segops.streaming.faust.app import SegopsApp
from segops.streaming.lifecycle import STOP_TIMEOUT_S, Build, Lifecycle
from segops.streaming.ownership import owner as owning
from segops.streaming.partition.engines import build
from segops.streaming.web import page_server, serving, serving_tasks, worker_pages

log = logging.getLogger(__name__)

EXIT_FAILED: Final = 1
EXIT_USER: Final = 2
_POLL_S: Final = 0.2
#: How long a request over HTTP waits for a scan.
_SCAN_S: Final = 300.0


#: What returns the sizes, and the alerts, once they have been read.
_Figures = tuple[Callable[[], SegmentSizes | None], Callable[[], AlertLog | None]]


def process_settings(settings: Settings, index: int) -> Settings:
    """Return the settings of process ``index``, with its own folder, port and static member name.

    The name is derived from the host and the folder, so that a restarted process is the same member.
    """
    data_dir = (settings.state.data_dir / f"worker-{index}").absolute()
    worker = settings.worker
    name = worker.instance_id or f"{socket.gethostname()}-{zlib.crc32(str(data_dir).encode()):08x}"
    if worker.instance_id and index:
        name = f"{worker.instance_id}-{index}"
    port = worker.web_port + index if worker.web_port else 0
    anywhere = worker.web_host in ("0.0.0.0", "::")  # noqa: S104 - only compared
    host = worker.advertised_host or (socket.gethostname() if anywhere else worker.web_host)
    return settings.model_copy(
        update={
            "state": settings.state.model_copy(update={"data_dir": data_dir}),
            "worker": worker.model_copy(
                update={"instance_id": name, "web_port": port, "advertised_host": host}
            ),
        }
    )


def decide(settings: Settings, *, fresh: bool, take_over: bool) -> None:
    """Record that the application starts fresh or takes its topics over. Raises UserError if it may not."""
    start_logging(settings.worker.log_level)
    asyncio.run(_decide(settings, fresh=fresh, take_over=take_over))


async def _decide(settings: Settings, *, fresh: bool, take_over: bool) -> None:
    await topics.create(settings)
    await owning.decide(settings, fresh=fresh, take_over=take_over)


def run(settings: Settings) -> int:
    """Run one worker process until SIGTERM or SIGINT; return its exit status."""
    start_logging(settings.worker.log_level)
    keep_freed_memory()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    _lock(settings.state.data_dir)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics, stores = Metrics(CollectorRegistry()), _stores(settings)
    metrics.build.info({"version": __version__})
    chosen(settings.engine.kernel)  # fails here if the kernel is required and missing
    metrics.kernel.info({"runs": running(settings.engine.kernel)})
    life = Lifecycle(
        settings,
        metrics,
        admit=partial(_admit, settings, metrics, stores),
        release=stores.close,
    )
    sizes = BackgroundReader(partial(follow_sizes, settings), what="sizes")
    alerts = BackgroundReader(partial(follow_alerts, settings), what="alerts")
    server = page_server(settings.worker, _pages(settings, life, metrics, (sizes.current, alerts.current)))
    async with serving(settings.worker, server), aclosing(sizes), aclosing(alerts):
        try:
            await life.run(stop, lambda: serving_tasks(server))
        except Exception as error:
            if life.app is None and isinstance(error, UserError):
                raise  # found before the worker started: the command reports it
            _die(error)
    return 0


def _pages(settings: Settings, life: Lifecycle, metrics: Metrics, figures: _Figures) -> Pages:
    def metrics_text() -> Page:
        life.export()
        return metrics_page(metrics.registry)

    worker = settings.worker
    token = None if worker.web_token is None else worker.web_token.get_secret_value()
    access = Access(token=token, local=is_loopback(worker.web_host))
    scans = ScanPages(partial(scan, settings, wait_s=_SCAN_S), access)
    profiles, segments = ProfilePages(life.find_profile, access), SegmentPages(*figures, access)
    timelines = TimelinePages(life.find_profile, partial(recent, settings), access)
    health, sandboxes = Health(life.condition), SandboxPages(life.find_sandbox, access)
    slow = (scans, timelines, sandboxes)
    return worker_pages(health, metrics_text, profiles, segments, slow=slow)


def _summary(settings: Settings) -> str:
    worker, host, runs = settings.worker, settings.worker.web_host, running(settings.engine.kernel)
    return (
        f"segops {__version__}, {runs}: member {worker.instance_id} of group {worker.app_id} "
        f"on Kafka {settings.kafka.bootstrap_servers}, topics {settings.topics.prefix}*, "
        f"HTTP on {f'[{host}]' if ':' in host else host}:{worker.web_port}, "
        f"data in {settings.state.data_dir}, "
        f"clock {settings.engine.clock}, {worker.processing_guarantee}"
    )


def _lock(folder: Path) -> None:
    """Lock the data folder until this process ends. Raises UserError when another process has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock_folder(folder)
    except StoreInUseError:
        raise UserError(
            f"the data folder {folder} is in use by another worker; each needs its own (SEGOPS_DATA_DIR)"
        ) from None
    except OSError as error:
        raise UserError(f"cannot use the data folder {folder}: {error} (SEGOPS_DATA_DIR)") from None


async def _admit(settings: Settings, metrics: Metrics, stores: RocksDBStores) -> Build:
    """Check that brokers, topics and group admit this worker; return the function that builds its app."""
    await topics.create(settings)
    owner = await owning.admit(settings)
    return partial(_build, await group.for_joining(settings), owner, metrics, stores)


def _stores(settings: Settings) -> RocksDBStores:
    state = settings.state
    return RocksDBStores(
        state.data_dir / "profiles",
        block_cache_bytes=state.block_cache_bytes,
        write_buffer_bytes=state.write_buffer_bytes,
    )


def _build(
    settings: Settings,
    owner: Owner,
    metrics: Metrics,
    stores: RocksDBStores,
    published: Published,
) -> SegopsApp:
    log.info("%s, %d definitions", _summary(settings), len(published.definitions))
    connections = Connections(settings)
    profiles = settings.state.data_dir / "profiles"
    dependencies = Dependencies(
        metrics=metrics,
        store_manager=StoreManager(
            stores,
            discard=lambda number: shutil.rmtree(profiles / str(number)),
            rebuilt=lambda reason: metrics.stores_rebuilt.labels(reason).inc(),
            native=chosen(settings.engine.kernel),
        ),
        changelog_consumer=connections.changelog_consumer,
        standby_consumer=connections.standby_consumer,
        producer=lambda: app.producer.client,  # type: ignore[attr-defined]
        transactional_producer=connections.transactional_producer,
        failpoints=Failpoints(settings.worker.crash_at),
        owner=owner,
    )
    engine = build(published.definitions)
    app = SegopsApp(settings, dependencies, connections, engine)
    app.pipeline.draft = draft_in(published, engine)
    return app


def _die(error: BaseException) -> NoReturn:
    """Exit at once: an orderly shutdown would try to commit."""
    status = EXIT_USER if isinstance(error, UserError) else EXIT_FAILED
    unexpected = not isinstance(error, SegopsError | InvalidTimestampError)
    log.critical("worker stopped: %s", in_words(error), exc_info=unexpected and error)
    logging.shutdown()
    os._exit(status)


def supervise(settings: Settings, processes: int) -> int:
    """Run ``processes`` worker processes until SIGTERM or SIGINT; return their exit status.

    Raises UserError when the broker does not support that many.
    """
    start_logging(settings.worker.log_level)
    asyncio.run(group.check_processes(settings, processes))
    return Supervisor(
        [partial(_child, process_settings(settings, index)) for index in range(processes)]
    ).run()


def _child(settings: Settings) -> None:
    try:
        sys.exit(run(settings))
    except UserError as error:
        sys.stderr.write(printable(f"{error}\n", lines=True))
        sys.exit(EXIT_USER)
    except SegopsError as error:
        sys.stderr.write(printable(f"segops failed: {error}\n", lines=True))
        sys.exit(EXIT_FAILED)


class Supervisor:
    """Keeps processes running: restarts a failed one, at most five times in a row."""

    def __init__(self, targets: Sequence[Callable[[], None]]) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._targets = targets
        self._children: list[BaseProcess] = []
        self._restarts = [Restarts() for _ in targets]
        self._stopping = False

    def run(self) -> int:
        """Start all processes; return the exit status when all have ended."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._children = [self._start(index) for index in range(len(self._targets))]
        status = self._watch()
        for child in self._children:
            child.terminate()
        for child in self._children:
            child.join(STOP_TIMEOUT_S + 5)
            if child.exitcode is None:
                child.kill()
                status = status or EXIT_FAILED
        return status

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _start(self, index: int) -> BaseProcess:
        child = self._context.Process(target=self._targets[index], name=f"segops-worker-{index}")
        # A terminal sends Ctrl-C to the children too. They ignore it; this process stops them.
        former = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            child.start()
        finally:
            signal.signal(signal.SIGINT, former)
        self._restarts[index].started(time.monotonic())
        return child

    def _watch(self) -> int:
        while not self._stopping:
            for index, child in enumerate(self._children):
                if child.exitcode is not None:
                    status = self._ended(index, child.exitcode)
                    if status is not None:
                        return status
            time.sleep(_POLL_S)
        return 0

    def _ended(self, index: int, exitcode: int) -> int | None:
        if exitcode in (0, EXIT_USER):
            return exitcode
        pause_s = self._restarts[index].failed(time.monotonic())
        if pause_s is None:
            log.critical("worker process %d keeps failing (status %d)", index, exitcode)
            return EXIT_FAILED
        log.error("worker process %d failed (status %d); restarting it", index, exitcode)
        self._pause(pause_s)
        if not self._stopping:
            self._children[index] = self._start(index)
        return None

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._stopping:
            time.sleep(_POLL_S)
