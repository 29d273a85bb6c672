"""The read API through a broker: how soon it has read everything, and its latency at a fixed rate."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import urllib.request
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from uuid import uuid4

import uvloop
from aiokafka import AIOKafkaProducer

from segops.brokers import LocalBroker
from segops.brokers.network import reserve_ports
from segops.config import Settings, load
from segops.core.events import Change, IndicatorValue, change_id
from segops.core.profile import Profile
from segops.kafka import topics
from segops.operations.definitions import publish
from segops.schemas.changes import encode_change
from segops.schemas.indicators import encode_value, value_key
from segops.schemas.records import partition_of
from segops.schemas.segments import load_checked
from segops.schemas.state import encode_profile

from .collector import cpu_seconds

PROFILES, RATE, SECONDS, CHANGES, CONNECTIONS = 100_000, 2_000, 20, 500, 64
SEGMENTS = ("vip", "at-risk", "hidden")
_KEY, _ORIGIN = "rk-benchmark", "https://shop.example"
_DEFINED = """
version: 1
indicators: {orders: {did: Order Completed}}
segments:
  - {key: vip, expose: true, when: {did: A}}
  - {key: at-risk, expose: true, when: {did: B}}
  - {key: hidden, when: {did: C}}
"""
_SITES = f"version: 1\nsites: [{{name: bench, origins: ['{_ORIGIN}'], rate: 100000}}]"
_TICK_S = 0.001


def measure(broker: LocalBroker) -> dict[str, float]:
    """Measure one process with 100,000 profiles, of which each has two identifiers."""
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    with runner, TemporaryDirectory() as folder, reserve_ports(2) as (port, web_port):
        settings = _settings(broker, Path(folder), port, web_port)
        runner.run(_fill(settings, Path(folder)))
        with _running(web_port) as (pid, seconds):
            figures = _sizes(Path(folder), pid) | {"serve: seconds until all is read": seconds}
            return figures | runner.run(_measured(settings, pid, port))


def _settings(broker: LocalBroker, folder: Path, port: int, web_port: int) -> Settings:
    (folder / "sites.yaml").write_text(_SITES)
    os.environ |= {
        "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "SEGOPS_TOPIC_PREFIX": f"bench{uuid4().hex[:8]}.",
        "SEGOPS_APP_ID": f"bench{uuid4().hex[:8]}",
        "SEGOPS_DATA_DIR": str(folder / "data"),
        "SEGOPS_SERVE_PORT": str(port),
        "SEGOPS_SERVE_WEB_PORT": str(web_port),
        "SEGOPS_SERVE_KEYS": f"bench={_KEY}",
        "SEGOPS_SERVE_SITES": str(folder / "sites.yaml"),
    }
    return load()


async def _fill(settings: Settings, folder: Path) -> None:
    await topics.create(settings)
    file = folder / "segments.yaml"
    file.write_text(_DEFINED)
    await publish(settings, load_checked([file]).all_definitions)
    async with _producer(settings) as producer:
        for number in range(PROFILES):
            await _send_profile(settings, producer, number)


@asynccontextmanager
async def _producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    options = {"bootstrap_servers": settings.kafka.bootstrap_servers, "linger_ms": 20}
    async with AIOKafkaProducer(**options, max_batch_size=1 << 18) as producer:
        yield producer


async def _send_profile(settings: Settings, producer: AIOKafkaProducer, number: int) -> None:
    """Send a customer, the visitor who became one, two or three memberships and an indicator."""
    customer, visitor = f"user_id:u{number}", f"anonymous_id:{number:032x}"
    changelog = settings.worker.changelog
    traits = {"name": "x" * 200}
    profile = Profile(customer, first_ms=1, latest_ms=2, traits=traits, trait_times={"name": 1})
    await _send(settings, producer, changelog, customer, customer.encode(), encode_profile(profile))
    redirect = encode_profile(Profile(visitor, merged_into=customer))
    await _send(settings, producer, changelog, visitor, visitor.encode(), redirect)
    for segment in SEGMENTS[: 2 + number % 2]:
        await _send_change(settings, producer, customer, segment, member=True)
    value = encode_value(
        IndicatorValue(customer, "orders", 1, number, "event", 1, None, customer, None, None)
    )
    key = value_key(customer, "orders")
    await _send(settings, producer, settings.topics.indicators, customer, key, value)


async def _send_change(
    settings: Settings, producer: AIOKafkaProducer, profile_id: str, segment: str, *, member: bool
) -> None:
    now_ms = int(time.time() * 1000)
    start = (profile_id, segment, 1, "entered" if member else "exited", member, "event", now_ms, now_ms, 1)
    change = Change(*start, change_id(profile_id, segment, 1), None, None, "u", None, None, "{}")
    key = f"{profile_id}|{segment}".encode()
    state = settings.topics.membership_state
    await _send(settings, producer, state, profile_id, key, encode_change(change, now_ms))


async def _send(
    settings: Settings, producer: AIOKafkaProducer, topic: str, of: str, key: bytes, value: bytes | None
) -> None:
    number = partition_of(of.encode(), settings.topics.partitions)
    await producer.send(topic, value, key=key, partition=number)


@contextmanager
def _running(web_port: int) -> Iterator[tuple[int, float]]:
    """Yield the process id, and the seconds from its start until it is ready."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "segops", "serve"])
    try:
        while not _ready(web_port):
            if process.poll() is not None or time.monotonic() > began + 600:
                raise RuntimeError("the read API does not become ready")
            time.sleep(0.1)
        yield process.pid, time.monotonic() - began
    finally:
        process.terminate()
        process.wait(30)


def _ready(port: int) -> bool:
    with suppress(OSError):
        return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).status == 200)
    return False


def _sizes(folder: Path, pid: int) -> dict[str, float]:
    files = sum(path.stat().st_size for path in (folder / "data").rglob("*") if path.is_file())
    memory = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "serve: bytes of files per profile": files / PROFILES,
        "serve: memory of the process, MiB": memory / (1 << 20),
    }


async def _measured(settings: Settings, pid: int, port: int) -> dict[str, float]:
    await _open_loop(port, seconds=2)
    spent = cpu_seconds(pid)
    quiet = await _open_loop(port, seconds=SECONDS)
    spent = (cpu_seconds(pid) - spent) / SECONDS
    changing = asyncio.create_task(_change_regularly(settings))
    busy = await _open_loop(port, seconds=SECONDS)
    changing.cancel()
    return {
        "serve: share of a core at this rate": spent,
        **_percentiles(f"{RATE} requests/s", quiet),
        **_percentiles(f"beside {CHANGES} changes/s", busy),
    }


def _percentiles(at: str, found: _Samples) -> dict[str, float]:
    return {
        f"serve: {at}: p50, ms": 1000 * _share(found.latencies, 0.5),
        f"serve: {at}: p99, ms": 1000 * _share(found.latencies, 0.99),
        f"serve: {at}: p99 of how late they were sent, ms": 1000 * _share(found.late, 0.99),
        f"serve: {at}: p99 of the age of answers, ms": 1000 * _share(found.ages, 0.99),
    }


def _share(seconds: list[float], share: float) -> float:
    return sorted(seconds)[int(len(seconds) * share)]


async def _change_regularly(settings: Settings) -> None:
    async with _producer(settings) as producer:
        began, sent = time.monotonic(), 0
        while True:
            await asyncio.sleep(0.02)
            due = int((time.monotonic() - began) * CHANGES)
            for number in range(sent, due):
                customer, member = f"user_id:u{number * 7 % PROFILES}", number % 2 == 0
                await _send_change(settings, producer, customer, SEGMENTS[number % 3], member=member)
            sent = due


class _Samples(NamedTuple):
    """Seconds: from when a request was due to its answer, and to when it was sent; the age of answers."""

    latencies: list[float]
    late: list[float]
    ages: list[float]


class _Reader(asyncio.Protocol):
    """A connection that has one request under way; answers arrive in one piece, as they are small."""

    def __init__(self, idle: deque[_Reader], samples: _Samples) -> None:
        self._idle, self._samples = idle, samples
        self._due_s = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._idle.append(self)

    def send(self, request: bytes, due_s: float) -> None:
        self._due_s = due_s
        self._samples.late.append(time.monotonic() - due_s)
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if not data.startswith(b"HTTP/1.1 200 ") or not data.endswith(b"}"):
            raise RuntimeError(data.decode())
        self._samples.latencies.append(time.monotonic() - self._due_s)
        as_of_ms = int(data.rpartition(b'"as_of":')[2][:-1])
        self._samples.ages.append(time.time() - as_of_ms / 1000)
        self._idle.append(self)


async def _open_loop(port: int, *, seconds: float) -> _Samples:
    """Send at fixed instants; a late answer delays no later request, and its whole wait counts."""
    idle: deque[_Reader] = deque()  # the one that was idle for longest is next, so that none is closed
    found = _Samples([], [], [])
    loop = asyncio.get_running_loop()
    for _ in range(CONNECTIONS):
        await loop.create_connection(lambda: _Reader(idle, found), "127.0.0.1", port)
    requests = [_request(number) for number in range(5_000)]
    began, sent, count = time.monotonic(), 0, int(RATE * seconds)
    while len(found.latencies) < count:
        await asyncio.sleep(_TICK_S)
        due = min(count, int((time.monotonic() - began) * RATE))
        while sent < due and idle:
            idle.popleft().send(requests[sent % len(requests)], began + sent / RATE)
            sent += 1
    for reader in idle:
        reader._transport.close()
    return found


def _request(number: int) -> bytes:
    """Return a request about a customer by one of the identifiers."""
    of = number * 7_919 % PROFILES
    identifier = f"user_id:u{of}" if number % 2 else f"anonymous_id:{of:032x}"
    path = f"/v1/memberships/{identifier}?key={_KEY}"
    return f"GET {path} HTTP/1.1\r\nHost: api.shop.example\r\nOrigin: {_ORIGIN}\r\n\r\n".encode()
