"""``segops mcp``: the server for assistants."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import click

from segops.config import Settings, load
from segops.core.errors import UserError
from segops.logs import start_logging
from segops.metrics import Metrics

_EPILOG = """
\b
Examples:
  segops mcp
  SEGOPS_MCP_TOKENS=desk=tok-5d1c0f9b7e2a4c68b0aa segops mcp --http
"""


@click.command(epilog=_EPILOG)
@click.option("--http", is_flag=True, help="Serve over HTTP, to assistants with a token.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="Port of the HTTP server. [SEGOPS_MCP_PORT]", default=None
)
@click.option(
    "--web-port",
    type=click.IntRange(0, 65_535),
    help="Port of the health and metrics pages. [SEGOPS_MCP_WEB_PORT]",
)
def command(*, http: bool, port: int | None, web_port: int | None) -> None:
    """Let an assistant read segments and check drafts, by the Model Context Protocol.

    It can list, read and explain segments, show sizes, forecasts and plans, and estimate drafts.

    Without --http it answers the process that started it, on standard input and output, until that closes
    them. With --http it listens on loopback by default, and each request presents a token of
    SEGOPS_MCP_TOKENS. No tool publishes, approves, releases or erases; personal data is read only with
    SEGOPS_MCP_PERSONAL_DATA. Each call is a line of JSON in the log.
    """
    if not http and (port is not None or web_port is not None):
        raise click.UsageError("--port and --web-port need --http")
    given = {"port": port, "web_port": web_port}
    settings = load(mcp={name: value for name, value in given.items() if value is not None})
    if find_spec("mcp") is None:
        raise UserError("assistants need the package mcp: pip install 'segops-engine[mcp]'")
    start_logging(settings.worker.log_level)
    asyncio.run(_over_http(settings) if http else _on_stdio(settings))


async def _on_stdio(settings: Settings) -> None:
    from segops.mcp.service import answer_on_stdio  # the extra may not be installed

    await answer_on_stdio(settings)


async def _over_http(settings: Settings) -> None:
    from segops.cli._service import serve  # what it imports would make each start on standard input slow
    from segops.mcp.service import PATH, McpService  # the extra may not be installed

    def start(metrics: Metrics, _passed: Callable[[str], None]) -> Any:
        return McpService(settings, metrics)

    await serve(
        settings,
        start,
        port=settings.mcp.web_port,
        variable="SEGOPS_MCP_WEB_PORT",
        what=f"server for assistants on http://{settings.mcp.host}:{settings.mcp.port}{PATH}",
    )
