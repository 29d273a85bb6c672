"""End to end through a broker, against the ceiling: consuming and decoding the same records."""

from __future__ import annotations

import asyncio
import atexit
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from prometheus_client import CollectorRegistry

from segops.brokers import LocalBroker
from segops.brokers.network import reserve_ports
from segops.config import Settings, load
from segops.kafka import topics
from segops.kafka.batches import fetch
from segops.metrics import Metrics
from segops.operations import definitions
from segops.operations.produce import Load, send_all
from segops.schemas.events import route
from segops.schemas.identifying import limits_of
from segops.streaming.connections import Connections
from segops.streaming.faust.intake import BATCH_RECORDS
from segops.streaming.kafka_output import KafkaOutput
from segops.streaming.partition.resolve import ResolveProcessor
from segops.streaming.publishers import BatchProducer

from .workload import segments

PARTITIONS = 8
_TAKEN = re.compile(r'segops_events_consumed_total\{step="(\w+)"\} (\S+)')
_SECONDS = re.compile(r'segops_step_cpu_seconds_total\{step="(\w+)"\} (\S+)')
_LAG = re.compile(r"^segops_consumer_lag_records\{.*\} (\S+)", re.MULTILINE)
_TICKS = os.sysconf("SC_CLK_TCK")


def measure(broker: LocalBroker, events: list[tuple[str, bytes]], folder: Path) -> dict[str, float]:
    """Measure the ceiling, [resolve] alone, and a worker with either guarantee."""
    settings = settings_for(broker, folder, "at_least_once")
    asyncio.run(fill(settings, events))
    ceiling = asyncio.run(_ceiling(settings, len(events)))
    least = _worker(settings, len(events), folder)
    alone = asyncio.run(_resolve_alone(settings, len(events)))
    settings = settings_for(broker, folder, "exactly_once")
    asyncio.run(fill(settings, events))
    once = _worker(settings, len(events), folder)
    return {
        "kafka: ceiling (consume + decode), events per CPU second": ceiling,
        "kafka: [resolve] alone, events per CPU second": alone,
        "kafka: end to end, events per CPU second of the worker": least.per_cpu_second,
        "kafka: end to end, events per second of wall": least.per_second,
        "kafka: end to end against the ceiling": least.per_cpu_second / ceiling,
        "kafka: of it [resolve], events per second of its CPU": least.steps["resolve"],
        "kafka: of it [segment], records per second of its CPU": least.steps["segment"],
        "kafka: exactly once, events per CPU second of the worker": once.per_cpu_second,
        "kafka: exactly once, events per second of wall": once.per_second,
        "kafka: exactly once against at least once, by CPU": once.per_cpu_second / least.per_cpu_second,
        "kafka: exactly once against at least once, by wall": once.per_second / least.per_second,
    }


def settings_for(broker: LocalBroker, folder: Path, guarantee: str, *, clock: str = "event") -> Settings:
    """Return settings with their own topics, group and store, also set in the worker's environment."""
    name = uuid4().hex[:8]
    environment = {
        "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "SEGOPS_TOPIC_PREFIX": f"bench{name}.",
        "SEGOPS_PARTITIONS": str(PARTITIONS),
        "SEGOPS_CLOCK": clock,
        "SEGOPS_APP_ID": f"bench{name}",
        "SEGOPS_DATA_DIR": str(folder / name),
        "SEGOPS_WEB_PORT": str(_web_port()),
        "SEGOPS_PROCESSING_GUARANTEE": guarantee,
    }
    os.environ.update(environment)
    return load()


@cache
def _web_port() -> int:
    """Return the web port of the worker, reserved until this process ends."""
    reserved = reserve_ports(1)
    atexit.register(reserved.release)
    return reserved.numbers[0]


async def prepare(settings: Settings) -> None:
    """Create the topics and publish the segments."""
    await topics.create(settings)
    await definitions.publish(settings, list(segments().definitions), prune=False)


async def fill(settings: Settings, events: list[tuple[str, bytes]]) -> None:
    """Create the topics, publish the segments and send events."""
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


async def _resolve_alone(settings: Settings, count: int) -> float:
    """Measure [resolve] without [segment]: from its topic to the next, as in a worker."""
    connections = Connections(settings)
    consumer, producer = connections.changelog_consumer(), connections.producer()
    await consumer.start()
    await producer.start()
    try:
        consumer.assign([TopicPartition(settings.topics.events, p) for p in range(PARTITIONS)])
        outputs = BatchProducer(lambda: producer)
        processors = [_resolve_processor(settings, outputs, p) for p in range(PARTITIONS)]
        begin, seen = time.process_time(), 0
        while seen < count:
            for partition, fetched in await fetch(consumer, 1.0):
                for records in fetched.slices(BATCH_RECORDS):
                    processors[partition.partition].process(records, now_ms=int(1000 * time.time()))
                    seen += len(records)
                    await outputs.flush()
        await outputs.settle()
        return count / (time.process_time() - begin)
    finally:
        await producer.stop()
        await consumer.stop()


def _resolve_processor(settings: Settings, outputs: BatchProducer, number: int) -> ResolveProcessor:
    origin, metrics = (settings.topics.events, number), Metrics(CollectorRegistry())
    output = KafkaOutput(origin, outputs, settings, metrics)
    return ResolveProcessor(
        number, route=partial(route, limits=limits_of(settings)), output=output, event_clock=True
    )


@contextmanager
def running(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker with the settings of the environment until the block ends."""
    with (folder / "worker.log").open("wb") as log:
        command = [str(Path(sys.executable).with_name("segops")), "worker"]
        worker = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield worker
        finally:
            worker.terminate()
            worker.wait(60)


def page(settings: Settings, name: str) -> str:
    """Return a page of the worker; empty while the worker is unreachable or not ready."""
    try:
        address = f"http://127.0.0.1:{settings.worker.web_port}/{name}"
        text: str = urllib.request.urlopen(address, timeout=5).read().decode()
    except OSError:
        return ""
    return text


class Rates(NamedTuple):
    """Events per second of the worker's CPU and of wall time."""

    per_cpu_second: float
    per_second: float
    #: Step -> records per second of CPU time spent in it.
    steps: dict[str, float]


class Sample(NamedTuple):
    """How far a worker is."""

    #: Records that [segment] has processed: events, and messages between profiles.
    records: float
    cpu_s: float
    wall_s: float


def _worker(settings: Settings, count: int, folder: Path) -> Rates:
    """Measure rates between the first and last twentieth of the work, and rates of the whole steps."""
    with running(folder) as worker:
        return rates_of(*samples(worker, settings, count), count)


def rates_of(found: Sequence[Sample], steps: dict[str, float], count: int) -> Rates:
    """Return the rates of ``count`` events between the first and last twentieth of the work."""
    whole = found[-1].records
    first = next(each for each in found if each.records >= whole / 20)
    last = next(each for each in found if each.records >= whole * 19 / 20)
    events = count * (last.records - first.records) / whole
    return Rates(events / (last.cpu_s - first.cpu_s), events / (last.wall_s - first.wall_s), steps)


def samples(
    worker: subprocess.Popen[bytes], settings: Settings, count: int
) -> tuple[list[Sample], dict[str, float]]:
    """Sample the worker's progress until all records are processed; also return the rates of its steps."""
    found: list[Sample] = []
    deadline = time.monotonic() + 600
    while True:
        if worker.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the worker ended or stalled: {found[-1:]}; see its log")
        time.sleep(0.1)
        text = page(settings, "metrics")
        taken = {step: float(records) for step, records in _TAKEN.findall(text)}
        found.append(Sample(taken.get("segment", 0.0), cpu_seconds(worker.pid), time.monotonic()))
        if taken.get("resolve", 0.0) >= count and not any(map(float, _LAG.findall(text))):
            return found, {step: taken[step] / float(spent) for step, spent in _SECONDS.findall(text)}


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
