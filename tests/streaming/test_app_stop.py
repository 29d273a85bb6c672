"""An app that is told to stop while it is still starting."""

from __future__ import annotations

import asyncio
from pathlib import Path

from prometheus_client import CollectorRegistry

from segops import worker
from segops.config import load
from segops.kafka.definitions import Published
from segops.metrics import Metrics
from segops.schemas.owner import Owner
from tests.conftest import NOWHERE


def test_an_app_stops_before_its_consumer_has_started(tmp_path: Path) -> None:
    settings = load(kafka={"bootstrap_servers": NOWHERE}, state={"data_dir": tmp_path})
    stores = worker._stores(settings)

    async def main() -> bool:
        metrics, nothing = Metrics(CollectorRegistry()), Published([])
        app = worker._build(settings, Owner("a"), metrics, stores, nothing)
        assert app.consumer.assignment() == set()
        await app.stop()
        return bool(app.failure.done())

    try:
        assert not asyncio.run(main())
    finally:
        stores.close()
