"""Sources of an application: their topics, the processes that copy them, and what became of their records."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from segops.kafka import topics

from .helpers import Stack, wait_until

#: Sources of orders, as JSON.
ORDERS = """
version: 1
sources:
  - topic: {topic}
    format: json
    identifiers: {{user_id: customer}}
    map:
      event: Order Completed
      timestamp: {{path: at, as: unix_millis}}
      properties: {{total: total, number: number}}
"""


class Sources:
    """The sources of a stack's application."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.topic = f"{stack.name}orders"
        asyncio.run(topics.create(stack.settings))

    def create_topic(self, partitions: int = 3) -> None:
        """Create the topic of the source, and wait until the brokers know it."""
        new = NewTopic(self.topic, partitions, 1)
        asyncio.run(self.admin(lambda client: client.create_topics([new])))
        kafka = self.stack.settings.kafka
        wait_until(
            lambda: asyncio.run(topics.existing(kafka)).get(self.topic) == partitions, "the topic exists"
        )

    async def admin(self, act: Callable[[Any], Awaitable[object]]) -> None:
        """Act with an admin client."""
        client = AIOKafkaAdminClient(bootstrap_servers=self.stack.bootstrap_servers)
        await client.start()
        try:
            await act(client)
        finally:
            await client.close()

    def apply(self, text: str = ORDERS) -> str:
        """Publish sources; ``{topic}`` stands for the topic."""
        file = self.stack.folder / "sources.yaml"
        file.write_text(text.format(topic=self.topic))
        done = self.stack.segops("sources", "apply", str(file))
        assert done.exit_code == 0, done.output + str(done.exception)
        return done.stdout

    def send(self, records: Sequence[tuple[int, bytes | None]]) -> None:
        """Write values to partitions of the topic."""
        asyncio.run(self._send(records))

    async def _send(self, records: Sequence[tuple[int, bytes | None]]) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.stack.bootstrap_servers, linger_ms=5)
        await producer.start()
        sent = [await producer.send(self.topic, value, key=b"k", partition=n) for n, value in records]
        await asyncio.gather(*sent)
        await producer.stop()

    def start(self, *, number: int = 0, **variables: str) -> subprocess.Popen[bytes]:
        """Start a process that copies; the stack stops it with its workers."""
        more = {"SEGOPS_SOURCES_WEB_PORT": "0", **variables}
        return start_beside(self.stack, ["sources", "run"], self.log(number), **more)

    def log(self, number: int = 0) -> Path:
        """Return the log file of a process."""
        return self.stack.folder / f"sources-{number}.log"

    def events(self) -> list[dict[str, Any]]:
        """Return the events that are visible, in log order per partition."""
        return [json.loads(record.value) for record in self.stack.read(self.stack.settings.topics.events)]

    def origins(self) -> list[str]:
        """Return where the records of the visible events are, in log order per partition."""
        records = self.stack.read(self.stack.settings.topics.events)
        return [dict(record.headers)["segops-from"].decode() for record in records]

    def dead_letters(self) -> list[tuple[bytes, str, str]]:
        """Return value, reason and origin of the dead letters."""
        found = []
        for record in self.stack.read(self.stack.settings.topics.dead_letters):
            headers = {name: value.decode() for name, value in record.headers}
            found.append((record.value, headers["segops-reason"], headers["segops-origin"]))
        return found

    def wait_for_events(self, count: int, *, number: int = 0) -> None:
        """Wait until so many events are visible."""
        wait_until(lambda: len(self.events()) >= count, f"{count} events", self.log(number).read_text)


_MAIN = ["-c", "from segops.cli import main; main()"]


def start_beside(
    stack: Stack, arguments: Sequence[str], log: Path, **variables: str
) -> subprocess.Popen[bytes]:
    """Start a process beside the workers of a stack, which stops it with them; with hooks if variables do."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("SEGOPS_")},
        "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "SEGOPS_TOPIC_PREFIX": stack.name,
        "SEGOPS_PARTITIONS": str(stack.partitions),
        "SEGOPS_APP_ID": stack.settings.worker.app_id,
        "SEGOPS_SESSION_TIMEOUT": "6s",
        **variables,
    }
    main = ["-m", "tests.faults.hooks"] if "FAULTS_REDIRECT" in variables else _MAIN
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, *main, *arguments], env=environment, stdout=out, stderr=out
        )
    stack.workers.append(process)
    return process


def order(number: int, customer: int = 1) -> bytes:
    """Return an order as JSON."""
    at = 1_760_000_000_000 + number
    return json.dumps({"customer": customer, "number": number, "total": number % 100, "at": at}).encode()
