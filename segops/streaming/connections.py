"""The Kafka clients of a worker, made from the settings."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakSet

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.client import AIOKafkaClient

from segops.config import Settings, WorkerSettings
from segops.kafka.clients import client_options
from segops.kafka.outages import OutOfTouch
from segops.kafka.pacing import paced

REBALANCE_TIMEOUT_MS: Final = 60_000
REQUEST_TIMEOUT_MS: Final = 60_000
_POLL_INTERVAL_MS: Final = 300_000
_FETCH_BYTES: Final = 1 << 20
_FETCH_WAIT_MS: Final = 100
_STANDBY_FETCH_BYTES: Final = 1 << 20
_STANDBY_FETCH_WAIT_MS: Final = 1_000
#: The most bytes of a batch before compression.
BATCH_BYTES: Final = 512 << 10
TRANSACTION_BATCH_BYTES: Final = 128 << 10  # each partition has its own batches to all others
_TRANSACTION_SLACK_MS: Final = 30_000
_NO_LINGER: Final = struct.pack("ii", 1, 0)


def heartbeat_ms(worker: WorkerSettings) -> int:
    """Return the heartbeat interval of the group's members in ms."""
    return worker.session_timeout_ms // 15


class FencedClient(AIOKafkaClient):  # type: ignore[misc]
    """The connections of a producer. ``fence`` runs before every request and raises if none may be sent."""

    def __init__(self, fence: Callable[[], None], **options: Any) -> None:
        super().__init__(**options)
        self._fence = fence

    async def send(self, *request: Any, **more: Any) -> Any:
        """Send a request and return the response. Raises what the fence raises."""
        self._fence()
        return await super().send(*request, **more)


class FencedProducer(AIOKafkaProducer):  # type: ignore[misc]
    """A producer that sends by the given client, and that can be dropped."""

    def __init__(self, client: FencedClient, **options: Any) -> None:
        self._fenced = client
        super().__init__(**options)

    @property
    def client(self) -> FencedClient:
        """The client that all parts of the producer share."""
        return self._fenced

    @client.setter
    def client(self, made: AIOKafkaClient) -> None:
        """Ignore the client that the base class makes for itself: it has no connections yet."""

    def drop(self) -> None:
        """Close without sending buffered records, cutting all connections."""
        self._closed = True
        _cut_all(self._fenced)


class DroppableConsumer(AIOKafkaConsumer):  # type: ignore[misc]
    """A consumer that can be dropped."""

    def drop(self) -> None:
        """Close without leaving the group, cutting all connections."""
        self._closed = True
        _cut_all(self._client)


class Connections:
    """Creates clients. The caller starts and stops them; ``drop`` cuts them all off at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._options = client_options(settings.kafka)
        self._made: WeakSet[DroppableConsumer | FencedProducer] = WeakSet()
        self._dropped = False

    def drop(self) -> None:
        """Cut all connections at once, discarding unsent data. Clients send nothing afterwards."""
        self._dropped = True
        for client in list(self._made):
            client.drop()

    def group_consumer(self, assignor: Any) -> AIOKafkaConsumer:
        """Create the group's consumer. Only checkpoints commit its offsets."""
        worker = self._settings.worker
        return self._consumer(
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            client_id=f"segops-{worker.app_id}",
            group_id=worker.app_id,
            group_instance_id=worker.instance_id,
            partition_assignment_strategy=[assignor],
            auto_offset_reset="none",  # never skip deleted records silently
            session_timeout_ms=worker.session_timeout_ms,
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
            heartbeat_interval_ms=heartbeat_ms(worker),
            max_poll_interval_ms=_POLL_INTERVAL_MS,
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            isolation_level="read_committed",
        )

    def changelog_consumer(self, *, isolation_level: str = "read_committed") -> AIOKafkaConsumer:
        """Create a consumer outside the group, for recovery."""
        return self._consumer(
            client_id=f"segops-{self._settings.worker.app_id}-recovery",
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            isolation_level=isolation_level,
        )

    def standby_consumer(self, *, isolation_level: str = "read_committed") -> AIOKafkaConsumer:
        """Create a consumer outside the group, for standbys: few requests, small responses."""
        return self._consumer(
            client_id=f"segops-{self._settings.worker.app_id}-standby",
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=_STANDBY_FETCH_BYTES,
            fetch_min_bytes=_STANDBY_FETCH_BYTES,
            fetch_max_wait_ms=_STANDBY_FETCH_WAIT_MS,
            isolation_level=isolation_level,
        )

    def producer(self, fence: Callable[[], None] = lambda: None) -> AIOKafkaProducer:
        """Create the idempotent producer: acknowledged by all replicas, in order per partition.

        ``fence`` raises when nothing more may be sent. It runs before every request, because a background
        task of the client sends buffered records as soon as a suspended process resumes.
        """
        return self._producer(fence, max_batch_size=BATCH_BYTES)

    def transactional_producer(self, number: int) -> AIOKafkaProducer:
        """Create the transactional producer of partition ``number``. Starting it fences all earlier ones.

        The broker aborts a transaction that stays open longer than a checkpoint and its deadline can take.
        Until then, a dead owner's transaction hides the records behind it from readers.
        """
        settings = self._settings
        return self._producer(
            lambda: None,
            max_batch_size=TRANSACTION_BATCH_BYTES,
            transactional_id=f"{settings.worker.app_id}-{number}",
            transaction_timeout_ms=settings.checkpoint_interval_ms + _TRANSACTION_SLACK_MS,
        )

    def _consumer(self, **options: Any) -> AIOKafkaConsumer:
        client = DroppableConsumer(**{**self._options, "enable_auto_commit": False, **options})
        self._made.add(client)
        return paced(client)

    def _producer(self, fence: Callable[[], None], **options: Any) -> AIOKafkaProducer:
        def fence_all() -> None:
            fence()
            if self._dropped:
                raise OutOfTouch("the work since the last checkpoint was discarded")

        shared = {**self._options, "client_id": f"segops-{self._settings.worker.app_id}"}
        producer = FencedProducer(
            FencedClient(fence_all, **shared),
            **shared,
            **options,
            acks="all",
            enable_idempotence=True,
            compression_type="snappy",  # the client hard-codes lz4's slowest level, 70 times slower
        )
        self._made.add(producer)
        return producer


def _cut_all(client: Any) -> None:
    for connection in list(client._conns.values()):  # noqa: SLF001
        cut(connection)


def cut(connection: Any) -> None:
    """Reset a connection of the client at once, discarding data that the system has not sent."""
    writer = connection._writer  # noqa: SLF001
    if writer is not None:
        transport = writer.transport
        endpoint = transport.get_extra_info("socket")
        if endpoint is not None and not transport.is_closing():
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(endpoint.fileno())) as same:
                same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        transport.abort()
    connection.close()
