"""A wait for definitions ends in time, even if the Kafka client loses the cancellation of its timeout."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from segops.config import load
from segops.operations import rollout


class Reader:
    """A reader of sizes that swallows the first cancellation, as asyncio.wait_for of Python 3.11 may."""

    def __init__(self) -> None:
        missing = SimpleNamespace(complete=False, partitions=[])
        self.folded = SimpleNamespace(rollout=lambda versions: missing)

    async def changes(self) -> AsyncGenerator[set[str], None]:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                yield set()


@asynccontextmanager
async def reading(_settings: object) -> AsyncIterator[Any]:
    yield Reader()


def test_lost_cancellation_does_not_prolong_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "reading_sizes", reading)
    wait = rollout.wait_until_in_force(load(), {"vip": 1}, timeout_s=0.05)
    with pytest.raises(rollout.NotInForce, match="not in force"):
        asyncio.run(asyncio.wait_for(wait, 20))
