"""End to end through a broker, against the ceiling: consuming and decoding the same records."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from segops.brokers import LocalBroker
from segops.brokers.network import free_ports
from segops.config import Settings, load
from segops.streaming import definitions, topics
from segops.streaming.load import Load, send_all

from .workload import segments

PARTITIONS = 8
_CONSUMED = re.compile(r'segops_events_consumed_total\{step="segment"\} ([0-9.e+]+)')
_TICKS = os.sysconf("SC_CLK_TCK")


def measure(broker: LocalBroker, events: list[tuple[str, bytes]], folder: Path) -> dict[str, float]:
    """Events per CPU second of the ceiling and of one whole worker, with either guarantee."""
    settings = settings_for(broker, folder, "at_least_once")
    asyncio.run(_fill(settings, events))
    ceiling = asyncio.run(_ceiling(settings, len(events)))
    end_to_end, wall = _worker(settings, len(events), folder)
    settings = settings_for(broker, folder, "exactly_once")
    asyncio.run(_fill(settings, events))
    once, once_wall = _worker(settings, len(events), folder)
    return {
        "kafka: ceiling (consume + decode), events per CPU second": ceiling,
        "kafka: end to end, events per CPU second of the worker": end_to_end,
        "kafka: end to end, events per second of wall": wall,
        "kafka: end to end against the ceiling": end_to_end / ceiling,
        "kafka: exactly once, events per CPU second of the worker": once,
        "kafka: exactly once, events per second of wall": once_wall,
        "kafka: exactly once against at least once, by CPU": once / end_to_end,
        "kafka: exactly once against at least once, by wall": once_wall / wall,
    }


def settings_for(broker: LocalBroker, folder: Path, guarantee: str, *, clock: str = "event") -> Settings:
    """For topics, a group and a store of its own; the worker reads them from the environment too."""
    name = uuid4().hex[:8]
    environment = {
        "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "SEGOPS_TOPIC_PREFIX": f"bench{name}.",
        "SEGOPS_PARTITIONS": str(PARTITIONS),
        "SEGOPS_CLOCK": clock,
        "SEGOPS_APP_ID": f"bench{name}",
        "SEGOPS_DATA_DIR": str(folder / name),
        "SEGOPS_WEB_PORT": str(free_ports(1)[0]),
        "SEGOPS_PROCESSING_GUARANTEE": guarantee,
    }
    os.environ.update(environment)
    return load()


async def prepare(settings: Settings) -> None:
    """Make the topics and publish the segments."""
    await topics.create(settings)
    await definitions.publish(settings, list(segments().definitions), prune=False)


async def _fill(settings: Settings, events: list[tuple[str, bytes]]) -> None:
    await prepare(settings)

    async def slices() -> AsyncIterator[Sequence[bytes]]:
        for begin in range(0, len(events), 1_000):
            yield [value for _, value in events[begin : begin + 1_000]]

    await send_all(settings, Load(settings.topics.events), slices())


async def _ceiling(settings: Settings, count: int) -> float:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka.bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        consumer.assign([TopicPartition(settings.topics.events, p) for p in range(PARTITIONS)])
        decode = msgspec.json.Decoder().decode
        begin, seen = time.process_time(), 0
        while seen < count:
            for records in (await consumer.getmany(timeout_ms=1_000)).values():
                for record in records:
                    decode(record.value)
                seen += len(records)
        return count / (time.process_time() - begin)
    finally:
        await consumer.stop()


@contextmanager
def running(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker with the settings of the environment; it ends with the context."""
    with (folder / "worker.log").open("wb") as log:
        command = [str(Path(sys.executable).with_name("segops")), "worker"]
        worker = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield worker
        finally:
            worker.terminate()
            worker.wait(60)


def metrics_page(settings: Settings) -> str:
    """What the worker says of itself; empty while it does not answer."""
    try:
        page = f"http://127.0.0.1:{settings.worker.web_port}/metrics"
        text: str = urllib.request.urlopen(page, timeout=5).read().decode()
    except OSError:
        return ""
    return text


def _worker(settings: Settings, count: int, folder: Path) -> tuple[float, float]:
    """CPU and wall rates between the first and the last twentieth of the events."""
    with running(folder) as worker:
        samples = _samples(worker, settings, count)
    first = next(s for s in samples if s[0] >= count // 20)
    last = next(s for s in samples if s[0] >= count * 19 // 20)
    done = last[0] - first[0]
    return done / (last[1] - first[1]), done / (last[2] - first[2])


def _samples(
    worker: subprocess.Popen[bytes], settings: Settings, count: int
) -> list[tuple[float, float, float]]:
    samples: list[tuple[float, float, float]] = []
    deadline = time.monotonic() + 600
    while not samples or samples[-1][0] < count:
        if worker.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the worker ended or stalled: {samples[-1:]}; see its log")
        time.sleep(0.1)
        found = _CONSUMED.search(metrics_page(settings))
        samples.append((float(found[1]) if found else 0.0, _cpu_seconds(worker.pid), time.monotonic()))
    return samples


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
