"""The console: how soon its read model is current at 10,000 segments, and what 200 live pages cost."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from uuid import uuid4

import uvloop
from aiohttp.web import AppRunner, TCPSite
from aiokafka import AIOKafkaProducer
from prometheus_client import CollectorRegistry

from segops.brokers import LocalBroker
from segops.brokers.network import reserve_ports, wait_for
from segops.config import Settings, load
from segops.console.board.board import Board
from segops.console.service import ConsoleService
from segops.core.segments import Definition
from segops.kafka import topics
from segops.metrics import Metrics
from segops.operations.definitions import publish
from segops.schemas.segments import inline
from segops.schemas.sizes import Published, SizeRecord, TrendRecord, encode_published, is_trend, key_of

from .collector import cpu_seconds, memory_of

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
    """Note how much CPU time other tasks took between two turns: other processes do not count."""
    while True:
        began = time.thread_time()
        await asyncio.sleep(0.001)
        _BLOCKS.append(time.thread_time() - began)


# -- live pages --------------------------------------------------------------------------------------------

CLIENTS, LIVE, LIVE_SECONDS = 200, 1_000, 15


def measure_live() -> dict[str, float]:
    """Measure a console's process with 200 live pages of 1,000 segments, of which each changes each second.

    The records of their sizes come from memory. Then the same with the 50 segments that a page shows.
    """
    whole = _live("/live?page=segments")
    keys = "%20".join(f"segment-{number}" for number in range(50))
    shown = _live(f"/live?page=segments&keys={keys}")
    return {f"console: 200 pages of 1,000 live segments: {name}": each for name, each in whole.items()} | {
        f"console: 200 pages of 50 of them: {name}": each for name, each in shown.items()
    }


def _live(path: str) -> dict[str, float]:
    with reserve_ports(1) as (port,):
        process = subprocess.Popen([sys.executable, "-m", "tests.bench.console", str(port)])
        try:
            if not wait_for(lambda: _answers(port), within_s=60):
                raise RuntimeError("the console does not answer")
            return asyncio.run(_watched(process.pid, port, path))
        finally:
            process.terminate()
            process.wait(30)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


async def _watched(pid: int, port: int, path: str) -> dict[str, float]:
    await asyncio.sleep(5)
    spent = cpu_seconds(pid)
    await asyncio.sleep(LIVE_SECONDS)
    alone, before = (cpu_seconds(pid) - spent) / LIVE_SECONDS, memory_of(pid)
    received = [0, 0]
    reading = [asyncio.create_task(_read(port, path, received)) for _ in range(CLIENTS)]
    await asyncio.sleep(5)
    spent, received[:] = cpu_seconds(pid), [0, 0]
    await asyncio.sleep(LIVE_SECONDS)
    busy = (cpu_seconds(pid) - spent) / LIVE_SECONDS
    grown = memory_of(pid) - before
    failed = sum(each.done() for each in reading)
    for each in reading:
        each.cancel()
    if failed:
        raise RuntimeError(f"{failed} pages were closed")
    return {
        "share of a core": busy,
        "share of a core without pages": alone,
        "KiB of memory per page": grown / CLIENTS / 1024,
        "KiB per page and second": received[0] / LIVE_SECONDS / CLIENTS / 1024,
        "messages per page and second": received[1] / LIVE_SECONDS / CLIENTS,
    }


async def _read(port: int, path: str, received: list[int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    while data := await reader.read(1 << 18):
        received[0] += len(data)
        received[1] += data.count(b"event: delta")


async def _serve(port: int) -> None:
    settings = load(console={"port": port})
    board = _Fed(settings)
    service = ConsoleService(settings, Metrics(CollectorRegistry()))
    service._board = board
    runner = AppRunner(service.console().application(), access_log=None)
    await runner.setup()
    await TCPSite(runner, "127.0.0.1", port).start()
    await board.live()


class _Fed(Board):
    """A board that reads no topic: each second it is told a size of each segment."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._fresh(PARTITIONS, ())
        self._now_ms = 0

    @property
    def as_of_ms(self) -> int | None:
        return self._now_ms

    async def live(self) -> None:
        """Tick each second, for ever."""
        number, due = 0, time.monotonic()
        for key in (f"segment-{each}" for each in range(LIVE)):
            for partition in range(PARTITIONS):
                self._tell(size(key, partition, 1_000, 0))
        self.definitions = {each.key: each for each in definitions(LIVE)}
        while True:
            number += 1
            self._now_ms = int(time.time() * 1000)
            for each in range(LIVE):
                self._tell(size(f"segment-{each}", number % PARTITIONS, 1_000 + number, self._now_ms))
            await self._rows.tick()
            await self.hub.tick()
            due += 1
            await asyncio.sleep(max(0, due - time.monotonic()))

    def _tell(self, record: SizeRecord) -> None:
        self._rows.note(self.sizes.apply(key_of(record), encode_published(record)))


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
