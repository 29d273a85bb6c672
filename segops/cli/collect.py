"""``segops collect``: events over HTTP, from the SDKs of Segment and RudderStack."""

from __future__ import annotations

import asyncio
import logging
import signal

import click
import uvloop
from prometheus_client import CollectorRegistry

from segops import __version__
from segops.api.health import Health
from segops.api.server import Pages
from segops.cli._say import say
from segops.cli._service import raise_descriptor_limit
from segops.collector.service import CollectorService
from segops.collector.sources import load_sources
from segops.config import Settings, load
from segops.logs import start_logging
from segops.metrics import Metrics
from segops.streaming.failpoints import Failpoints
from segops.streaming.web import page_server, serving

log = logging.getLogger(__name__)

_EPILOG = """
\b
Examples:
  SEGOPS_COLLECT_KEYS=website=wk-4b1f9a2c segops collect
  SEGOPS_COLLECT_KEYS_FILE=/run/secrets/write-keys SEGOPS_COLLECT_SOURCES=sources.yaml segops collect
  segops collect --check
"""


@click.command(epilog=_EPILOG)
@click.option("--check", is_flag=True, help="Check the write keys and sources, list the sources, and exit.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="Port for events. [SEGOPS_COLLECT_PORT]", default=None
)
@click.option(
    "--web-port",
    type=click.IntRange(0, 65_535),
    help="Port of the health and metrics pages. [SEGOPS_COLLECT_WEB_PORT]",
)
def command(*, check: bool, port: int | None, web_port: int | None) -> None:
    """Receive events over HTTP from Segment's and RudderStack's SDKs until Ctrl-C.

    A request gets 200 once Kafka has acknowledged its events. Requires write keys (SEGOPS_COLLECT_KEYS or
    SEGOPS_COLLECT_KEYS_FILE). Listens on loopback by default: put a proxy with TLS in front of it. Answers
    503 while Kafka is away. Run one process per core behind the proxy. With SEGOPS_SHOPIFY_SECRETS it also
    receives the webhooks of Shopify, at /v1/shopify.
    """
    given = {"port": port, "web_port": web_port}
    settings = load(collect={name: value for name, value in given.items() if value is not None})
    if check:
        for name in load_sources(settings.collect, now_s=0).names:
            say(name)
        return
    start_logging(settings.worker.log_level)
    raise_descriptor_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    metrics = Metrics(CollectorRegistry())
    metrics.build.info({"version": __version__})
    service = CollectorService(settings, metrics, passed=Failpoints(settings.worker.crash_at).passed)
    health = Health(service.condition)
    web = settings.worker.model_copy(update={"web_port": settings.collect.web_port})
    pages = Pages(
        {
            "/metrics": service.metrics_page,
            "/violations": service.violations_page,
            "/healthz": health.live,
            "/readyz": health.ready,
        },
        profiles=None,
    )
    async with serving(web, page_server(web, pages), variable="SEGOPS_COLLECT_WEB_PORT"):
        log.info(
            "segops %s: collector of %s on http://%s:%d for %s",
            __version__,
            settings.topics.events,
            settings.collect.host,
            settings.collect.port,
            ", ".join(service.sources),
        )
        await service.run(stop)
