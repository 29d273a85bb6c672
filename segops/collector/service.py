"""One collector process: its server of events, its connection to Kafka, and its condition."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from aiohttp.web import ServerRunner, TCPSite

from segops.api.health import Condition, Page, metrics_page
from segops.api.listen import check_address
from segops.collector.delivery import Delivery
from segops.collector.following import PlanFollower
from segops.collector.ingest import Ingest
from segops.collector.metrics import CollectorMetrics
from segops.collector.pages import violations_page
from segops.collector.plans import Plans
from segops.collector.server import CollectorServer
from segops.collector.sources import load_sources
from segops.collector.webhooks import Webhooks
from segops.config import Settings
from segops.metrics import Metrics
from segops.schemas.identifying import limits_of
from segops.wall_clock import wall_ms

log = logging.getLogger(__name__)

#: How long a response in progress may delay the end of the process, beyond the wait for Kafka.
_SHUTDOWN_S: Final = 1.0


class CollectorService:
    """The collector of these settings. ``passed`` is called at each failpoint.

    Raises UserError for wrong write keys or sources.
    """

    def __init__(self, settings: Settings, metrics: Metrics, *, passed: Callable[[str], None]) -> None:
        self._settings = settings.collect
        self._metrics = metrics
        self._counts = CollectorMetrics(metrics.registry)
        self._sources = load_sources(settings.collect, now_s=time.monotonic())
        self._delivery = Delivery(settings, now=time.monotonic, on_state=self._on_state)
        self._plans = Plans(self._counts, keeps_payloads=settings.collect.violation_payloads)
        self._follower = PlanFollower(settings, self._plans, self._counts)
        self._ingest = Ingest(
            self._sources,
            self._delivery,
            self._plans,
            topics=settings.topics,
            limits=limits_of(settings),
            metrics=metrics,
            counts=self._counts,
            wall_ms=wall_ms,
            now=time.monotonic,
            passed=passed,
        )
        webhooks = Webhooks(
            settings, self._delivery, metrics=metrics, counts=self._counts, wall_ms=wall_ms, passed=passed
        )
        self._webhooks = webhooks if settings.shopify.keys else None
        self._server: CollectorServer | None = None

    def _on_state(self, connected: bool) -> None:
        self._metrics.broker_connected.set(connected)

    @property
    def sources(self) -> list[str]:
        """The names of the sources."""
        return self._sources.names

    def condition(self) -> Condition:
        """Return whether events can be delivered, and else why not."""
        reason = self._delivery.waits_for
        if reason is None and not self._plans.known:
            reason = "the tracking plans are not read yet"
        return Condition(reason is None, reason or "")

    def metrics_page(self) -> Page:
        """Return the metrics, with the present memory and connections."""
        metrics = self._counts
        metrics.waiting_bytes.set(self._delivery.waiting_bytes)
        metrics.connections.set(0 if self._server is None else self._server.open_connections)
        return metrics_page(self._metrics.registry)

    def violations_page(self) -> Page:
        """Return the violations of tracking plans that this process counted."""
        return violations_page(self._plans.tally)

    async def run(self, stop: asyncio.Event) -> None:
        """Accept events until ``stop``, then answer the open requests and end.

        The server answers from the start, with 503 until Kafka is reached. Raises UserError when the address
        is not available, or for settings that cannot work.
        """
        settings = self._settings
        check_address(settings.host, settings.port, variable="SEGOPS_COLLECT_PORT")
        self._server = CollectorServer(self._ingest, settings, self._counts, webhooks=self._webhooks)
        runner = ServerRunner(self._server, shutdown_timeout=settings.timeout_ms / 1000 + _SHUTDOWN_S)
        await runner.setup()
        ending = asyncio.Event()
        delivering = asyncio.create_task(self._delivery.run(ending))
        following = asyncio.create_task(self._follower.run(ending))
        stopping = asyncio.create_task(stop.wait())
        try:
            await TCPSite(runner, settings.host, settings.port).start()
            await asyncio.wait((stopping, delivering), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            await runner.cleanup()  # accepts no more connections, and awaits the requests in progress
            ending.set()
            await asyncio.gather(following, delivering)
