"""The read model on a real broker: it becomes current, hears of changes, and finds the workers' addresses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from segops import config
from segops.brokers import LocalBroker
from segops.config import Settings
from segops.console.board.board import Board
from segops.kafka import topics
from segops.kafka.clients import running_producer
from segops.operations.definitions import pause, publish, retire
from segops.schemas.segments import inline
from segops.schemas.sizes import SizeRecord, encode_published, key_of

pytestmark = pytest.mark.broker


def _settings(broker: LocalBroker, prefix: str) -> Settings:
    return config.load(
        kafka={"bootstrap_servers": broker.bootstrap_servers},
        topics={"prefix": prefix, "partitions": 2},
        worker={"app_id": f"{prefix}app", "web_port": 1},
        activate={"web_port": 1},
    )


async def _until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.02)


async def _report(settings: Settings, key: str, *members: int) -> None:
    async with running_producer(settings.kafka) as producer:
        for partition, number in enumerate(members):
            size = SizeRecord(key, 1, partition, 2, 0, "live", number, {"event": number}, {}, 1_000)
            await producer.send_and_wait(
                settings.topics.sizes, encode_published(size), key=key_of(size), partition=partition
            )


def test_a_board_is_current_hears_of_changes_and_reads_all_again_after_a_loss(
    broker: LocalBroker, topic_prefix: str
) -> None:
    settings = _settings(broker, topic_prefix)

    async def main() -> None:
        board, stop = Board(settings), asyncio.Event()
        running = asyncio.create_task(board.run(stop))
        await _until(lambda: board.reason and "missing topics" in board.reason)
        await topics.create(settings)
        vip = inline([{"key": "vip", "name": "VIP", "when": {"did": "Order Completed"}}], "x", "segments")
        await publish(settings, vip)
        await _report(settings, "vip", 40, 2)
        await _until(lambda: "vip" in board.rows and board.rows["vip"].members == 42 and board.is_complete)
        await _until(lambda: board.reason is None and "vip" in board.definitions)
        await _report(settings, "vip", 41)
        await _until(lambda: board.rows["vip"].members == 43)
        await pause(settings, ["vip"], paused=True)
        await _until(lambda: board.definitions["vip"].paused)
        assert [each.paused for each in board.editions("vip")] == [True, False]

        stop.set()
        await running
        again, stop = Board(settings), asyncio.Event()
        running = asyncio.create_task(again.run(stop))
        await _until(lambda: "vip" in again.rows and again.rows["vip"].members == 43)
        stop.set()
        await running
        partitions = again._follower._positions

        lost, stop = Board(settings), asyncio.Event()
        lost._follower._positions = dict.fromkeys(partitions, 10**9)
        running = asyncio.create_task(lost.run(stop))
        await _until(lambda: "vip" in lost.rows and lost.rows["vip"].members == 43)
        await retire(settings, ["vip"])
        await _until(lambda: "vip" not in lost.definitions and lost.log.retired == {"vip": 1})
        stop.set()
        await running

    asyncio.run(main())
