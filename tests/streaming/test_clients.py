"""Kafka clients that are stopped: a cancellation that comes meanwhile is not lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from segops import config
from segops.kafka.clients import running_admin


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """An event that is set while an admin client stops; clients start without a broker."""
    event = asyncio.Event()

    async def synchronize() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            event.set()
            await asyncio.sleep(0.01)

    async def start(self: Any) -> None:
        self._client._sync_task = asyncio.create_task(synchronize())
        await asyncio.sleep(0)

    monkeypatch.setattr(AIOKafkaAdminClient, "start", start)
    return event


@pytest.mark.parametrize("cancelled", [True, False])
def test_a_task_that_is_cancelled_while_its_client_stops_ends(
    cancelled: bool, stopping: asyncio.Event
) -> None:
    async def work() -> str:
        async with running_admin(config.load().kafka):
            pass
        return "went on"

    async def main() -> bool:
        task = asyncio.create_task(work())
        await stopping.wait()
        if cancelled:
            task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(main()) is cancelled
