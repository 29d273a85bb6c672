"""Reserved loopback ports, and the Kafka metadata request that shows whether a broker is up."""

from __future__ import annotations

import random
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic, sleep
from types import TracebackType

from segops.brokers.base import BrokerUnavailable

LOOPBACK = "127.0.0.1"
# Below the ephemeral port range. Within that range, a client that keeps dialling a broker that is down would
# sooner or later be assigned the broker's own port and connect to itself.
_PORTS = range(20_000, 30_000)
# Linux lets a server that sets SO_REUSEADDR (Kafka, asyncio) listen where another socket is bound but silent.
_HOLDS_WHILE_USED = sys.platform == "linux"
_METADATA, _METADATA_VERSION = 3, 1


def wait_for(fact: Callable[[], bool], *, within_s: float, every_s: float = 0.05) -> bool:
    """Wait until ``fact()`` is true; return False if the deadline passes first."""
    deadline = monotonic() + within_s
    while not fact():
        if monotonic() > deadline:
            return False
        sleep(every_s)
    return True


def is_free(port: int) -> bool:
    """Return whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


class ReservedPorts:
    """Consecutive loopback ports, kept from other reservations and outgoing connections until ``release``.

    On Linux bound sockets hold the ports while our servers use them. Elsewhere a server cannot listen on a
    port that is held, so the ports are only known to have been free.
    """

    def __init__(self, holders: list[socket.socket]) -> None:
        self.numbers: list[int] = [holder.getsockname()[1] for holder in holders]
        self._holders = holders
        if not _HOLDS_WHILE_USED:
            self.release()

    def release(self) -> None:
        """Release the ports; a second call does nothing."""
        _close(self._holders)

    def __enter__(self) -> list[int]:
        return self.numbers

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def reserve_ports(count: int, first: int | None = None) -> ReservedPorts:
    """Reserve ``count`` consecutive ports, from ``first`` upwards or anywhere.

    Raises BrokerUnavailable when a server listens on one of the named ports, or no range is free.
    """
    if first is not None:
        return ReservedPorts(_hold_named(range(first, first + count)))
    for start in _candidates(count):
        with suppress(OSError):
            return ReservedPorts(_hold_all(range(start, start + count), shared=False))
    raise BrokerUnavailable(f"no {count} consecutive free ports from {_PORTS.start} to {_PORTS.stop - 1}")


def _candidates(count: int) -> Iterator[int]:
    starts = _PORTS[: len(_PORTS) - count + 1]
    offset = random.randrange(len(starts))  # noqa: S311 - only keeps concurrent starts apart
    return (starts[(offset + i) % len(starts)] for i in range(len(starts)))


def _hold_named(ports: range) -> list[socket.socket]:
    try:
        return _hold_all(ports, shared=True)
    except OSError:
        taken = next((port for port in ports if not is_free(port)), ports[0])
        raise BrokerUnavailable(f"port {taken} is in use; choose another with --port") from None


def _hold_all(ports: range, *, shared: bool) -> list[socket.socket]:
    holders: list[socket.socket] = []
    try:
        for port in ports:
            holders.append(socket.socket())
            _hold(holders[-1], port, shared=shared)
    except OSError:
        _close(holders)
        raise
    return holders


def _hold(holder: socket.socket, port: int, *, shared: bool) -> None:
    """Bind without listening. Only ``shared`` accepts a port that another socket holds the same way.

    That allows a port that the caller has reserved and named, and one with connections in TIME_WAIT.
    """
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(shared))
    holder.bind((LOOPBACK, port))
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def _close(holders: list[socket.socket]) -> None:
    while holders:
        holders.pop().close()


def serving_nodes(port: int, *, timeout_s: float = 2.0) -> frozenset[int]:
    """Return the ids of the live brokers according to the one on this port; empty if it does not answer."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=timeout_s) as connection:
            connection.sendall(metadata_request())
            with connection.makefile("rb") as stream:
                (size,) = struct.unpack(">i", stream.read(4))
                return parse_brokers(stream.read(size))
    except (OSError, struct.error):
        return frozenset()


def metadata_request() -> bytes:
    """Return a framed Metadata request for no topics."""
    client = b"segops"
    body = struct.pack(">hhih", _METADATA, _METADATA_VERSION, 1, len(client)) + client + struct.pack(">i", 0)
    return struct.pack(">i", len(body)) + body


def parse_brokers(body: bytes) -> frozenset[int]:
    """Return the broker ids of a Metadata response (without its frame).

    >>> body = struct.pack(">iii", 1, 1, 7) + struct.pack(">h", 1) + b"h" + struct.pack(">ih", 9092, -1)
    >>> parse_brokers(body)
    frozenset({7})
    """
    (count,), at, ids = struct.unpack_from(">i", body, 4), 8, set()
    for _ in range(count):
        node_id, host_size = struct.unpack_from(">ih", body, at)
        (rack_size,) = struct.unpack_from(">h", body, at + 6 + host_size + 4)
        at += 6 + host_size + 4 + 2 + max(rack_size, 0)
        ids.add(node_id)
    return frozenset(ids)
