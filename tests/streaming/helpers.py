"""Worker processes against a real broker, and the changes that they should publish."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from click.testing import CliRunner, Result

from segops.brokers.network import ReservedPorts, reserve_ports
from segops.cli import cli
from segops.config import Settings, load
from segops.core.engine import Engine
from segops.core.events import Change
from segops.core.profile import Profile
from segops.core.segments import Definition, SegmentSet
from segops.kafka import topics
from segops.operations import definitions
from segops.schemas.changes import encode_change
from segops.schemas.events import decode, route
from segops.schemas.segments import load as load_segments
from segops.schemas.state import decode_profile
from segops.schemas.ticks import TICK_HEADERS
from tests.forking import Running, server

START_MS = 1_760_000_000_000
DAY_MS = 86_400_000
DEADLINE_S = 60.0
#: Short, so that the group soon expires a killed member and soon rebalances (15 heartbeats per timeout).
SESSION_TIMEOUT = "10s"
#: Maximum number of processes per worker (``--processes``); each needs a web port.
_PROCESSES = 2

SEGMENTS = """
version: 1
segments:
  - key: high-intent
    name: High intent
    when:
      all:
        - did: Product Viewed
          count: {gte: 2}
          within: 1h
        - did_not: Order Completed
          within: 1h
  - key: buyers
    name: Buyers
    when:
      did: Order Completed
      within: 6h
  - key: spenders
    name: Spenders
    when:
      sum: total
      of: Order Completed
      within: 12h
      is: {gte: 300}
"""


@dataclass
class Sent:
    """A raw event and the partition that it is sent to."""

    partition: int
    value: bytes


def shop_events(
    count: int, *, users: int, partitions: int, seed: int = 1, start_ms: int = START_MS
) -> list[Sent]:
    """Return ``count`` events over a day in time order, each user's in one partition."""
    rng = random.Random(seed)
    step = DAY_MS // count
    sent = []
    for number in range(count):
        user = rng.randrange(users)
        moment = datetime.fromtimestamp((start_ms + number * step) / 1000, UTC)
        event = {
            "type": "track",
            "event": rng.choice(["Product Viewed", "Product Viewed", "Page Seen", "Order Completed"]),
            "userId": f"u{user}",
            "messageId": f"m{seed}-{number}",
            "timestamp": moment.isoformat(timespec="milliseconds"),
            "properties": {"total": rng.randrange(200)},
        }
        sent.append(Sent(user % partitions, json.dumps(event).encode()))
    return sent


def expected_changes(
    sent: Iterable[Sent], definitions: list[Definition], final_ms: int
) -> dict[str, dict[str, Any]]:
    """Return the changes that these events must cause, by change id, computed by the engine alone."""
    changes, _ = _evaluate(sent, definitions, final_ms)
    return {change.change_id: comparable(encode_change(change, 0)) for change in changes}


def expected_states(sent: Iterable[Sent], definitions: list[Definition], final_ms: int) -> dict[str, object]:
    """Return the ``membership_summary`` of each profile, computed by the engine alone."""
    _, profiles = _evaluate(sent, definitions, final_ms)
    return {profile_id: membership_summary(profile) for profile_id, profile in profiles.items()}


def membership_summary(profile: Profile) -> object:
    """Return a profile's sequence and the segments that it is a member of, with the start times."""
    return profile.sequence, {key: member.since_ms for key, member in profile.members.items()}


def _evaluate(
    sent: Iterable[Sent], definitions: list[Definition], final_ms: int
) -> tuple[list[Change], dict[str, Profile]]:
    engine = Engine(SegmentSet(definitions))
    profiles: dict[str, Profile] = {}
    changes: list[Change] = []
    for event in sent:
        routed = route(event.value, now_ms=int(time.time() * 1000), default_time_ms=0)
        profile = profiles.setdefault(routed.profile_id, engine.new_profile(routed.profile_id))
        decoded = decode(event.value, time_ms=routed.time_ms, default_id="")
        changes += engine.on_event(profile, decoded, clock_ms=0).changes
    for profile in profiles.values():
        changes += engine.on_timer(profile, clock_ms=final_ms).changes
    return changes, profiles


def comparable(value: bytes) -> dict[str, Any]:
    """Decode a published change and remove its wall clock time."""
    change: dict[str, Any] = json.loads(value)
    del change["evaluated_at"]
    return change


@dataclass
class Stack:
    """One application on a broker: its settings, workers and topics."""

    bootstrap_servers: str
    name: str
    folder: Path
    partitions: int = 3
    guarantee: str = "at_least_once"
    environment: dict[str, str] = field(default_factory=dict)
    #: Variables of ``tests.faults.hooks``; if set, workers run with these hooks.
    hooks: dict[str, str] = field(default_factory=dict)
    workers: list[Running] = field(default_factory=list)
    #: The web ports of each worker's processes.
    ports: dict[int, ReservedPorts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.definitions: list[Definition] = []

    @property
    def settings(self) -> Settings:
        """The settings that the workers run with."""
        return load(
            kafka={"bootstrap_servers": self.bootstrap_servers},
            topics={"prefix": self.name, "partitions": self.partitions},
            worker={"app_id": self.name.rstrip(".")},
        )

    def publish(self, text: str = SEGMENTS, *, prune: bool = False) -> None:
        """Create the topics and publish these segment definitions; ``prune`` retires all others."""
        file = self.folder / "segments.yaml"
        file.write_text(text)
        self.definitions = load_segments([file])
        asyncio.run(self._publish(prune))

    async def _publish(self, prune: bool) -> None:
        await topics.create(self.settings)
        await definitions.publish(self.settings, self.definitions, prune=prune)

    def start(
        self, *, number: int = 0, crash_at: str = "", processes: int = 1, options: Iterable[str] = ()
    ) -> Running:
        """Start worker ``number`` with its own data folder and web port."""
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("SEGOPS_")},
            "SEGOPS_KERNEL": os.environ.get("SEGOPS_KERNEL", "auto"),
            "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "SEGOPS_TOPIC_PREFIX": self.name,
            "SEGOPS_PARTITIONS": str(self.partitions),
            "SEGOPS_APP_ID": self.name.rstrip("."),
            "SEGOPS_DATA_DIR": str(self.data_dir(number)),
            "SEGOPS_WEB_PORT": str(self.port(number)),
            "SEGOPS_CLOCK": "event",
            "SEGOPS_IDLE_SOURCE": "0",  # what a pausing test sends next must not be late
            "SEGOPS_CHECKPOINT_MAX_RECORDS": "500",
            "SEGOPS_SESSION_TIMEOUT": SESSION_TIMEOUT,
            "SEGOPS_PROCESSING_GUARANTEE": self.guarantee,
            "SEGOPS_CRASH_AT": crash_at,
            **self.environment,
            **self.hooks,
        }
        log = self.folder / f"worker-{number}.log"
        if processes > 1 or self.hooks:
            worker = self._run(["--processes", str(processes), *options], environment, log)
        else:
            worker = server.start(["worker", *options], environment, log)
        self.workers.append(worker)
        return worker

    def _run(self, options: list[str], environment: dict[str, str], log: Path) -> Running:
        """Run a worker that starts others, or has hooks, in a process of its own."""
        main = ["-m", "tests.faults.hooks"] if self.hooks else ["-c", "from segops.cli import main; main()"]
        with log.open("ab") as out:
            command = [sys.executable, *main, "worker", *options]
            return subprocess.Popen(command, env=environment, stdout=out, stderr=out)

    def data_dir(self, number: int = 0) -> Path:
        """Return the data folder of worker ``number``."""
        return self.folder / f"data-{number}"

    def port(self, number: int = 0) -> int:
        """Return the web port of worker ``number``."""
        if number not in self.ports:
            self.ports[number] = reserve_ports(_PROCESSES)
        return self.ports[number].numbers[0]

    def change_port(self, number: int = 0) -> None:
        """Give worker ``number`` another web port from its next start on."""
        self.ports.pop(number).release()

    def close(self) -> None:
        """Stop all workers and release their ports."""
        self.stop()
        for reserved in self.ports.values():
            reserved.release()

    def stop(self) -> None:
        """Stop all workers that still run, by SIGTERM or after 40 s by SIGKILL."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)
        for worker in self.workers:
            try:
                worker.wait(40)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        self.workers.clear()

    def segops(self, *arguments: str, **more: str) -> Result:
        """Run a segops command for this application, with more variables, and return its result."""
        variables = {
            "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "SEGOPS_APP_ID": self.settings.worker.app_id,
            "SEGOPS_TOPIC_PREFIX": self.name,
            "SEGOPS_PARTITIONS": str(self.partitions),
            **more,
        }
        return CliRunner().invoke(cli, arguments, env=variables)

    def members(self) -> list[str]:
        """Return the member names of the consumer group."""
        _, *rows = self.segops("group", "list").stdout.splitlines()
        return [row.split()[0] for row in rows]

    def get(self, path: str, number: int = 0) -> tuple[int, str]:
        """Return the status and body of a page; status 0 if the worker does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port(number)}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def owned_partitions(self, number: int = 0) -> set[str]:
        """Return the partitions that worker ``number`` owns; none while it is not ready."""
        if self.get("/readyz", number)[0] != 200:
            return set()
        clocks = r'segops_partition_clock_seconds\{partition="(\d+)"\}'
        return set(re.findall(clocks, self.get("/metrics", number)[1]))

    def send(
        self,
        sent: Iterable[Sent],
        *,
        final_ms: int | None = None,
        headers: list[tuple[str, bytes]] | None = None,
        topic: str | None = None,
    ) -> None:
        """Write raw events, or records of another topic, then a final tick if ``final_ms`` is given."""
        asyncio.run(self._send(list(sent), final_ms, headers, topic or self.settings.topics.events))

    async def _send(
        self, sent: list[Sent], final_ms: int | None, headers: list[tuple[str, bytes]] | None, topic: str
    ) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap_servers, linger_ms=20)
        await producer.start()
        deliveries = [
            await producer.send(topic, one.value, partition=one.partition, headers=headers) for one in sent
        ]
        await asyncio.gather(*deliveries)
        if final_ms is not None:
            tick = json.dumps({"watermark_ms": final_ms, "end": True}).encode()
            for partition in range(self.partitions):
                await producer.send_and_wait(topic, tick, partition=partition, headers=TICK_HEADERS)
        await producer.stop()

    async def send_to(self, topic: str, values: list[bytes]) -> None:
        """Write these values to every partition of a topic."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap_servers, linger_ms=20)
        await producer.start()
        partitions = [(value, number) for number in range(self.partitions) for value in values]
        await asyncio.gather(*[await producer.send(topic, value, partition=n) for value, n in partitions])
        await producer.stop()

    def read(self, topic: str, *, isolation: str = "read_committed") -> list[Any]:
        """Return all records of a topic that are visible now at this isolation level."""
        return asyncio.run(self._read(topic, isolation))

    async def _read(self, topic: str, isolation: str) -> list[Any]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap_servers,
            auto_offset_reset="earliest",
            isolation_level=isolation,
        )
        await consumer.start()
        partitions = [TopicPartition(topic, number) for number in range(self.partitions)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        records: list[Any] = []
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for found in (await consumer.getmany(timeout_ms=200)).values():
                records += found
        await consumer.stop()
        return records

    @staticmethod
    def decoded(record: Any) -> dict[str, Any]:
        """Decode the published change of a record without its wall clock time."""
        return comparable(record.value)

    def changes(self) -> dict[str, dict[str, Any]]:
        """Return the published changes by change id. Fails if one id has two different changes."""
        found: dict[str, dict[str, Any]] = {}
        for record in self.read(self.settings.topics.membership_changes):
            change = comparable(record.value)
            assert found.setdefault(change["change_id"], change) == change
        return found

    def states(self) -> dict[str, object]:
        """Return the ``membership_summary`` of each profile in the changelog."""
        latest = {record.key.decode(): record.value for record in self.read(self.settings.worker.changelog)}
        profiles = {key: state for key, state in latest.items() if not key.startswith("\0")}
        return {
            profile_id: membership_summary(decode_profile(state)) for profile_id, state in profiles.items()
        }

    def wait_for_changes(self, expected: dict[str, dict[str, Any]]) -> None:
        """Wait until all expected changes are published, and verify that there are no others."""
        wait_until(lambda: set(self.changes()) >= set(expected), f"{len(expected)} changes", self.diagnosis)
        assert self.changes() == expected

    def diagnosis(self) -> str:
        """Return the number of changes and the end of each worker's log, for the message of a failed wait."""
        logs = [path.read_text()[-2_000:] for path in sorted(self.folder.glob("*.log"))]
        return "\n".join([f"changes so far: {len(self.changes())}", *logs])


def wait_until(
    condition: Callable[[], object],
    what: str,
    diagnosis: Callable[[], str] = str,
    deadline_s: float = DEADLINE_S,
) -> None:
    """Poll until ``condition`` holds. Raises AssertionError with ``diagnosis`` after ``deadline_s``."""
    until = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"{what}: timed out after {deadline_s} s\n{diagnosis()}")
        time.sleep(0.1)
