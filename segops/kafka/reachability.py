"""Why no Kafka broker can be reached: the client's errors in the words of the person who named the brokers.

The client tries every address and keeps the reasons to itself ("Unable to bootstrap"), so a start that failed
is followed by one question to each address (``ask``). What an error means is decided without I/O
(``why_unreachable``).
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

_PATIENCE_MS: Final = 5_000
_OTHER_PROTOCOL: Final = (
    "another service listens there, or SEGOPS_KAFKA_SECURITY_PROTOCOL is not the listener's"
)


class Cause(StrEnum):
    """What keeps a client from a broker; the value is its explanation."""

    REFUSED = "connection refused, nothing listens there"
    NO_ROUTE = "no route to this host"
    UNKNOWN_HOST = "unknown host name"
    NO_NAME_SERVER = "the host name cannot be looked up now"
    SILENT = f"no answer: the host is away, or {_OTHER_PROTOCOL}"
    CLOSED = f"it closes connections without an answer: it is starting, {_OTHER_PROTOCOL}"
    PROTOCOL = f"it does not answer as a Kafka broker: {_OTHER_PROTOCOL}"
    CERTIFICATE = "its certificate is not trusted (SEGOPS_KAFKA_SSL_CAFILE)"
    LOGIN = "the login is refused (SEGOPS_KAFKA_SASL_*)"
    OTHER = "it cannot be used"

    @property
    def passes(self) -> bool:
        """Whether waiting can end it; otherwise a setting is wrong."""
        return self not in _LASTING


_WRONG_CLOCK: Final = (
    "the brokers refuse the time of a record: the clock of this machine is too far from theirs, set it "
    "(an hour ahead is allowed, unless message.timestamp.after.max.ms of the topic says otherwise)"
)
_LASTING: Final = frozenset({Cause.UNKNOWN_HOST, Cause.PROTOCOL, Cause.CERTIFICATE, Cause.LOGIN})
_LOGIN_CODES: Final = frozenset({33, 34, 58})  # mechanism, state, and credentials that are refused
_NO_ROUTE: Final = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL})

#: The first that an error is an instance of says its cause; subclasses come before their bases.
_CAUSES: Final[tuple[tuple[type[BaseException], Cause], ...]] = (
    (ssl.SSLCertVerificationError, Cause.CERTIFICATE),
    (ssl.SSLError, Cause.PROTOCOL),
    (UnicodeError, Cause.UNKNOWN_HOST),  # a name that cannot be one, such as a..b
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
    """What keeps a client from the broker at ``address``; ``detail`` is what the error adds."""

    address: str
    cause: Cause
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.address}: {self.cause}{self.detail and f': {self.detail}'}"


class Unreachable(UserError):
    """No broker can be reached. ``passes``: waiting can help, at one address at least."""

    def __init__(self, message: str, troubles: tuple[ConnectionProblem, ...] = ()) -> None:
        super().__init__(message)
        self.troubles = troubles
        self.passes = not troubles or any(trouble.cause.passes for trouble in troubles)


def why_unreachable(error: BaseException) -> Cause:
    """What an error of a connection or of the first requests on it means.

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
    """Of a connection that stood: an answer that is none of Kafka's is cut off by the other side."""
    if isinstance(reason, asyncio.IncompleteReadError):
        return Cause.PROTOCOL if reason.partial else Cause.CLOSED
    return Cause.CLOSED if reason is None or isinstance(reason, ConnectionError) else Cause.PROTOCOL


def _why_os_error(error: OSError) -> Cause:
    if error.errno in _NO_ROUTE:
        return Cause.NO_ROUTE
    if error.errno == errno.ETIMEDOUT:
        return Cause.SILENT
    # One text about all addresses of a name, without a number (asyncio): IPv6 and IPv4 of localhost.
    return (
        Cause.REFUSED if error.errno is None and f"Errno {errno.ECONNREFUSED}" in str(error) else Cause.OTHER
    )


def in_words(error: BaseException | None) -> str:
    """The error as it is told: the brokers' refusal of a time says what is wrong, and where.

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


async def ask(kafka: KafkaSettings, options: dict[str, Any]) -> tuple[ConnectionProblem, ...]:
    """Ask every address once, and those that the brokers name; what keeps a client from them."""
    timeout_ms = min(kafka.request_timeout_ms, _PATIENCE_MS)
    options = {**options, "request_timeout_ms": timeout_ms}
    options.pop("bootstrap_servers")
    places = [(host, port) for host, port, _ in collect_hosts(kafka.bootstrap_servers, randomize=False)]
    asked = await asyncio.gather(*(_ask(host, port, options) for host, port in places))
    named = {place for _, names in asked for place in names} - set(places)
    further = await asyncio.gather(*(_ask(host, port, options) for host, port in sorted(named)))
    return tuple(
        [*(found for found, _ in asked if found), *_as_named(found for found, _ in further if found)]
    )


def _as_named(troubles: Iterator[ConnectionProblem]) -> Iterator[ConnectionProblem]:
    for found in troubles:
        yield ConnectionProblem(
            f"{found.address} (named by the brokers: advertised.listeners)", found.cause, found.detail
        )


async def _ask(
    host: str, port: int, options: dict[str, Any]
) -> tuple[ConnectionProblem | None, set[tuple[str, int]]]:
    """What is wrong with this address, or the addresses that the broker there names."""
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
