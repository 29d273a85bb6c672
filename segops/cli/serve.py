"""``segops serve``: memberships over HTTP, for browsers and servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import click
import uvloop

from segops.cli._say import say
from segops.cli._service import raise_descriptor_limit, serve
from segops.config import Settings, load
from segops.logs import start_logging
from segops.metrics import Metrics
from segops.serve.keys import load_keys
from segops.serve.service import ServeService

_EPILOG = """
\b
Examples:
  SEGOPS_SERVE_SECRET_KEYS=backend=sk-5d1c0f9b7e2a4c68b0aa segops serve
  SEGOPS_SERVE_KEYS=shop=rk-4b1f9a2c SEGOPS_SERVE_SITES=sites.yaml segops serve
  segops serve --check
"""


@click.command(epilog=_EPILOG)
@click.option("--check", is_flag=True, help="Check the keys and sites, list who may read, and exit.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="Port of the read API. [SEGOPS_SERVE_PORT]", default=None
)
@click.option(
    "--web-port",
    type=click.IntRange(0, 65_535),
    help="Port of the health and metrics pages. [SEGOPS_SERVE_WEB_PORT]",
)
def command(*, check: bool, port: int | None, web_port: int | None) -> None:
    """Answer over HTTP who is in which segments, until Ctrl-C: the read API for a product of one's own.

    Browsers present public read keys (SEGOPS_SERVE_KEYS) from the origins of their sites, and see exposed
    segments and published indicators only; servers present secret keys (SEGOPS_SERVE_SECRET_KEYS), and list
    members, too. Listens on loopback by default: put a proxy with TLS in front of it. Each process reads the
    topics by itself: run as many as there are requests for.
    """
    given = {"port": port, "web_port": web_port}
    settings = load(serve={name: value for name, value in given.items() if value is not None})
    if check:
        for client in load_keys(settings.serve, now_s=0).clients:
            say(client)
        return
    start_logging(settings.worker.log_level)
    raise_descriptor_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    def start(metrics: Metrics, _passed: Callable[[str], None]) -> ServeService:
        return ServeService(settings, metrics)

    await serve(
        settings,
        start,
        port=settings.serve.web_port,
        variable="SEGOPS_SERVE_WEB_PORT",
        what=f"read API on http://{settings.serve.host}:{settings.serve.port}",
    )
