"""Archive processes of an application, records to archive, and what the archive must hold of them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from segops.archive.files import FileMissing
from segops.archive.ledger import latest
from segops.archive.reading import in_log_order
from segops.archive.storage import FolderStorage
from segops.archive.tables import ArchivedRecord
from segops.archive.verify import verify
from segops.core.step import Erased
from segops.kafka import topics
from segops.schemas.erasures import encode_receipt
from segops.schemas.records import partition_of
from segops.wall_clock import wall_ms

from .helpers import DAY_MS, Stack

#: Small and often, so that a test passes every step many times.
SMALL = {
    "SEGOPS_ARCHIVE_FILE_BYTES": "20000",
    "SEGOPS_ARCHIVE_FILE_INTERVAL": "200ms",
    "SEGOPS_ARCHIVE_UPKEEP_INTERVAL": "300ms",
    "SEGOPS_SESSION_TIMEOUT": "6s",
}


class Archives:
    """The archive of a stack's application, in a folder."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.folder = stack.folder / "archive"
        self.storage = FolderStorage(self.folder)
        self.topics = (stack.settings.topics.profile_events, stack.settings.topics.membership_changes)
        #: Of the first record: noon, so that each day has several files whatever time it is now, of a day so
        #: recent that Kafka's retention deletes none.
        self.start_ms = (wall_ms() // DAY_MS - 5) * DAY_MS + DAY_MS // 2
        self._sent = 0

    def start(self, *options: str, number: int = 0, **variables: str) -> subprocess.Popen[bytes]:
        """Start an archive process; the stack stops it with its workers."""
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("SEGOPS_")},
            "SEGOPS_KAFKA_BOOTSTRAP_SERVERS": self.stack.bootstrap_servers,
            "SEGOPS_TOPIC_PREFIX": self.stack.name,
            "SEGOPS_PARTITIONS": str(self.stack.partitions),
            "SEGOPS_APP_ID": self.stack.name.rstrip("."),
            "SEGOPS_ARCHIVE_URL": f"file://{self.folder}",
            "SEGOPS_ARCHIVE_WEB_PORT": "0",
            **SMALL,
            **variables,
        }
        hooked = "FAULTS_REDIRECT" in variables
        main = ["-m", "tests.faults.hooks"] if hooked else ["-c", "from segops.cli import main; main()"]
        command = [sys.executable, *main, "archive", *options]
        with self.log(number).open("ab") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.stack.workers.append(process)
        return process

    def log(self, number: int = 0) -> Path:
        """Return the log file of a process."""
        return self.stack.folder / f"archive-{number}.log"

    def once(self, *options: str, **variables: str) -> int:
        """Run one of the modes that end by themselves; return the exit status."""
        return self.start(*(options or ("--once", "--compact")), **variables).wait(120)

    def send(self, count: int, users: Iterable[str]) -> None:
        """Write records to both topics, over three days; every fifth transaction is aborted."""
        asyncio.run(self._send(count, list(users)))

    async def _send(self, count: int, users: list[str]) -> None:
        name = self.stack.name
        producer = AIOKafkaProducer(
            bootstrap_servers=self.stack.bootstrap_servers, transactional_id=f"{name}sender", linger_ms=5
        )
        await producer.start()
        for begin in range(0, count, 10):
            await producer.begin_transaction()
            for number in range(begin, begin + 10):
                await self._send_one(producer, self._sent + number, users[number % len(users)])
            aborts = begin % 50 == 40
            await (producer.abort_transaction() if aborts else producer.commit_transaction())
        await producer.stop()
        self._sent += count

    async def _send_one(self, producer: AIOKafkaProducer, number: int, user: str) -> None:
        key = f"user_id:{user}".encode()
        event = {"type": "track", "event": "Viewed", "userId": user, "messageId": f"m{number}"}
        headers = [("segops-source", b"0:%d" % number), ("segops-time", str(self.start_ms + number).encode())]
        for topic in self.topics:
            await producer.send(
                topic,
                json.dumps(event).encode(),
                key=key,
                partition=partition_of(key, self.stack.partitions),
                headers=headers,
                timestamp_ms=self.start_ms + number * DAY_MS // 100,
            )

    def erase(self, user: str, offset: int) -> None:
        """Publish the receipt of an erasure that the record at ``offset`` completed."""
        key, value = encode_receipt(
            Erased("r", f"user_id:{user}", "profile"), self.start_ms + 9 * DAY_MS, offset
        )
        partition = partition_of(f"user_id:{user}".encode(), self.stack.partitions)

        async def send() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=self.stack.bootstrap_servers)
            await producer.start()
            await producer.send_and_wait(
                self.stack.settings.topics.receipts, value, key=key, partition=partition
            )
            await producer.stop()

        asyncio.run(send())

    def create_topics(self) -> None:
        asyncio.run(topics.create(self.stack.settings))

    def end(self, topic: str, partition: int) -> int:
        """Return the offset that follows the archived records of a partition."""
        manifest = latest(self.storage, topic, partition)
        return 0 if manifest is None else manifest.next_offset or 0

    def held(self, topic: str) -> list[tuple[int, ArchivedRecord]]:
        """Return every archived record of a topic with its partition, in log order."""
        partitions = range(self.stack.partitions)
        return [(number, record) for number in partitions for record in self._held(topic, number)]

    def _held(self, topic: str, partition: int) -> list[ArchivedRecord]:
        """Read a partition; begin again if a running process replaces its files meanwhile."""
        while (manifest := latest(self.storage, topic, partition)) is not None:
            try:
                return [*in_log_order(self.storage, manifest.folder, manifest.files)]
            except FileMissing:
                if latest(self.storage, topic, partition) == manifest:
                    raise
        return []

    def logged(self, topic: str) -> list[tuple[int, ArchivedRecord]]:
        """Return every committed record of a topic with its partition, in log order."""
        found = [(r.partition, _archived(r)) for r in self.stack.read(topic)]
        return sorted(found, key=lambda pair: (pair[0], pair[1].offset))

    def problems(self) -> list[tuple[list[str], int]]:
        """Return the problems and leftovers of the partitions that have some."""
        return [
            (each.problems, each.leftovers)
            for each in verify(self.storage)
            if each.problems or each.leftovers
        ]


def _archived(record: Any) -> ArchivedRecord:
    return ArchivedRecord(record.offset, record.timestamp, record.key, record.value, list(record.headers))
