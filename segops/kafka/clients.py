"""Kafka clients from the settings, and one clear message when no broker can be reached."""

from __future__ import annotations

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
from segops.kafka.reachability import Unreachable, ask


def client_options(kafka: KafkaSettings) -> dict[str, Any]:
    """What every aiokafka client is made with: addresses, login, encryption.

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
        raise UserError(f"SEGOPS_KAFKA_SSL_*: {', '.join(files)} cannot be used: {error}") from error
    return context


def _text(value: object) -> str | None:
    return None if value is None else str(value)


async def unreachable(kafka: KafkaSettings, error: BaseException) -> Unreachable:
    """The error to show when no broker answers: each address with its reason, and where it was set."""
    login = "" if kafka.security_protocol == "PLAINTEXT" else f", by {kafka.security_protocol}"
    troubles = await ask(kafka, client_options(kafka))
    reasons = "; ".join(map(str, troubles)) or f"{kafka.bootstrap_servers}: {error}"
    return Unreachable(
        f"no Kafka broker can be reached{login} (SEGOPS_KAFKA_BOOTSTRAP_SERVERS): {reasons}", troubles
    )


@asynccontextmanager
async def running_admin(kafka: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client; Unreachable when no broker answers."""
    client = AIOKafkaAdminClient(**client_options(kafka))
    async with _running(kafka, client.start, client.close):
        yield client


@asynccontextmanager
async def running_consumer(kafka: KafkaSettings, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer without a group unless ``options`` name one; Unreachable when no broker answers.

    It reads what is committed, whether in a transaction or without one.
    """
    options = {"isolation_level": "read_committed", "enable_auto_commit": False, **options}
    client = AIOKafkaConsumer(**client_options(kafka), **options)
    async with _running(kafka, client.start, client.stop):
        yield client


@asynccontextmanager
async def running_producer(kafka: KafkaSettings, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    """An idempotent producer; leaving sends what is left. Unreachable when no broker answers."""
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
        await stop()
