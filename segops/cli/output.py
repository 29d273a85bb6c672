"""``segops output``: memberships in the form that another system takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import click

from segops.cli._service import serve
from segops.config import load
from segops.logs import start_logging
from segops.metrics import Metrics
from segops.output.formats import check
from segops.output.service import OutputService

_EPILOG = """
\b
Examples:
  SEGOPS_OUTPUT_FORMAT=connect-json segops topics create
  SEGOPS_OUTPUT_FORMAT=connect-json segops output
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--web-port", type=click.IntRange(0, 65_535), help="Port of the HTTP server. [SEGOPS_OUTPUT_WEB_PORT]"
)
def command(web_port: int | None) -> None:
    """Write memberships in the form of SEGOPS_OUTPUT_FORMAT to topics of their own until Ctrl-C.

    For Kafka Connect and other systems that cannot take the membership topics as they are. Each record is
    copied exactly once, in order. Several processes share the partitions; processes with different formats
    run beside each other.
    """
    settings = load(**({} if web_port is None else {"output": {"web_port": web_port}}))
    check(settings)
    start_logging(settings.worker.log_level)

    def start(metrics: Metrics, passed: Callable[[str], None]) -> OutputService:
        return OutputService(settings, metrics, passed=passed)

    what = f"{settings.output.format} of {settings.topics.prefix}membership.*"
    served = serve(
        settings, start, port=settings.output.web_port, variable="SEGOPS_OUTPUT_WEB_PORT", what=what
    )
    asyncio.run(served)
