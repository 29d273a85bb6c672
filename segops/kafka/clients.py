"""Kafka clients made from the settings, and one clear error when no broker is reachable."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.helpers import create_ssl_context

from segops.config import KafkaSettings
from segops.core.errors import UserError
from segops.kafka.pacing import paced
from segops.kafka.reachability import Unreachable, probe


def client_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Return the options common to all aiokafka clients: addresses, login, encryption.

    Raises UserError when a certificate or key cannot be read.
    """
    password = kafka.sasl_password
    return {
        "bootstrap_servers": kafka.bootstrap_servers,
        "request_timeout_ms": kafka.request_timeout_ms,
        "security_protocol": kafka.security_protocol,
        "ssl_context": _ssl_context(kafka),
        "sasl_mechanism": kafka.sasl_mechanism,
        "sasl_plain_username": kafka.sasl_username,
        "sasl_plain_password": password.get_secret_value() if password else None,
    }


def _ssl_context(kafka: KafkaSettings) -> ssl.SSLContext | None:
    if not kafka.security_protocol.endswith("SSL"):
        return None
    try:
        context: ssl.SSLContext = create_ssl_context(
            cafile=_text(kafka.ssl_cafile),
            certfile=_text(kafka.ssl_certfile),
            keyfile=_text(kafka.ssl_keyfile),
        )
    except (OSError, ssl.SSLError) as error:
        files = [str(file) for file in (kafka.ssl_cafile, kafka.ssl_certfile, kafka.ssl_keyfile) if file]
        raise UserError(f"SEGOPS_KAFKA_SSL_*: cannot use {', '.join(files)}: {error}") from error
    return context


def _text(value: object) -> str | None:
    return None if value is None else str(value)


async def unreachable(kafka: KafkaSettings, error: BaseException) -> Unreachable:
    """Probe the brokers and return the error to show: each address with its reason, and the setting."""
    protocol = "" if kafka.security_protocol == "PLAINTEXT" else f" over {kafka.security_protocol}"
    problems = await probe(kafka, client_options(kafka))
    reasons = "; ".join(map(str, problems)) or f"{kafka.bootstrap_servers}: {error}"
    return Unreachable(
        f"cannot reach a Kafka broker{protocol} (SEGOPS_KAFKA_BOOTSTRAP_SERVERS): {reasons}", problems
    )


@asynccontextmanager
async def running_admin(kafka: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """Run an admin client. Raises Unreachable when no broker answers."""
    client = AIOKafkaAdminClient(**client_options(kafka))
    async with _running(kafka, client.start, client.close):
        yield client


@asynccontextmanager
async def running_consumer(kafka: KafkaSettings, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """Run a consumer, without a group unless ``options`` name one. Raises Unreachable when no broker answers.

    By default it reads committed records only and commits no offsets.
    """
    options = {"isolation_level": "read_committed", "enable_auto_commit": False, **options}
    client = paced(AIOKafkaConsumer(**client_options(kafka), **options))
    async with _running(kafka, client.start, client.stop):
        yield client


@asynccontextmanager
async def running_producer(kafka: KafkaSettings, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    """Run an idempotent producer, flushed on exit. Raises Unreachable when no broker answers."""
    client = AIOKafkaProducer(enable_idempotence=True, acks="all", **client_options(kafka), **options)
    async with _running(kafka, client.start, client.stop):
        yield client


@asynccontextmanager
async def _running(
    kafka: KafkaSettings, start: Callable[[], Awaitable[None]], stop: Callable[[], Awaitable[None]]
) -> AsyncIterator[None]:
    try:
        try:
            await start()
        except (KafkaError, OSError, UnicodeError) as error:
            raise await unreachable(kafka, error) from error
        yield
    finally:
        await _end(stop)


async def _end(stop: Callable[[], Awaitable[None]]) -> None:
    """Stop a client, then end this task if it was cancelled meanwhile: aiokafka suppresses that."""
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    await stop()
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
