"""The catalogue on a real broker: each event is counted once, whatever dies; no personal value is kept."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiokafka import AIOKafkaProducer, TopicPartition

from segops.brokers import LocalBroker
from segops.kafka import topics
from segops.kafka.reading import read_all
from segops.streaming.failpoints import CATALOGUE_POINTS
from tests.collector.helpers import batch
from tests.collector.processes import CollectorProcess
from tests.faults.proxy import FaultyNetwork
from tests.rest import in_rest, rest

from .conftest import require_transactions
from .helpers import Stack, wait_until

pytestmark = pytest.mark.broker
Reserve = Callable[[int], list[int]]
_MAIN = ["-c", "from segops.cli import main; main()"]
_QUICK = "catalogue_in_transaction"


@pytest.fixture
def catalogue(stack: Stack, broker: LocalBroker) -> Catalogue:
    require_transactions(broker)
    asyncio.run(topics.create(stack.settings))
    return Catalogue(stack)


class Catalogue:
    """Processes that count the events of a stack's application, and what they published."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.sent = 0

    def start(self, *, number: int = 0, **variables: str) -> subprocess.Popen[bytes]:
        """Start a process that counts; the stack stops it with its workers."""
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("SEGOPS_")},
            "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": self.stack.bootstrap_servers,
            "SEGOPS_TOPIC_PREFIX": self.stack.name,
            "SEGOPS_PARTITIONS": str(self.stack.partitions),
            "SEGOPS_APP_ID": self.stack.settings.worker.app_id,
            "SEGOPS_CATALOGUE_WEB_PORT": "0",
            "SEGOPS_CATALOGUE_INTERVAL": "100ms",
            **variables,
        }
        main = ["-m", "tests.faults.hooks"] if "FAULTS_REDIRECT" in variables else _MAIN
        with self.log(number).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *main, "catalogue", "run"], env=environment, stdout=log, stderr=log
            )
        self.stack.workers.append(process)
        return process

    def log(self, number: int = 0) -> Path:
        return self.stack.folder / f"catalogue-{number}.log"

    def send(self, count: int) -> None:
        """Write events of many profiles to all partitions."""
        asyncio.run(self._send(range(self.sent, self.sent + count)))
        self.sent += count

    async def _send(self, numbers: range) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.stack.bootstrap_servers, linger_ms=5)
        await producer.start()
        sent = []
        for number in numbers:
            event = {
                "type": "track",
                "event": "Product Viewed",
                "userId": f"user{number % 97}",
                "timestamp": "2026-03-01T10:00:00Z",
                "properties": {
                    "number": number,
                    "category": ["Shoes", "Bags"][number % 2],
                    "email": "a@b.example",
                },
            }
            value, partition = json.dumps(event).encode(), number % self.stack.partitions
            sent.append(await producer.send(self.stack.settings.topics.events, value, partition=partition))
        await asyncio.gather(*sent)
        await producer.stop()

    def shown(self) -> dict[str, Any]:
        """Return what is published of the event, or nothing."""
        done = self.stack.segops("catalogue", "show", "Product Viewed", "--format", "json")
        return json.loads(done.stdout) if done.exit_code == 0 else {"count": 0}

    def wait_for(self, count: int, number: int = 0) -> None:
        """Wait until at least so many events are counted."""
        wait_until(lambda: self.shown()["count"] >= count, f"{count} are counted", self.log(number).read_text)

    def check(self) -> None:
        """Check that each event is counted, and once."""
        found = self.shown()
        fields = {each["name"]: each for each in found["properties"]}
        assert found["count"] == found["days"]["2026-03-01"] == self.sent
        assert fields["number"]["types"] == {"number": self.sent}
        assert fields["category"]["values"] == {"Shoes": self.sent / 2, "Bags": self.sent / 2}
        assert fields["email"] == {
            "name": "email",
            "share": 1.0,
            "types": {"string": self.sent},
            "values": None,
            "range": None,
        }


@pytest.mark.parametrize("point", [p if p == _QUICK else in_rest(p) for p in CATALOGUE_POINTS])
def test_each_event_is_counted_once_after_a_kill(catalogue: Catalogue, point: str) -> None:
    catalogue.send(500)
    killed = catalogue.start(SEGOPS_CRASH_AT=f"{point}:2")
    catalogue.wait_for(1)
    catalogue.send(700)
    assert killed.wait(60) == 137, catalogue.log().read_text()
    catalogue.send(300)
    catalogue.start()
    catalogue.wait_for(1_500)
    catalogue.check()
    table = catalogue.stack.segops("catalogue").stdout.splitlines()
    assert [line.split("  ")[0] for line in table] == ["event", "Product Viewed"]
    details = catalogue.stack.segops("catalogue", "Product Viewed").stdout
    assert "Bags 750" in details and "100.0%" in details
    settings = catalogue.stack.settings
    records = asyncio.run(read_all(settings.kafka, TopicPartition(settings.topics.catalogue, 0)))
    stored = b"".join(record.value for record in records)
    assert stored
    assert b"a@b.example" not in stored and b"user1" not in stored


@rest
def test_each_event_is_counted_once_under_repeated_kills(catalogue: Catalogue) -> None:
    for _ in range(4):
        process = catalogue.start()
        catalogue.send(400)
        catalogue.wait_for(catalogue.sent - 399)
        process.send_signal(signal.SIGKILL)
        process.wait()
    catalogue.start()
    catalogue.wait_for(catalogue.sent)
    catalogue.check()


@rest
def test_outage_is_waited_out(catalogue: Catalogue, network: FaultyNetwork) -> None:
    variables = {"FAULTS_REDIRECT": network.redirection, "SEGOPS_KAFKA_REQUEST_TIMEOUT": "2s"}
    catalogue.send(300)
    process = catalogue.start(**variables)
    catalogue.wait_for(300)
    network.down = True
    catalogue.send(300)
    wait_until(
        lambda: "waiting for Kafka" in catalogue.log().read_text(), "it waits", catalogue.log().read_text
    )
    network.down = False
    catalogue.wait_for(600)
    assert process.poll() is None
    catalogue.check()


@rest
def test_second_process_takes_over(catalogue: Catalogue) -> None:
    catalogue.send(300)
    first = catalogue.start()
    catalogue.wait_for(300)
    catalogue.start(number=1)
    wait_until(lambda: "catalogue of" in catalogue.log(1).read_text(), "it runs", catalogue.log(1).read_text)
    catalogue.send(300)
    assert first.wait(60) == 2
    assert "another process counts for the catalogue" in catalogue.log().read_text()
    catalogue.wait_for(600, 1)
    catalogue.check()


@rest
def test_plan_is_drafted_from_what_a_collector_received(catalogue: Catalogue, reserve: Reserve) -> None:
    stack = catalogue.stack
    collector = CollectorProcess(stack, reserve(2))
    collector.wait_until_ready()
    events = [
        {
            "type": "track",
            "event": "Order Completed",
            "userId": f"user{number}",
            "properties": {"revenue": number, "currency": "EUR" if number % 3 else "GBP"},
        }
        for number in range(60)
    ]
    assert collector.post(batch(*events)) == 200
    catalogue.start()

    def drafted() -> str:
        return stack.segops("tracking-plans", "infer", "--source", "website").stdout

    wait_until(lambda: "GBP" in drafted(), "a plan of all orders can be drafted", catalogue.log().read_text)
    schema = yaml.safe_load(drafted())["plans"][0]["events"]["Order Completed"]["schema"]
    assert schema == {
        "type": "object",
        "required": ["currency", "revenue"],
        "properties": {"currency": {"enum": ["EUR", "GBP"]}, "revenue": {"type": "number"}},
    }
    file = stack.folder / "plans.yaml"
    file.write_text(drafted().replace("violations: warn", "violations: reject"))
    assert stack.segops("tracking-plans", "test", str(file)).exit_code == 0
    other = {**events[0], "properties": {"revenue": "x"}}
    assert collector.post(batch(other)) == 200
    tried = stack.segops("tracking-plans", "test", str(file))
    assert tried.exit_code == 1
    assert "1 rejected" in tried.stderr and "properties.currency" in tried.stdout
    form = json.loads(stack.segops("catalogue", "--format", "json").stdout)
    assert form["events"]["Order Completed"] == {"currency": ["EUR", "GBP"], "revenue": "number"}
    assert (form["zone"], form["currency"]) == ("UTC", "EUR")
