"""One process of the read API: its store, what it follows, its server, and its condition."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import Final

from aiohttp.web import ServerRunner, TCPSite

from segops.api.listen import check_address
from segops.config import Settings
from segops.kafka import definitions
from segops.kafka.partition_tasks import cancel_all
from segops.kafka.sessions import Sessions
from segops.metrics import Metrics
from segops.serve.following import Follower
from segops.serve.keys import load_keys
from segops.serve.metrics import ServeMetrics
from segops.serve.server import ReadServer
from segops.serve.view import Shown, View
from segops.stores.rocksdb import RocksDBStores
from segops.wall_clock import wall_ms

log = logging.getLogger(__name__)

_SHUTDOWN_S: Final = 1.0
_EXPORT_S: Final = 1.0
_WRITE_BUFFER_BYTES: Final = 32 << 20


class ServeService:
    """The read API of these settings. Raises UserError for wrong keys or sites."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = ServeMetrics(metrics.registry)
        self._keys = load_keys(settings.serve, now_s=time.monotonic())
        self._sessions = Sessions()
        self._follower: Follower | None = None
        self._defined = False

    @property
    def waits_for(self) -> str | None:
        """The reason why requests are not answered at present, or None."""
        if self._sessions.waits_for is not None and self.as_of_ms() is None:
            return self._sessions.waits_for
        if self._follower is None or self._follower.as_of_ms is None or not self._defined:
            return "the memberships are not read yet"
        return None if self.as_of_ms() is not None else "the memberships are older than SEGOPS_SERVE_MAX_AGE"

    def as_of_ms(self) -> int | None:
        """Return as of when the memberships are true (ms UTC); None if they must not be shown."""
        found = None if self._follower is None or not self._defined else self._follower.as_of_ms
        if found is None or wall_ms() - found > self._settings.serve.max_age_ms:
            return None
        return found

    async def run(self, stop: asyncio.Event) -> None:
        """Answer until ``stop``. Raises UserError if the address is not available, and LostRecords."""
        settings = self._settings.serve
        check_address(settings.host, settings.port, variable="SEGOPS_SERVE_PORT")
        gc.collect()
        gc.freeze()  # to collect what was imported takes 20 ms, for which no request would be answered
        with self._stores() as stores:
            view = View(stores.open(0))
            self._follower = follower = Follower(self._settings, view, self._metrics)
            server = ReadServer(
                view, self._keys, settings, self._metrics, as_of_ms=self.as_of_ms, now_s=time.monotonic
            )
            runner = ServerRunner(server, shutdown_timeout=_SHUTDOWN_S)
            await runner.setup()
            exporting = asyncio.create_task(self._export_regularly(server, stores))
            try:
                await TCPSite(runner, settings.host, settings.port).start()
                await self._sessions.run(lambda: self._session(view, follower, stop), stop, _nothing)
            finally:
                await cancel_all([exporting])
                await runner.cleanup()

    async def _session(self, view: View, follower: Follower, stop: asyncio.Event) -> None:
        tasks = [
            asyncio.ensure_future(each)
            for each in (
                stop.wait(),
                follower.follow(self._sessions.connected),
                self._follow_definitions(view),
            )
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            await cancel_all(tasks)

    async def _follow_definitions(self, view: View) -> None:
        async with aclosing(definitions.follow(self._settings)) as changes:
            async for published in changes:
                view.shown = Shown.of(published.definitions)
                self._defined = True
                log.info("exposed segments: %s", ", ".join(sorted(view.shown.exposed)) or "none")

    async def _export_regularly(self, server: ReadServer, stores: RocksDBStores) -> None:
        metrics = self._metrics
        while True:
            known = None if self._follower is None else self._follower.as_of_ms
            metrics.age.set(float("inf") if known is None else max(0, wall_ms() - known) / 1000)
            metrics.connections.set(server.open_connections)
            metrics.memory.set(stores.memory_bytes)
            await asyncio.sleep(_EXPORT_S)

    @contextmanager
    def _stores(self) -> Iterator[RocksDBStores]:
        """Provide stores in an empty folder: the topics are read from their beginning at each start.

        The port keeps processes of one machine apart, the process id those that chose any port.
        """
        settings = self._settings.serve
        folder = self._settings.state.data_dir / "serve" / str(settings.port or f"process-{os.getpid()}")
        stores = RocksDBStores(
            folder, block_cache_bytes=settings.cache_bytes, write_buffer_bytes=_WRITE_BUFFER_BYTES
        )
        stores.open(0).destroy()
        try:
            yield stores
        finally:
            stores.close()
            stores.open(0).destroy()
            with suppress(OSError):
                folder.rmdir()


def _nothing() -> None:
    """Forget nothing after an outage: what was read stays true, as of then."""
