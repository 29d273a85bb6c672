"""A recovery ends when its assignment ends."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from faust.tables.recovery import RebalanceAgain
from prometheus_client import CollectorRegistry

from segops.config import load
from segops.kafka.definitions import Published
from segops.metrics import Metrics
from segops.schemas.owner import Owner
from segops.worker import _build, _stores


def test_partitions_revoked_during_recovery_are_not_opened(tmp_path: Path) -> None:
    async def scenario() -> None:
        settings = load(state={"data_dir": tmp_path})
        app = _build(
            settings, Owner("segops"), Metrics(CollectorRegistry()), _stores(settings), Published([])
        )
        tables: Any = app.tables
        recovery = tables.recovery
        revoked = app.batch_consumer.revoked
        opening = asyncio.ensure_future(asyncio.Event().wait())
        waiting = asyncio.ensure_future(recovery._wait(opening))
        await asyncio.sleep(0)
        assert not waiting.done()
        revoked.set()
        with pytest.raises(RebalanceAgain):
            await waiting
        assert opening.cancelled()
        with pytest.raises(RebalanceAgain):  # a recovery that starts too late
            await recovery._wait(asyncio.Event().wait())
        revoked.clear()
        await recovery._wait(asyncio.sleep(0))

    asyncio.run(scenario())
