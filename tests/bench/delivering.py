"""The delivery through a broker: from a published change to the webhook's request, and a first fill."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import msgspec
from aiohttp import web
from aiokafka import AIOKafkaProducer

from segops.brokers import LocalBroker
from segops.config import Settings, load
from segops.core.audiences.model import Act
from segops.core.events import Change, change_id
from segops.destinations import published
from segops.destinations.model import Destination
from segops.kafka import topics
from segops.operations.audiences import actions
from segops.operations.audiences.store import Decision, Known, commit
from segops.operations.definitions import publish
from segops.schemas.changes import encode_change
from segops.schemas.records import partition_of
from segops.schemas.segments import load_drafts

FILL, RATE, SECONDS = 20_000, 500, 10
SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_KEY = "audience.bench"
_DEFINED = """
version: 1
segments: [{key: bench, when: {did: A}}]
audiences: [{key: bench, segment: bench, channel: webhook, existing: send, deliver: [{to: hook}]}]
"""
_ACT = Act("bench", "person", False, "bench", 1)


class _Receiver:
    """Notes when the message of each profile arrived."""

    def __init__(self) -> None:
        self.arrived: dict[str, float] = {}

    async def receive(self, request: web.Request) -> web.Response:
        data = msgspec.json.decode(await request.read())["data"]
        self.arrived.setdefault(data["profile_id"], time.time())
        return web.Response()


def measure(broker: LocalBroker) -> dict[str, float]:
    """Measure one process that delivers to a webhook on this machine."""
    with TemporaryDirectory() as folder:
        return asyncio.run(_measure(broker, Path(folder)))


async def _measure(broker: LocalBroker, folder: Path) -> dict[str, float]:
    receiver = _Receiver()
    application = web.Application()
    application.router.add_post("/", receiver.receive)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    settings = await _prepared(broker, folder, url)
    process = subprocess.Popen([sys.executable, "-m", "segops", "activate"])
    try:
        return await _timed(settings, receiver)
    finally:
        process.terminate()
        process.wait()
        await runner.cleanup()


async def _prepared(broker: LocalBroker, folder: Path, url: str) -> Settings:
    """Publish an active audience and its destination; return the settings."""
    os.environ |= {
        "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "SEGOPS_TOPIC_PREFIX": f"bench{uuid4().hex[:8]}.",
        "SEGOPS_DATA_DIR": str(folder / "data"),
        "SEGOPS_ACTIVATE_WEB_PORT": "0",
        "SEGOPS_WEBHOOK_ALLOW": "127.0.0.1",
        "SEGOPS_ACTOR": "bench",
        "BENCH_SECRET": SECRET,
    }
    settings = load()
    await topics.create(settings)
    file = folder / "segments.yaml"
    file.write_text(_DEFINED)
    loaded = load_drafts([file])
    await publish(settings, loaded.definitions, prune=False)
    await actions.apply(settings, loaded.audiences, _ACT)
    await commit(settings, _ACT, _approval)
    written: Mapping[str, object] = {
        "name": "hook",
        "kind": "webhook",
        "url": url,
        "secrets": [{"env": "BENCH_SECRET"}],
    }
    await published.publish(settings, [Destination("hook", "webhook", written)])
    return settings


def _approval(known: Known) -> list[Decision]:
    record = known.record("bench")
    active = msgspec.structs.replace(record, state="active", activated_ms=1, authors=())
    return [Decision("approve", record, active, editions=known.editions(record))]


async def _timed(settings: Settings, receiver: _Receiver) -> dict[str, float]:
    options = {"bootstrap_servers": settings.kafka.bootstrap_servers, "linger_ms": 5}
    async with AIOKafkaProducer(**options) as producer:
        await _send(settings, producer, "first")
        await _all_arrived(receiver, 1)
        began = time.time()
        for number in range(FILL):
            await _send(settings, producer, f"fill-{number}")
        await _all_arrived(receiver, 1 + FILL)
        filled = FILL / (time.time() - began)
        sent: dict[str, float] = {}
        began = time.time()
        for number in range(RATE * SECONDS):
            await asyncio.sleep(max(0.0, began + number / RATE - time.time()))
            sent[f"live-{number}"] = time.time()
            await _send(settings, producer, f"live-{number}")
        await _all_arrived(receiver, 1 + FILL + len(sent))
    late = sorted(receiver.arrived[name] - at for name, at in sent.items())
    return {
        "delivery: members filled into a webhook, per second": filled,
        f"delivery: p50 from change to webhook at {RATE} changes a second, ms": 1000 * late[len(late) // 2],
        f"delivery: p99 from change to webhook at {RATE} changes a second, ms": 1000
        * late[len(late) * 99 // 100],
    }


async def _send(settings: Settings, producer: AIOKafkaProducer, name: str) -> None:
    now_ms = int(time.time() * 1000)
    change = Change(
        name,
        _KEY,
        1,
        "entered",
        True,
        "event",
        now_ms,
        now_ms,
        1,
        change_id(name, _KEY, 1),
        None,
        None,
        name,
        None,
        None,
        "{}",
    )
    number = partition_of(name.encode(), settings.topics.partitions)
    key, value = f"{name}|{_KEY}".encode(), encode_change(change, now_ms)
    await producer.send(settings.topics.membership_state, value, key=key, partition=number)


async def _all_arrived(receiver: _Receiver, count: int) -> None:
    async with asyncio.timeout(300):
        while len(receiver.arrived) < count:
            await asyncio.sleep(0.01)
