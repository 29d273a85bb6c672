"""Diagnosis of unreachable brokers: each cause has its own message and says whether waiting can help."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable

import pytest
from aiokafka import errors

from segops import config
from segops.brokers import LocalBroker
from segops.kafka.clients import running_admin, running_consumer, running_producer
from segops.kafka.reachability import Cause, Unreachable, why_unreachable
from tests.conftest import NOWHERE

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def closed(reason: BaseException | None) -> errors.KafkaConnectionError:
    error = errors.KafkaConnectionError("Connection at kafka:9092 closed")
    error.__cause__ = reason
    return error


#: An error of asyncio or aiokafka, its cause, and whether waiting can help.
MEANINGS: list[tuple[BaseException, Cause, bool]] = [
    (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed"), Cause.REFUSED, True),
    (OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1)"), Cause.REFUSED, True),
    (OSError(errno.EHOSTUNREACH, "No route to host"), Cause.NO_ROUTE, True),
    (OSError(errno.ENETUNREACH, "Network is unreachable"), Cause.NO_ROUTE, True),
    (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), Cause.UNKNOWN_HOST, False),
    (UnicodeError("label empty or too long"), Cause.UNKNOWN_HOST, False),
    (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), Cause.NO_NAME_SERVER, True),
    (TimeoutError(), Cause.SILENT, True),
    (OSError(errno.ETIMEDOUT, "Connection timed out"), Cause.SILENT, True),
    (errors.KafkaTimeoutError(), Cause.SILENT, True),
    (closed(None), Cause.CLOSED, True),
    (closed(asyncio.IncompleteReadError(b"", 4)), Cause.CLOSED, True),
    (closed(ConnectionResetError()), Cause.CLOSED, True),
    (ConnectionResetError(errno.ECONNRESET, "reset"), Cause.CLOSED, True),
    (closed(asyncio.IncompleteReadError(b"/1.1 400", 1 << 30)), Cause.PROTOCOL, False),
    (closed(ValueError("not a Kafka response")), Cause.PROTOCOL, False),
    (errors.CorrelationIdError(), Cause.PROTOCOL, False),
    (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]"), Cause.PROTOCOL, False),
    (ssl.SSLCertVerificationError(1, "self-signed certificate"), Cause.CERTIFICATE, False),
    (errors.AuthenticationFailedError(), Cause.LOGIN, False),
    (errors.UnsupportedSaslMechanismError(), Cause.LOGIN, False),
    (errors.for_code(58)(), Cause.LOGIN, False),
    (errors.ClusterAuthorizationFailedError(), Cause.OTHER, True),
]


@pytest.mark.parametrize(("error", "cause", "transient"), MEANINGS, ids=lambda value: repr(value)[:60])
def test_each_error_has_one_cause(error: BaseException, cause: Cause, transient: bool) -> None:
    assert (why_unreachable(error), cause.transient) == (cause, transient)


def test_each_cause_has_its_own_message() -> None:
    assert len({str(cause) for cause in Cause}) == len(Cause)


async def _refusal(address: str, **settings: object) -> Unreachable:
    kafka = config.load(kafka={"bootstrap_servers": address, "request_timeout_ms": 500, **settings}).kafka
    for running in (running_admin, running_consumer, running_producer):
        with pytest.raises(Unreachable) as caught:
            async with running(kafka):
                pass
    return caught.value


async def _served(serve: Serve, **settings: object) -> Unreachable:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        return await _refusal(f"127.0.0.1:{port}", **settings)


async def _http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    writer.close()
    await writer.wait_closed()


async def _garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"\0\0\0\4\0\0\0\7")  # a frame of another protocol
    await writer.drain()


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.close()
    await writer.wait_closed()


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()
    await writer.wait_closed()


SERVERS: list[tuple[Serve, Cause]] = [
    (_http, Cause.PROTOCOL),
    (_garbage, Cause.PROTOCOL),
    (_hang_up, Cause.CLOSED),
    (_say_nothing, Cause.SILENT),
]


@pytest.mark.parametrize(("serve", "cause"), SERVERS)
def test_foreign_service_on_the_port_is_described(serve: Serve, cause: Cause) -> None:
    found = asyncio.run(_served(serve))
    assert [problem.cause for problem in found.problems] == [cause]
    assert str(cause) in str(found)


def test_tls_to_a_plaintext_listener_is_diagnosed() -> None:
    found = asyncio.run(_served(_http, security_protocol="SSL"))
    assert [problem.cause for problem in found.problems] == [Cause.PROTOCOL]


def test_each_address_has_its_own_reason() -> None:
    name = "a-name-of-more-than-sixty-three-characters-which-no-host-can-ever-have"[:60] + ".invalid"
    found = asyncio.run(_refusal(f"{NOWHERE},{name}:9092"))
    refused, unknown = found.problems
    assert (refused.address, refused.cause) == (NOWHERE, Cause.REFUSED)
    assert unknown.cause in (
        Cause.UNKNOWN_HOST,
        Cause.NO_NAME_SERVER,
    )  # resolves because the machine has a name server
    assert found.transient, "the first may come back"
    assert str(found).endswith(f"{NOWHERE}: {Cause.REFUSED}; {unknown}")


@pytest.mark.broker
def test_login_at_a_listener_without_sasl_is_diagnosed(broker: LocalBroker) -> None:
    login = {"security_protocol": "SASL_PLAINTEXT", "sasl_username": "u", "sasl_password": "p"}
    found = asyncio.run(_refusal(broker.bootstrap_servers, **login))
    assert found.problems[0].cause in (Cause.LOGIN, Cause.CLOSED)
    assert "over SASL_PLAINTEXT" in str(found)
