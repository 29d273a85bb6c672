"""The console: how soon its read model is current at 10,000 segments, and what 200 live pages cost."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from uuid import uuid4

import uvloop
from aiokafka import AIOKafkaProducer

from segops.brokers import LocalBroker
from segops.config import Settings, load
from segops.console.board.board import Board
from segops.core.segments import Definition
from segops.kafka import topics
from segops.operations.definitions import publish
from segops.schemas.segments import inline
from segops.schemas.sizes import Published, SizeRecord, TrendRecord, encode_published, is_trend, key_of

SEGMENTS, PARTITIONS, MINUTES = 10_000, 8, 12
_MINUTE_MS = 60_000
_WAIT_S = 300.0


def measure(broker: LocalBroker) -> dict[str, float]:
    """Measure a console's read model: 10,000 segments in 8 partitions, a minute each second hour of a day."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        settings = _settings(broker)
        runner.run(_fill(settings))
        return runner.run(_restart(settings))


def _settings(broker: LocalBroker) -> Settings:
    os.environ |= {
        "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "SEGOPS_TOPIC_PREFIX": f"bench{uuid4().hex[:8]}.",
        "SEGOPS_APP_ID": f"bench{uuid4().hex[:8]}",
        "SEGOPS_PARTITIONS": str(PARTITIONS),
    }
    return load()


def definitions(count: int) -> list[Definition]:
    """Return so many segments with rules as people write them."""
    rules = (
        {"did": "Order Completed", "count": {"gte": 5}, "within": "60d"},
        {
            "all": [
                {"did": "Product Viewed", "where": {"category": {"eq": "shoes"}}, "within": "7d"},
                {"not": {"did": "Order Completed", "within": "7d"}},
                {"trait": "country", "is": {"in": ["FR", "DE"]}},
            ]
        },
    )
    written = [{"key": f"segment-{n}", "name": f"Segment {n}", "when": rules[n % 2]} for n in range(count)]
    return inline(written, "bench", "segments")


def size(key: str, partition: int, members: int, now_ms: int) -> SizeRecord:
    """Return what a partition reports of a segment."""
    left = {"time": 10}
    return SizeRecord(
        key, 1, partition, PARTITIONS, 0, "live", members, {"event": members + 10}, left, now_ms
    )


def _records(now_ms: int) -> Iterator[Published]:
    for number in range(SEGMENTS):
        key = f"segment-{number}"
        for partition in range(PARTITIONS):
            yield size(key, partition, 1_000 + number, now_ms)
            for back in range(MINUTES, 0, -1):
                at_ms = (now_ms // _MINUTE_MS - 120 * back) * _MINUTE_MS
                event = {"event": 2}
                yield TrendRecord(key, at_ms, partition, PARTITIONS, 0, 990, event, {"time": 1}, now_ms)


@asynccontextmanager
async def _producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    options = {"bootstrap_servers": settings.kafka.bootstrap_servers, "linger_ms": 20}
    async with AIOKafkaProducer(**options, max_batch_size=1 << 18, compression_type="lz4") as producer:
        yield producer


async def _fill(settings: Settings) -> None:
    await topics.create(settings)
    await publish(settings, definitions(SEGMENTS))
    now_ms = int(time.time() * 1000)
    async with _producer(settings) as producer:
        for each in _records(now_ms):
            topic = settings.topics.trends if is_trend(each) else settings.topics.sizes
            await producer.send(topic, encode_published(each), key=key_of(each), partition=each.partition)


async def _restart(settings: Settings) -> dict[str, float]:
    board, stop = Board(settings), asyncio.Event()
    began, spent = time.monotonic(), time.process_time()
    running = asyncio.create_task(board.run(stop))
    watching = asyncio.create_task(_longest_block())
    async with asyncio.timeout(_WAIT_S):
        while board.as_of_ms is None:
            await asyncio.sleep(0.02)
        current = time.monotonic() - began
        while not (len(board.rows) == SEGMENTS and len(board.definitions) == SEGMENTS):
            await asyncio.sleep(0.02)
        rows = time.monotonic() - began
        while not board.is_complete:
            await asyncio.sleep(0.02)
    complete, cpu = time.monotonic() - began, time.process_time() - spent
    stop.set()
    await running
    watching.cancel()
    blocked = sorted(_BLOCKS)
    return {
        "console: 10,000 segments: seconds until it is current": current,
        "console: 10,000 segments: seconds until all rows are there": rows,
        "console: 10,000 segments: seconds until 960,000 past minutes, too": complete,
        "console: 10,000 segments: CPU seconds of that": cpu,
        "console: 10,000 segments: longest block of the loop, ms": 1000 * blocked[-1],
        "console: 10,000 segments: p99 of the loop's blocks, ms": 1000 * blocked[len(blocked) * 99 // 100],
    }


_BLOCKS: list[float] = []


async def _longest_block() -> None:
    """Note how much CPU time others of this loop took between two turns; other processes do not count."""
    while True:
        began = time.thread_time()
        await asyncio.sleep(0.001)
        _BLOCKS.append(time.thread_time() - began)
