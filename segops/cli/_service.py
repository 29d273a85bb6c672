"""Run a process beside the workers until a signal stops it, with pages for health and metrics."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Protocol, TypeVar

from prometheus_client import CollectorRegistry

from segops import __version__
from segops.api.health import Condition, Health, Page, metrics_page
from segops.api.server import Pages
from segops.config import Settings
from segops.metrics import Metrics
from segops.streaming.failpoints import Failpoints
from segops.streaming.web import page_server, serving

log = logging.getLogger(__name__)


class Service(Protocol):
    """What such a process does."""

    @property
    def waits_for(self) -> str | None: ...
    async def run(self, stop: asyncio.Event) -> None: ...


def raise_descriptor_limit() -> None:
    """Allow as many open connections as the system lets this process have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


S = TypeVar("S", bound=Service)
Start = Callable[[Metrics, Callable[[str], None]], S]


async def serve(
    settings: Settings,
    start: Start[S],
    *,
    port: int,
    variable: str,
    what: str,
    more: Mapping[str, Callable[[S], Page]] = MappingProxyType({}),
) -> None:
    """Run the service that ``start`` makes until SIGTERM or SIGINT.

    ``start`` gets the metrics, and the function to be called at failpoints. ``variable`` is the setting of
    the port. ``more``: further pages of the service, by path. Raises UserError if the address is not
    available, and what the service raises.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    metrics = Metrics(CollectorRegistry())
    metrics.build.info({"version": __version__})
    service = start(metrics, Failpoints(settings.worker.crash_at).passed)

    def condition() -> Condition:
        return Condition(service.waits_for is None, service.waits_for or "")

    health = Health(condition)
    web = settings.worker.model_copy(update={"web_port": port})
    pages = Pages(
        {
            "/metrics": lambda: metrics_page(metrics.registry),
            "/healthz": health.live,
            "/readyz": health.ready,
            **{path: partial(page, service) for path, page in more.items()},
        },
        profiles=None,
    )
    async with serving(web, page_server(web, pages), variable=variable):
        log.info("segops %s: %s", __version__, what)
        await service.run(stop)
