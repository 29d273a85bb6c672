"""The collector through a broker: throughput per core, latency at half of it, and many slow senders."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import msgspec
import uvloop

from segops.brokers import LocalBroker
from segops.brokers.network import reserve_ports, wait_for
from segops.config import load
from segops.kafka import topics

BATCH, SENDERS, SLOW_SENDERS = 100, 16, 10_000
SECONDS = 10
SOURCE = "bench"
_KEY_LINE = b"Authorization: Basic d2stYmVuY2htYXJr\r\n"  # wk-benchmark
_TICKS, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
_OK = b"HTTP/1.1 200 "


def measure(broker: LocalBroker, made: Sequence[tuple[str, bytes]]) -> dict[str, float]:
    """Measure a collector process that receives these events in batches with acks=all."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, running(broker) as (pid, port):
        requests = list(requests_of([value for _, value in made]))
        return runner.run(_measure(pid, port, requests))


async def _measure(pid: int, port: int, requests: Sequence[bytes]) -> dict[str, float]:
    spent, count, seconds = cpu_seconds(pid), 0, time.monotonic()
    latencies = await closed_loop(port, requests, until_s=seconds + SECONDS)
    spent, seconds, count = cpu_seconds(pid) - spent, time.monotonic() - seconds, BATCH * len(latencies)
    half = count / spent / 2  # of what one core does, also where the senders share it
    at_half = sorted(await _open_loop(port, requests, rate=min(half, count / seconds / 2) / BATCH))
    before, slow = memory_of(pid), await _slow(port)
    await asyncio.sleep(1)
    grown = memory_of(pid) - before
    served = await closed_loop(port, requests, until_s=time.monotonic() + 2)
    for writer in slow:
        writer.transport.abort()
    return {
        "collector: batches of 100, events per CPU second": count / spent,
        "collector: batches of 100, events per second of wall": count / seconds,
        "collector: p50 at half load, ms": 1000 * at_half[len(at_half) // 2],
        "collector: p99 at half load, ms": 1000 * at_half[len(at_half) * 99 // 100],
        f"collector: memory of {len(slow)} slow senders, MiB": grown / (1 << 20),
        "collector: events per second beside the slow senders": BATCH * len(served) / 2,
    }


@contextmanager
def running(broker: LocalBroker) -> Iterator[tuple[int, int]]:
    """Yield the process id and the port of a collector."""
    with reserve_ports(2) as (port, web_port):
        environment = {
            "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "SEGOPS_TOPIC_PREFIX": f"bench{uuid4().hex[:8]}.",
            "SEGOPS_COLLECT_KEYS": f"{SOURCE}=wk-benchmark",
            "SEGOPS_COLLECT_RATE": "1000000",
            "SEGOPS_COLLECT_PORT": str(port),
            "SEGOPS_COLLECT_WEB_PORT": str(web_port),
            "SEGOPS_COLLECT_READ_TIMEOUT": "5m",
            "SEGOPS_COLLECT_CONNECTIONS": "20000",
        }
        os.environ.update(environment)
        asyncio.run(topics.create(load()))
        process = subprocess.Popen([sys.executable, "-m", "segops", "collect"])
        try:
            if not wait_for(lambda: _ready(web_port), within_s=30):
                raise RuntimeError("the collector does not become ready")
            yield process.pid, port
        finally:
            process.terminate()
            process.wait(30)


def _ready(port: int) -> bool:
    try:
        return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).status == 200)
    except OSError:
        return False


def requests_of(values: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the requests that send events in batches."""
    for begin in range(0, len(values) - BATCH + 1, BATCH):
        batch = [msgspec.Raw(value) for value in values[begin : begin + BATCH]]
        body = msgspec.json.encode({"batch": batch, "sentAt": "2026-03-01T10:00:00Z"})
        head = b"POST /v1/batch HTTP/1.1\r\nHost: h\r\n" + _KEY_LINE
        yield head + b"Content-Length: %d\r\n\r\n" % len(body) + body


class _Sender:
    """A connection that sends one request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> _Sender:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, request: bytes) -> None:
        """Send a request and await its answer. Raises RuntimeError unless it is 200."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await self._reader.readexactly(length)
        if not head.startswith(_OK):
            raise RuntimeError(body.decode())


async def closed_loop(port: int, requests: Sequence[bytes], *, until_s: float) -> list[float]:
    """Send by several senders without a pause; return the latencies in seconds."""
    latencies: list[float] = []

    async def keep_sending(first: int) -> None:
        sender, number = await _Sender.open(port), first
        while time.monotonic() < until_s:
            started = time.monotonic()
            await sender.send(requests[number % len(requests)])
            latencies.append(time.monotonic() - started)
            number += SENDERS

    await asyncio.gather(*(keep_sending(first) for first in range(SENDERS)))
    return latencies


async def _open_loop(port: int, requests: Sequence[bytes], *, rate: float) -> list[float]:
    """Send at fixed instants; a late answer delays no later request, and its whole wait counts."""
    idle = [await _Sender.open(port) for _ in range(8 * SENDERS)]
    latencies: list[float] = []
    started = time.monotonic()

    async def send(number: int) -> None:
        sender = idle.pop()
        await sender.send(requests[number % len(requests)])
        latencies.append(time.monotonic() - started - number / rate)
        idle.append(sender)

    tasks = []
    for number in range(int(SECONDS * rate)):
        await asyncio.sleep(started + number / rate - time.monotonic())
        tasks.append(asyncio.create_task(send(number)))
    await asyncio.gather(*tasks)
    return latencies


async def _slow(port: int) -> list[asyncio.StreamWriter]:
    """Open many connections whose requests never end."""
    head = b"POST /v1/batch HTTP/1.1\r\nHost: h\r\n" + _KEY_LINE + b"Content-Length: 100000\r\n\r\n"
    writers = []
    for _ in range(SLOW_SENDERS):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head + b'{"batch":[')
        writers.append(writer)
    return writers


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, of user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_of(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
