"""Our pages in the place of Faust's web server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from aiohttp.web import ServerRunner, TCPSite
from faust.web.drivers.aiohttp import Web

from segops.api.health import Health, Page
from segops.api.profiles import ProfilePages
from segops.api.server import Pages, PageServer
from segops.config import WorkerSettings

#: How long an answer that is under way may hold up the end of the process.
_SHUTDOWN_S: Final = 2.0


class OwnPages(Web):
    """Faust's web service around our server; Faust's own pages show raw state to whoever asks."""

    mundane_level = "debug"

    def __init__(self, app: Any, server: PageServer) -> None:
        super().__init__(app)
        self._pages = ServerRunner(server, shutdown_timeout=_SHUTDOWN_S)

    def init_server(self) -> None:
        """Mount nothing of Faust's."""

    async def start_server(self) -> None:
        """Listen."""
        await self._pages.setup()
        await TCPSite(self._pages, self.app.conf.web_bind, self.app.conf.web_port).start()

    async def stop_server(self) -> None:
        """Close all connections."""
        await self._pages.cleanup()


def own_pages(health: Health, metrics: Callable[[], Page], profiles: ProfilePages) -> Pages:
    """What a worker serves: /metrics, /healthz, /readyz and /profiles."""
    return Pages({"/metrics": metrics, "/healthz": health.live, "/readyz": health.ready}, profiles)


def page_server(worker: WorkerSettings, pages: Pages) -> PageServer:
    """The server of these pages, within the limits that are set."""
    return PageServer(pages, timeout_s=worker.web_timeout_ms / 1000, connections=worker.web_connections)
