"""The transports: standard input and output, and HTTP on loopback unless told otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from prometheus_client import CollectorRegistry

from segops.api.access import is_loopback
from segops.api.listen import check_address
from segops.config import Settings
from segops.mcp.access import Guard, load_tokens
from segops.mcp.metrics import McpMetrics
from segops.mcp.server import Assistants
from segops.mcp.toolbox import tools_of
from segops.metrics import Metrics

PATH: Final = "/mcp"
_MAX_REQUEST_BYTES: Final = 1 << 20
_CONNECTIONS: Final = 100
_IDLE_S: Final = 15
_SHUTDOWN_S: Final = 2
_LOOPBACK: Final = ["127.0.0.1:*", "localhost:*", "[::1]:*"]


async def answer_on_stdio(settings: Settings) -> None:
    """Answer one assistant, the parent process, until it closes standard input. Nothing else may print."""
    assistants = Assistants(settings, tools_of(settings), McpMetrics(CollectorRegistry()))
    server = assistants.server()
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


class McpService:
    """The server over HTTP of these settings. Raises UserError without tokens."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = McpMetrics(metrics.registry)
        self._tokens = load_tokens(settings.mcp)
        self._assistants = Assistants(settings, tools_of(settings), self._metrics)

    @property
    def waits_for(self) -> None:
        """Nothing: a call says what is missing."""
        return

    async def run(self, stop: asyncio.Event) -> None:
        """Answer until ``stop``. Raises UserError if the address is not available."""
        found = self._settings.mcp
        check_address(found.host, found.port, variable="SEGOPS_MCP_PORT")
        server = _Server(self._config())
        running = asyncio.ensure_future(server.serve())
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        server.should_exit = True
        await running

    def _config(self) -> uvicorn.Config:
        found = self._settings.mcp
        # Behind a proxy, which sends the host that it was asked for, the token alone decides.
        checks = TransportSecuritySettings(
            enable_dns_rebinding_protection=is_loopback(found.host), allowed_hosts=_LOOPBACK
        )
        app = self._assistants.server().streamable_http_app(
            streamable_http_path=PATH,
            json_response=True,
            stateless_http=True,
            max_request_body_size=_MAX_REQUEST_BYTES,
            transport_security=checks,
            host=found.host,
        )
        return uvicorn.Config(
            Guard(app, self._tokens, self._metrics),
            host=found.host,
            port=found.port,
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            timeout_keep_alive=_IDLE_S,
            timeout_graceful_shutdown=_SHUTDOWN_S,
        )


class _Server(uvicorn.Server):
    """Leaves signals to the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
