"""A collector on loopback whose Kafka is a list: acknowledgements come when the test says so."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import uvloop
from aiohttp import ClientSession
from aiohttp.web import ServerRunner, TCPSite
from prometheus_client import CollectorRegistry

from segops.collector.delivery import Delivery
from segops.collector.ingest import Ingest
from segops.collector.metrics import CollectorMetrics
from segops.collector.plans import Plans
from segops.collector.server import CollectorServer
from segops.collector.sources import load_sources
from segops.collector.webhooks import Webhooks
from segops.collector.writer import Writer
from segops.config import Settings, load
from segops.core.values import parse_instant
from segops.metrics import Metrics
from segops.schemas.identifying import limits_of

KEY, OTHER_KEY = "wk-website-1", "wk-backend-1"
#: When every request is received.
NOW = "2026-03-01T12:00:00.000Z"
EVENT = {"type": "track", "event": "Product Viewed", "userId": "ann", "messageId": "m1"}


@dataclass
class FakeRecord:
    topic: str
    partition: int
    key: bytes | None
    value: bytes
    headers: dict[str, bytes]

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.value)
        return found


@dataclass
class FakeBatch:
    records: list[dict[str, Any]] = field(default_factory=list)
    limit: int = 1_000

    def append(self, **record: Any) -> object | None:
        if len(self.records) >= self.limit:
            return None
        self.records.append(record)
        return self

    def close(self) -> None:
        pass


class FakeProducer:
    """Keeps what is sent. ``acknowledge`` is cleared to hold acknowledgements back; ``error`` fails them."""

    def __init__(self) -> None:
        self.sent: list[FakeRecord] = []
        self.batches: list[int] = []
        self.acknowledge = asyncio.Event()
        self.acknowledge.set()
        self.error: Exception | None = None
        self.limit = 1_000

    def create_batch(self) -> FakeBatch:
        return FakeBatch(limit=self.limit)

    async def send_batch(self, batch: FakeBatch, topic: str, *, partition: int) -> asyncio.Future[None]:
        self.batches.append(len(batch.records))
        for each in batch.records:
            record = FakeRecord(topic, partition, each["key"], each["value"], dict(each["headers"]))
            self.sent.append(record)
        return asyncio.ensure_future(self._delivery())

    async def _delivery(self) -> None:
        await self.acknowledge.wait()
        if self.error is not None:
            raise self.error


class Collector:
    """A collector of the sources ``website`` and ``backend``."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.producer = FakeProducer()
        self.metrics = Metrics(CollectorRegistry())
        self.counts = CollectorMetrics(self.metrics.registry)
        self.delivery = Delivery(settings, now=time.monotonic, on_state=lambda _: None)
        self.connect()
        self.passed: list[str] = []
        self.plans = Plans(self.counts, keeps_payloads=settings.collect.violation_payloads)
        self.plans.known = True
        self.ingest = Ingest(
            load_sources(settings.collect, now_s=time.monotonic()),
            self.delivery,
            self.plans,
            topics=settings.topics,
            limits=limits_of(settings),
            metrics=self.metrics,
            counts=self.counts,
            wall_ms=lambda: parse_instant(NOW) or 0,
            now=time.monotonic,
            passed=self.passed.append,
        )
        self.webhooks = Webhooks(
            settings,
            self.delivery,
            metrics=self.metrics,
            counts=self.counts,
            wall_ms=lambda: parse_instant(NOW) or 0,
            passed=self.passed.append,
        )
        self.server = CollectorServer(
            self.ingest,
            settings.collect,
            self.counts,
            webhooks=self.webhooks if settings.shopify.keys else None,
        )
        self.port = 0
        self.session: ClientSession

    def connect(self) -> None:
        topics = self.settings.topics
        self.delivery._partitions = {topics.events: 4, topics.dead_letters: 4}
        self.delivery._writer = Writer(self.producer, now=time.monotonic)

    def disconnect(self) -> None:
        self.delivery._writer = None

    def records(self, topic: str = "segops.events") -> list[FakeRecord]:
        return [record for record in self.producer.sent if record.topic == topic]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [record.event for record in self.records()]

    @property
    def letters(self) -> list[FakeRecord]:
        return self.records("segops.dead-letters")

    async def post(
        self,
        path: str = "/v1/track",
        content: object = None,
        *,
        key: str | None = KEY,
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
    ) -> Answer:
        """Send JSON, or bytes as they are, with a write key and further headers."""
        body = content if isinstance(content, bytes) else json.dumps(EVENT if content is None else content)
        sent = {"Content-Type": "application/json", **(headers or {})}
        if key is not None:
            sent.setdefault("Authorization", basic(f"{key}:"))
        async with self.session.request(
            method, f"http://127.0.0.1:{self.port}{path}", data=body, headers=sent
        ) as answer:
            return Answer(answer.status, dict(answer.headers), await answer.read())

    async def get(self, path: str, **headers: str) -> Answer:
        async with self.session.get(f"http://127.0.0.1:{self.port}{path}", headers=headers) as answer:
            return Answer(answer.status, dict(answer.headers), await answer.read())

    def count(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def basic(credentials: str) -> str:
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


def batch(*events: object, **fields: object) -> dict[str, object]:
    return {"batch": list(events), **fields}


def serve(
    steps: Callable[[Collector], Awaitable[None]],
    *,
    timeout_s: float = 20,
    shopify: Mapping[str, object] | None = None,
    **options: object,
) -> None:
    """Run ``steps`` against a collector with these options, and those of Shopify."""

    async def run() -> None:
        keys = f"website={KEY},backend={OTHER_KEY}"
        settings = load(
            topics={"prefix": "segops."}, collect={"keys": keys, **options}, shopify=shopify or {}
        )
        collector = Collector(settings)
        runner = ServerRunner(collector.server, shutdown_timeout=0.1)
        await runner.setup()
        await TCPSite(runner, "127.0.0.1", 0).start()
        collector.port = runner.addresses[0][1]
        try:
            async with asyncio.timeout(timeout_s), ClientSession() as collector.session:
                await steps(collector)
        finally:
            collector.producer.acknowledge.set()
            await runner.cleanup()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
