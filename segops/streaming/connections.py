"""The Kafka clients of a worker, made from the settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from segops.config import Settings, WorkerSettings
from segops.streaming.client import client_options

REBALANCE_TIMEOUT_MS: Final = 60_000
REQUEST_TIMEOUT_MS: Final = 60_000
_POLL_INTERVAL_MS: Final = 300_000
_FETCH_BYTES: Final = 4 << 20
_FETCH_WAIT_MS: Final = 100
_STANDBY_FETCH_BYTES: Final = 1 << 20
_STANDBY_FETCH_WAIT_MS: Final = 1_000
_BATCH_BYTES: Final = 512 << 10
_TRANSACTION_BATCH_BYTES: Final = 128 << 10  # each partition has its own batches to all others
_TRANSACTION_SLACK_MS: Final = 30_000


def heartbeat_ms(worker: WorkerSettings) -> int:
    """The time between two signs of life to the group."""
    return worker.session_timeout_ms // 15


class Connections:
    """Makes clients; whoever asks for one starts and stops it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._options = client_options(settings.kafka)

    def group_consumer(self, assignor: Any) -> AIOKafkaConsumer:
        """The member of the group. Its offsets are committed by checkpoints only."""
        worker = self._settings.worker
        options = {**self._options, "request_timeout_ms": REQUEST_TIMEOUT_MS}
        return AIOKafkaConsumer(
            **options,
            client_id=f"segops-{worker.app_id}",
            group_id=worker.app_id,
            group_instance_id=worker.instance_id,
            partition_assignment_strategy=[assignor],
            enable_auto_commit=False,
            auto_offset_reset="none",  # records that are gone are never passed over unsaid
            session_timeout_ms=worker.session_timeout_ms,
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
            heartbeat_interval_ms=heartbeat_ms(worker),
            max_poll_interval_ms=_POLL_INTERVAL_MS,
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            isolation_level="read_committed",
        )

    def changelog_consumer(self, *, isolation_level: str = "read_committed") -> AIOKafkaConsumer:
        """A consumer outside the group, for recovery."""
        return AIOKafkaConsumer(
            **self._options,
            client_id=f"segops-{self._settings.worker.app_id}-recovery",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            isolation_level=isolation_level,
        )

    def standby_consumer(self, *, isolation_level: str = "read_committed") -> AIOKafkaConsumer:
        """A consumer outside the group, for standbys: few requests, small answers."""
        return AIOKafkaConsumer(
            **self._options,
            client_id=f"segops-{self._settings.worker.app_id}-standby",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=_STANDBY_FETCH_BYTES,
            fetch_min_bytes=_STANDBY_FETCH_BYTES,
            fetch_max_wait_ms=_STANDBY_FETCH_WAIT_MS,
            isolation_level=isolation_level,
        )

    def producer(self, fence: Callable[[], None] = lambda: None) -> AIOKafkaProducer:
        """The idempotent producer: acknowledged by all replicas, in order per partition.

        ``fence`` raises when nothing may be sent any more. It is asked before every request: what was
        handed over is sent by a task of the client's own, as soon as a process that stood still goes on.
        """
        producer = self._producer(max_batch_size=_BATCH_BYTES)
        send = producer.client.send

        async def fenced(*request: Any, **more: Any) -> Any:
            fence()
            return await send(*request, **more)

        producer.client.send = fenced
        return producer

    def transactional_producer(self, number: int) -> AIOKafkaProducer:
        """The producer of partition ``number``, for transactions. Its start shuts out all before it.

        The broker aborts a transaction that is open for longer than a checkpoint and its deadline can
        take: until then a dead owner's one hides from readers what was written behind it.
        """
        settings = self._settings
        return self._producer(
            max_batch_size=_TRANSACTION_BATCH_BYTES,
            transactional_id=f"{settings.worker.app_id}-{number}",
            transaction_timeout_ms=settings.checkpoint_interval_ms + _TRANSACTION_SLACK_MS,
        )

    def _producer(self, **options: Any) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            **self._options,
            **options,
            client_id=f"segops-{self._settings.worker.app_id}",
            acks="all",
            enable_idempotence=True,
            compression_type="snappy",  # the client fixes lz4 at its slowest level: 70 times the time
        )


async def every(seconds: float, act: Callable[[], None]) -> None:
    """Call ``act`` again and again, for ever."""
    while True:
        await asyncio.sleep(seconds)
        act()
