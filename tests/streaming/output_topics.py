"""The output of an application: its topics, the processes that write them, and what they have written."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer

from segops.core.events import Change
from segops.schemas.changes import encode_change
from tests.output.helpers import CHANGE

from .helpers import Stack
from .sources import start_beside


class OutputTopics:
    """The output of a stack's application in a format."""

    def __init__(self, stack: Stack, form: str, **variables: str) -> None:
        self.stack = stack
        self._variables = {"SEGOPS_OUTPUT_FORMAT": form, **variables}
        self.memberships = stack.settings.topics.output_memberships(form)
        self.changes = stack.settings.topics.output_changes(form)
        created = stack.segops("topics", "create", **self._variables)
        assert created.exit_code == 0, created.output + str(created.exception)

    def start(self, *, number: int = 0, web_port: int = 0, **variables: str) -> subprocess.Popen[bytes]:
        """Start a process that copies; the stack stops it with its workers."""
        ports = {"SEGOPS_OUTPUT_WEB_PORT": str(web_port)}
        more = {**self._variables, **ports, **variables}
        return start_beside(self.stack, ["output"], self.log(number), **more)

    def log(self, number: int = 0) -> Path:
        """Return the log file of a process."""
        return self.stack.folder / f"output-{number}.log"

    def latest(self, topic: str) -> dict[bytes, bytes]:
        """Return the rows of a compacted topic by key."""
        rows = {record.key: record.value for record in self.stack.read(topic)}
        return {key: value for key, value in rows.items() if value is not None}

    def publish(self, written: Iterable[Mapping[str, Any] | bytes], *, partition: int = 0) -> None:
        """Write changes to both membership topics as a worker does; the bytes of a key write a tombstone."""
        asyncio.run(self._publish(written, partition))

    def send(self, topic: str, key: bytes, value: bytes | None, *, partition: int = 0) -> None:
        """Write a record to a topic, which another program could have done."""

        async def send() -> None:
            async with AIOKafkaProducer(bootstrap_servers=self.stack.bootstrap_servers) as producer:
                await producer.send_and_wait(topic, value, key=key, partition=partition)

        asyncio.run(send())

    async def _publish(self, written: Iterable[Mapping[str, Any] | bytes], partition: int) -> None:
        topics = self.stack.settings.topics
        async with AIOKafkaProducer(bootstrap_servers=self.stack.bootstrap_servers, linger_ms=5) as producer:
            for each in written:
                if isinstance(each, bytes):
                    await producer.send(topics.membership_state, None, key=each, partition=partition)
                    continue
                change = change_of(each)
                value, profile = encode_change(change, 7), change.profile_id
                key = f"{profile}|{change.segment_key}".encode()
                await producer.send(topics.membership_state, value, key=key, partition=partition)
                await producer.send(
                    topics.membership_changes, value, key=profile.encode(), partition=partition
                )
            await producer.flush()


def change_of(fields: Mapping[str, Any]) -> Change:
    """Return a change with these fields."""
    return msgspec.structs.replace(CHANGE, **fields)
