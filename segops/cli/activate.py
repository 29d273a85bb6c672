"""``segops activate``: audiences, delivered to their destinations."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import click
import msgspec
from prometheus_client import CollectorRegistry

from segops.api.health import Page
from segops.cli._kafka import run
from segops.cli._say import say, say_all
from segops.cli._service import serve
from segops.config import Settings, load
from segops.delivery.gates import CLOSED
from segops.logs import start_logging
from segops.metrics import Metrics

_EPILOG = """
\b
Examples:
  segops activate --dry-run --audience winback-email
  segops activate
"""


@click.command(epilog=_EPILOG)
@click.option("--dry-run", is_flag=True, help="Print the requests that would be sent, and exit.")
@click.option("--audience", metavar="KEY", help="With --dry-run: of this audience only.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=3,
    show_default=True,
    help="With --dry-run: at most N messages for each destination of an audience.",
)
@click.option(
    "--web-port", type=click.IntRange(0, 65_535), help="Port of the HTTP server. [SEGOPS_ACTIVATE_WEB_PORT]"
)
def command(*, dry_run: bool, audience: str | None, limit: int, web_port: int | None) -> None:
    """Tell destinations who enters and leaves the audiences that are active, until Ctrl-C.

    A process may be killed at any moment: at worst, a message that a destination took is sent again with the
    same id. Several processes share the partitions. What a destination refuses for good is listed by
    `segops deliveries list --dead`. A dry run shows what is due now of drafts, too, once a process has run.
    """
    if audience is not None and not dry_run:
        raise click.UsageError("--audience needs --dry-run")
    settings = load(**({} if web_port is None else {"activate": {"web_port": web_port}}))
    if dry_run:
        run(lambda settings: _preview(settings, audience, limit))
        return
    start_logging(settings.worker.log_level)
    asyncio.run(_serve(settings))


async def _preview(settings: Settings, audience: str | None, most: int) -> None:
    from segops.delivery.views import preview

    found = await preview(settings, Metrics(CollectorRegistry()), audience=audience, most=most)
    for each in found:
        of = each.delivery
        say(f"{of.audience} to {of.destination} ({each.state}): {each.messages:,} messages")
        for request in each.requests:
            body = msgspec.json.format(msgspec.json.encode(request.body), indent=2).decode()
            say_all([f"{request.method} {request.url}", *body.splitlines()])
    if not found:
        say("no audience has a destination that is published")


async def _serve(settings: Settings) -> None:
    from segops.delivery.service import DeliveryService

    def start(metrics: Metrics, passed: Callable[[str], None]) -> DeliveryService:
        return DeliveryService(settings, metrics, passed=passed)

    await serve(
        settings,
        start,
        port=settings.activate.web_port,
        variable="SEGOPS_ACTIVATE_WEB_PORT",
        what="delivery of audiences",
        more={CLOSED: lambda service: Page(200, msgspec.json.encode(service.closed), "application/json")},
    )
