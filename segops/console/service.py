"""One process of the console: its read model, its audit, its server, and its condition."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Final, Protocol, cast

from aiohttp.web import AppRunner, Server

from segops.api.listen import check_address
from segops.config import Settings
from segops.console.access.guard import Guard
from segops.console.access.oidc import Oidc
from segops.console.access.tokens import check_installed
from segops.console.answers import Answers
from segops.console.assets import Assets
from segops.console.audit import KafkaAudit
from segops.console.board.board import Board
from segops.console.connections import Connections
from segops.console.metrics import ConsoleMetrics
from segops.console.pages import ACTIONS, PAGES, STREAMS
from segops.console.rendering import Renderer
from segops.console.routes import Routes
from segops.console.server import Console, Tables
from segops.console.sign_in import SignIn
from segops.console.visits import Visits
from segops.kafka.partition_tasks import cancel_all
from segops.metrics import Metrics
from segops.wall_clock import wall_ms

log = logging.getLogger(__name__)

#: aiohttp's log of malformed requests and broken connections, silenced because any client can fill it.
_SILENT: Final = logging.getLogger(f"{__name__}.protocol")
_SILENT.setLevel(logging.CRITICAL + 1)
_SHUTDOWN_S: Final = 5.0
_EXPORT_S: Final = 1.0
#: How long the first answer waits for the topics to be read; later, pages say why they are not.
_FIRST_READ_S: Final = 5.0
_MAX_HEADERS: Final = 100


class ReadModel(Protocol):
    """What pages show: the board."""

    @property
    def reason(self) -> str | None:
        """The reason why it is not current, or None."""

    async def read(self) -> None:
        """Return once all is read for the first time."""

    async def run(self, stop: asyncio.Event) -> None:
        """Keep it current until ``stop``."""


def open_board(settings: Settings) -> ReadModel:
    """Return the read model of these settings."""
    return Board(settings)


class ConsoleService:
    """The console of these settings. Raises UserError for a login that cannot be right."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = ConsoleMetrics(metrics.registry)
        self._guard = Guard(settings.console)
        self._oidc = open_oidc(self._guard)
        self._board = open_board(settings)
        self._connections = Connections(settings.console.connections)
        self._audit = KafkaAudit(settings)

    @property
    def waits_for(self) -> str | None:
        """The reason why pages are not current at present, or None."""
        return self._board.reason

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until ``stop``. Raises UserError if the address is not available."""
        settings = self._settings.console
        check_address(settings.host, settings.port, variable="SEGOPS_CONSOLE_PORT")
        if self._guard.is_open:
            log.warning("the console has no login: everyone on this machine is an admin")
        elif settings.secret is None:
            log.info("SEGOPS_CONSOLE_SECRET is not set: a restart signs everyone out")
        runner = AppRunner(
            self.console().application(),
            logger=_SILENT,
            access_log=None,
            keepalive_timeout=settings.timeout_ms / 1000,
            lingering_time=0,
            max_headers=_MAX_HEADERS,
            shutdown_timeout=_SHUTDOWN_S,
        )
        await runner.setup()
        try:
            await self._listen(runner, stop)
        finally:
            await runner.cleanup()
            await self._audit.close()

    def console(self) -> Console:
        """Return the application's parts, put together."""
        assets = Assets()
        visits = Visits(self._guard, Answers(Renderer(assets), self._guard), wall_ms)
        routes = Routes(self._settings, self._board, visits, self._audit, self._metrics)
        sign_in = SignIn(visits, self._audit, self._metrics, self._oidc)
        timeout_s = self._settings.console.timeout_ms / 1000
        return Console(routes, sign_in, Tables(PAGES, ACTIONS, STREAMS), timeout_s, self._connections, assets)

    async def _listen(self, runner: AppRunner, stop: asyncio.Event) -> None:
        settings, server = self._settings.console, cast(Server, runner.server)
        loop = asyncio.get_running_loop()
        accept = self._connections.accepting(server)
        listening = await loop.create_server(
            accept, settings.host, settings.port, backlog=1024, start_serving=False
        )
        work = (self._board.run(stop), stop.wait(), self._serve(listening, server))
        tasks = [asyncio.ensure_future(each) for each in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            listening.close()
            await cancel_all(tasks)

    async def _serve(self, listening: asyncio.Server, server: Server) -> None:
        """Accept connections once pages have something to show."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_READ_S):
                await self._board.read()
        await listening.start_serving()
        while True:
            self._metrics.connections.set(len(server.connections))
            await asyncio.sleep(_EXPORT_S)


def open_oidc(guard: Guard) -> Oidc | None:
    """Return the issuer of the settings, if there is one. Raises UserError if it cannot be used."""
    if not guard.logins.oidc:
        return None
    check_installed()
    return Oidc(guard.settings, guard.signer, now_ms=wall_ms)
