"""Why no Kafka broker is reachable: the client's errors in terms of the operator's settings.

The client tries every address without reporting the reasons ("Unable to bootstrap"), so after a failed start
``probe`` connects to each address once. ``why_unreachable`` classifies an error without I/O.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from aiokafka import errors
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.protocol.metadata import MetadataRequest

from segops.config import KafkaSettings
from segops.core.errors import SegopsError, UserError

_PROBE_TIMEOUT_MS: Final = 5_000
_OTHER_PROTOCOL: Final = (
    "another service listens there, or SEGOPS_KAFKA_SECURITY_PROTOCOL does not match the listener"
)


class Cause(StrEnum):
    """Why a client cannot use a broker; the value is its explanation."""

    REFUSED = "connection refused, nothing listens there"
    NO_ROUTE = "no route to host"
    UNKNOWN_HOST = "unknown host name"
    NO_NAME_SERVER = "the host name cannot be resolved at the moment"
    SILENT = f"no answer: the host is down, or {_OTHER_PROTOCOL}"
    CLOSED = f"connection closed without an answer: the broker is starting, {_OTHER_PROTOCOL}"
    PROTOCOL = f"not a Kafka broker: {_OTHER_PROTOCOL}"
    CERTIFICATE = "untrusted certificate (SEGOPS_KAFKA_SSL_CAFILE)"
    LOGIN = "login refused (SEGOPS_KAFKA_SASL_*)"
    OTHER = "connection failed"

    @property
    def transient(self) -> bool:
        """Whether waiting may help; otherwise a setting is wrong."""
        return self not in _PERMANENT


_WRONG_CLOCK: Final = (
    "the brokers reject the timestamp of a record: this machine's clock differs too much from theirs "
    "(an hour ahead is allowed by default, see the topic's message.timestamp.after.max.ms)"
)
_PERMANENT: Final = frozenset({Cause.UNKNOWN_HOST, Cause.PROTOCOL, Cause.CERTIFICATE, Cause.LOGIN})
_LOGIN_CODES: Final = frozenset({33, 34, 58})  # rejected mechanism, state, credentials
_NO_ROUTE: Final = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL})

#: The first match decides; subclasses come before their bases.
_CAUSES: Final[tuple[tuple[type[BaseException], Cause], ...]] = (
    (ssl.SSLCertVerificationError, Cause.CERTIFICATE),
    (ssl.SSLError, Cause.PROTOCOL),
    (UnicodeError, Cause.UNKNOWN_HOST),  # an invalid name such as a..b
    (ConnectionRefusedError, Cause.REFUSED),
    (ConnectionError, Cause.CLOSED),
    (TimeoutError, Cause.SILENT),
    (errors.AuthenticationFailedError, Cause.LOGIN),
    (errors.AuthenticationMethodNotSupported, Cause.LOGIN),
    (errors.KafkaTimeoutError, Cause.SILENT),
    (errors.RequestTimedOutError, Cause.SILENT),
    (errors.KafkaProtocolError, Cause.PROTOCOL),
    (errors.UnsupportedVersionError, Cause.PROTOCOL),
)


@dataclass(frozen=True, slots=True)
class ConnectionProblem:
    """Why a client cannot use the broker at ``address``; ``detail`` is the text of the error."""

    address: str
    cause: Cause
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.address}: {self.cause}{self.detail and f': {self.detail}'}"


class Unreachable(UserError):
    """No broker is reachable. ``transient``: waiting may help, for at least one address."""

    def __init__(self, message: str, problems: tuple[ConnectionProblem, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems
        self.transient = not problems or any(problem.cause.transient for problem in problems)


def why_unreachable(error: BaseException) -> Cause:
    """Classify an error of a connection or of the first requests on it.

    >>> why_unreachable(ConnectionRefusedError(111, "Connect call failed")).name
    'REFUSED'
    >>> why_unreachable(socket.gaierror(socket.EAI_NONAME, "Name or service not known")).name
    'UNKNOWN_HOST'
    """
    if isinstance(error, socket.gaierror):
        return Cause.NO_NAME_SERVER if error.errno == socket.EAI_AGAIN else Cause.UNKNOWN_HOST
    if isinstance(error, errors.KafkaConnectionError):
        return _why_closed(error.__cause__)
    if getattr(error, "errno", None) in _LOGIN_CODES and isinstance(error, errors.BrokerResponseError):
        return Cause.LOGIN
    known = next((cause for kind, cause in _CAUSES if isinstance(error, kind)), None)
    if known is not None:
        return known
    return _why_os_error(error) if isinstance(error, OSError) else Cause.OTHER


def _why_closed(reason: BaseException | None) -> Cause:
    """Classify the end of an established connection: a server of another protocol cuts its answer off."""
    if isinstance(reason, asyncio.IncompleteReadError):
        return Cause.PROTOCOL if reason.partial else Cause.CLOSED
    return Cause.CLOSED if reason is None or isinstance(reason, ConnectionError) else Cause.PROTOCOL


def _why_os_error(error: OSError) -> Cause:
    if error.errno in _NO_ROUTE:
        return Cause.NO_ROUTE
    if error.errno == errno.ETIMEDOUT:
        return Cause.SILENT
    # asyncio joins the errors of all addresses of a name (IPv6 and IPv4 of localhost), without an errno.
    return (
        Cause.REFUSED if error.errno is None and f"Errno {errno.ECONNREFUSED}" in str(error) else Cause.OTHER
    )


def in_words(error: BaseException | None) -> str:
    """Return the message to show for an error; for a rejected timestamp, what is wrong with the clocks.

    >>> in_words(errors.KafkaTimeoutError("no answer"))
    'KafkaTimeoutError: no answer'
    """
    if isinstance(error, errors.InvalidTimestampError):
        return _WRONG_CLOCK
    return (
        str(error)
        if isinstance(error, errors.KafkaError | SegopsError)
        else f"{type(error).__name__}: {error}"
    )


async def probe(kafka: KafkaSettings, options: dict[str, Any]) -> tuple[ConnectionProblem, ...]:
    """Connect once to every bootstrap address and to every advertised one; return the problems found."""
    timeout_ms = min(kafka.request_timeout_ms, _PROBE_TIMEOUT_MS)
    options = {**options, "request_timeout_ms": timeout_ms}
    options.pop("bootstrap_servers")
    addresses = [(host, port) for host, port, _ in collect_hosts(kafka.bootstrap_servers, randomize=False)]
    probed = await asyncio.gather(*(_probe(host, port, options) for host, port in addresses))
    advertised = {address for _, found in probed for address in found} - set(addresses)
    further = await asyncio.gather(*(_probe(host, port, options) for host, port in sorted(advertised)))
    return tuple(
        [*(found for found, _ in probed if found), *_as_advertised(found for found, _ in further if found)]
    )


def _as_advertised(problems: Iterator[ConnectionProblem]) -> Iterator[ConnectionProblem]:
    for found in problems:
        yield ConnectionProblem(
            f"{found.address} (advertised.listeners of the brokers)", found.cause, found.detail
        )


async def _probe(
    host: str, port: int, options: dict[str, Any]
) -> tuple[ConnectionProblem | None, set[tuple[str, int]]]:
    """Return the problem with this address, or the addresses that its broker advertises."""
    try:
        connection = await create_conn(host, port, **options)
        try:
            metadata = await connection.send(MetadataRequest([]))
        finally:
            await connection.close()
    except (errors.KafkaError, OSError, UnicodeError) as error:
        cause = why_unreachable(error)
        detail = str(error) if cause in (Cause.OTHER, Cause.LOGIN, Cause.CERTIFICATE) else ""
        return ConnectionProblem(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}", cause, detail
        ), set()
    return None, {(broker[1], broker[2]) for broker in metadata.brokers}
