"""The worker's HTTP server. It serves for the life of the process, also during Kafka outages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from aiohttp.web import ServerRunner, TCPSite

from segops.api.health import Health, Page
from segops.api.listen import check_address
from segops.api.profiles import ProfilePages
from segops.api.segments import SegmentPages
from segops.api.server import Pages, PageServer, SlowPages
from segops.config import WorkerSettings

#: How long a response in progress may delay the end of the process.
_SHUTDOWN_S: Final = 2.0


@asynccontextmanager
async def serving(
    worker: WorkerSettings, server: PageServer, *, variable: str = "SEGOPS_WEB_PORT"
) -> AsyncIterator[None]:
    """Serve for the duration of the block; ``variable`` is the setting of the port.

    Raises UserError when the address is not available.
    """
    check_address(worker.web_host, worker.web_port, variable=variable)
    runner = ServerRunner(server, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    try:
        await TCPSite(runner, worker.web_host, worker.web_port).start()
        yield
    finally:
        await runner.cleanup()


def serving_tasks(server: PageServer) -> set[asyncio.Task[None]]:
    """Return the tasks of the open connections."""
    found = {connection._task_handler for connection in server.connections}  # noqa: SLF001 - not public
    return {task for task in found if task is not None}


def worker_pages(
    health: Health,
    metrics: Callable[[], Page],
    profiles: ProfilePages,
    segments: SegmentPages,
    *,
    slow: Sequence[SlowPages] = (),
) -> Pages:
    """Return the pages of a worker: health, metrics, profiles, segments, and those that take time."""
    fixed = {"/metrics": metrics, "/healthz": health.live, "/readyz": health.ready}
    return Pages(fixed, profiles, segments, slow)


def page_server(worker: WorkerSettings, pages: Pages) -> PageServer:
    """Return a server of ``pages`` with the configured limits."""
    return PageServer(pages, timeout_s=worker.web_timeout_ms / 1000, connections=worker.web_connections)
